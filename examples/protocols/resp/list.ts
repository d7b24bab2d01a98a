/** A list that grows and shrinks at both ends in constant time, with access by index. */
export class List<T> {
  /** The first items, the first of all last. */
  #front: T[] = [];
  #back: T[] = [];

  get length(): number {
    return this.#front.length + this.#back.length;
  }

  unshift(item: T): void {
    this.#front.push(item);
  }

  push(item: T): void {
    this.#back.push(item);
  }

  shift(): T | undefined {
    if (this.#front.length === 0) this.#front = half(this.#back);
    return this.#front.pop();
  }

  pop(): T | undefined {
    if (this.#back.length === 0) this.#back = half(this.#front);
    return this.#back.pop();
  }

  at(index: number): T | undefined {
    const { length } = this.#front;
    return index < length ? this.#front[length - 1 - index] : this.#back[index - length];
  }
}

/** Removes the first half of the items, at least one if there is any, and returns it in reverse order. */
function half<T>(items: T[]): T[] {
  return items.splice(0, (items.length + 1) >> 1).reverse();
}
