/**
 * The warnings of a server that has no `onError`.
 *
 * An error that the program is responsible for is one warning each time, with its stack. A failing `accept` is one line without a
 * stack, because the stack says nothing. Errors that peers can cause as often as they like (a reset, a frame over the limit, malformed or
 * cut short, a failed handshake, too many connections) are one line too: the first is reported at once, those of the following
 * second together:
 *
 *     quiet ---report: a warning---> counting ---a second is over: nothing was counted---> quiet
 *                                    ^        \
 *                                    '---------'  a second is over: a warning with the count
 */
import { inspect } from 'node:util';

/** The minimum interval between two warnings about errors that peers caused, in ms. */
const INTERVAL_MS = 1000;

/** The maximum number of codes that a warning with a count names. */
const NAMED_CODES = 5;

/** Emits a warning with the stack of the error. Never fails. */
export function warn(name: string, error: unknown, what: string | null): void {
  emit(prefixed(name, error, what), codeOfWarning(error), error instanceof Error ? error.stack : undefined);
}

/** Emits a warning of one line, without the stack. */
export function warnInOneLine(name: string, error: Error, what: string | null): void {
  // Not by a regular expression for a line break and the spaces around it, which takes minutes for a message full of spaces.
  const lines = prefixed(name, error, what).split('\n');
  emit(lines.map((line) => line.trim()).join(' '), codeOfWarning(error));
}

/** The warnings of one server about errors that its peers caused. */
export class PeerWarnings {
  readonly #name: string;
  /** Is set while reports are counted. */
  #timer: NodeJS.Timeout | null = null;
  /** The number of reports that were left out, by code. */
  readonly #leftOut = new Map<string, number>();

  /** @param name - the class name of the server */
  constructor(name: string) {
    this.#name = name;
  }

  /** Warns of an error, or counts it if the last warning is less than a second old. */
  report(error: Error, what: string | null): void {
    const code = codeOfWarning(error);
    if (this.#timer !== null) {
      this.#leftOut.set(code, (this.#leftOut.get(code) ?? 0) + 1);
      return;
    }
    warnInOneLine(this.#name, error, what);
    this.#count();
  }

  /** Emits the count that has not been reported yet, because the server is closed. */
  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#warnOfCount();
  }

  #count(): void {
    // The timer must not keep the process alive. Counts are only lost at exit if the server was never closed.
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (this.#warnOfCount()) this.#count();
    }, INTERVAL_MS).unref();
  }

  #warnOfCount(): boolean {
    if (this.#leftOut.size === 0) return false;
    const codes = [...this.#leftOut].sort(([, a], [, b]) => b - a);
    this.#leftOut.clear();
    const sum = (list: typeof codes): number => list.reduce((total, [, count]) => total + count, 0);
    const named = codes.slice(0, NAMED_CODES).map(([code, count]) => `${count} ${code}`);
    const others = sum(codes.slice(NAMED_CODES));
    if (others > 0) named.push(`${others} others`);
    const total = sum(codes);
    const connections = `${total} more ${total === 1 ? 'connection' : 'connections'}`;
    emit(`${this.#name}: ${connections} failed since the last warning: ${named.join(', ')}`, codes[0]?.[0] ?? '');
    return true;
  }
}

/** `StreamServer: the handler of 127.0.0.1:4321 failed: out of luck` */
function prefixed(name: string, error: unknown, what: string | null): string {
  const text = error instanceof Error ? error.message : inspect(error);
  return what === null ? text : `${name}: ${what}: ${text}`;
}

function codeOfWarning(error: unknown): string {
  const code: unknown = error instanceof Error ? (error as { code?: unknown }).code : undefined;
  return typeof code === 'string' ? code : 'ERR_HANDLER_FAILED';
}

function emit(message: string, code: string, detail?: string): void {
  process.emitWarning(message, { type: 'StreamServerWarning', code, ...(detail === undefined ? {} : { detail }) });
}
