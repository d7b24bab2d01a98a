/**
 * Names and filters of topics.
 *
 * A name has levels with `/` between them. In a filter, the level `+` stands for any one level, and `#`, which is the last one, for any
 * number of levels. A wildcard at the beginning does not match a name that begins with `$`.
 */

/** The most levels that a filter may have: a bound for the depth of the tree. */
const MAX_LEVELS = 128;

/** Bounds for what is remembered: the length of a topic, and the topics and subscriptions together. */
const MAX_TOPIC = 256;
const MAX_REMEMBERED = 100_000;

/** Whether a message may have this topic. */
export function isTopic(topic: string): boolean {
  return topic !== '' && !topic.includes('+') && !topic.includes('#') && !topic.includes('\0');
}

export function isFilter(filter: string): boolean {
  const levels = filter.split('/');
  if (filter === '' || levels.length > MAX_LEVELS || filter.includes('\0')) return false;
  return levels.every((level, i) => {
    if (level === '#') return i === levels.length - 1;
    return level === '+' || (!level.includes('+') && !level.includes('#'));
  });
}

interface Node<S> {
  readonly children: Map<string, Node<S>>;
  readonly subscriptions: Set<S>;
}

function node<S>(): Node<S> {
  return { children: new Map(), subscriptions: new Set() };
}

/**
 * Finds the subscriptions whose filter matches a topic, without looking at all of them.
 *
 * Topics are repeated much more often than subscriptions change, so what was found for a topic, or rather what `combine` makes of it, is
 * remembered until a subscription changes.
 */
export class TopicTree<S extends { readonly filter: string }, R> {
  readonly #combine: (subscriptions: readonly S[]) => R;
  readonly #root = node<S>();
  readonly #remembered = new Map<string, R>();
  #size = 0;

  constructor(combine: (subscriptions: readonly S[]) => R) {
    this.#combine = combine;
  }

  add(subscription: S): void {
    let at = this.#root;
    for (const level of subscription.filter.split('/')) {
      let next = at.children.get(level);
      if (next === undefined) at.children.set(level, (next = node()));
      at = next;
    }
    at.subscriptions.add(subscription);
    this.#forget();
  }

  delete(subscription: S): void {
    const levels = subscription.filter.split('/');
    const path = [this.#root];
    for (const level of levels) {
      const next = path.at(-1)!.children.get(level);
      if (next === undefined) return;
      path.push(next);
    }
    path.at(-1)!.subscriptions.delete(subscription);
    for (let i = levels.length; i > 0; i--) {
      const { children, subscriptions } = path[i]!;
      if (children.size > 0 || subscriptions.size > 0) break;
      path[i - 1]!.children.delete(levels[i - 1]!);
    }
    this.#forget();
  }

  match(topic: string): R {
    const known = this.#remembered.get(topic);
    if (known !== undefined) return known;
    const found: S[] = [];
    this.#collect(this.#root, topic.split('/', MAX_LEVELS + 1), 0, found);
    const result = this.#combine(found);
    if (topic.length > MAX_TOPIC) return result;
    this.#size += 1 + found.length;
    if (this.#size > MAX_REMEMBERED) this.#forget();
    this.#remembered.set(topic, result);
    return result;
  }

  #forget(): void {
    this.#remembered.clear();
    this.#size = 0;
  }

  #collect({ children, subscriptions }: Node<S>, levels: readonly string[], depth: number, found: S[]): void {
    const wildcards = depth > 0 || !levels[0]!.startsWith('$');
    // `#` also stands for no level at all: `a/#` matches `a`.
    if (wildcards) for (const each of children.get('#')?.subscriptions ?? []) found.push(each);
    if (depth === levels.length) {
      for (const each of subscriptions) found.push(each);
      return;
    }
    const exact = children.get(levels[depth]!);
    if (exact !== undefined) this.#collect(exact, levels, depth + 1, found);
    const any = wildcards ? children.get('+') : undefined;
    if (any !== undefined) this.#collect(any, levels, depth + 1, found);
  }
}
