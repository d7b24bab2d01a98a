/**
 * Hands batches to a stream of Node, one at a time, and reports when the kernel has accepted each.
 *
 * Node calls back for every write, also if all of it was accepted at once. Those callbacks come in the order of the writes. So they
 * are counted, and the ones of batches that were complete when `write` returned are ignored. A batch of one piece that the kernel accepts at
 * once does not go through the stream at all, if the kind of stream allows it.
 */
import type { Writable } from 'node:stream';
import type { Receiver } from './data-reads.js';
import { isBroken, type StreamKind } from './stream-kind.js';

export class BatchSender {
  readonly #stream: Writable | null;
  readonly #kind: StreamKind;
  readonly #transport: Pick<Receiver, 'failed'>;
  /** Whether `writeAtOnce` of the kind may be used. */
  readonly #atOnce: boolean;
  /** Bytes of the batch in flight. */
  #pending = 0;
  /** Bytes of all batches. */
  #total = 0;
  #cutOff = false;
  #stopped = false;
  /** What to call when the batch in flight is complete; null if none is in flight. */
  #done: (() => void) | null = null;
  #onWritten: ((error?: Error | null) => void) | null = null;
  /** Callbacks still to come for batches that are already complete. */
  #completed = 0;

  constructor(stream: Writable | null, kind: StreamKind, transport: Pick<Receiver, 'failed'>) {
    this.#stream = stream;
    this.#kind = kind;
    this.#transport = transport;
    this.#atOnce = stream !== null && kind.canWriteAtOnce?.(stream) === true;
  }

  /** Bytes that the kernel has not accepted yet. */
  get pending(): number {
    return this.#pending;
  }

  /** All bytes that were handed over. */
  get total(): number {
    return this.#total;
  }

  /** How many bytes have left this machine, or are on their way, as far as is known. Only changes are meaningful. */
  get progress(): number {
    const stream = this.#stream;
    return stream === null ? 0 : this.accepted - (this.#kind.unsent(stream) ?? 0);
  }

  /** How many bytes the kernel has accepted, as far as is known. */
  get accepted(): number {
    const stream = this.#stream;
    if (stream === null) return 0;
    return this.#kind.accepted(stream) ?? this.#total - stream.writableLength;
  }

  /** Whether nothing is in flight. */
  get idle(): boolean {
    return this.#stream === null || (this.#done === null && this.#stream.writableLength === 0);
  }

  /** Whether some bytes were handed over in vain. */
  get cutOff(): boolean {
    return this.#cutOff;
  }

  /** See `Transport.write`. */
  write(data: Uint8Array, done: () => void): boolean {
    if (this.#atOnce && !this.#stopped && this.#kind.writeAtOnce!(this.#stream!, data)) {
      this.#total += data.length;
      return true;
    }
    const stream = this.#begin(done, data.length);
    if (stream === null) return false;
    try {
      this.#kind.write(stream, data, this.#written());
    } catch (error) {
      this.#transport.failed(error);
    }
    return this.#isComplete(stream);
  }

  /** See `Transport.writev`. */
  writev(pieces: readonly Uint8Array[], done: () => void): boolean {
    let size = 0;
    for (const piece of pieces) size += piece.length;
    const stream = this.#begin(done, size);
    if (stream === null) return false;
    const last = pieces.length - 1;
    stream.cork();
    for (let i = 0; i < last; i++) this.#kind.write(stream, pieces[i]!);
    this.#kind.write(stream, pieces[last]!, this.#written());
    try {
      stream.uncork();
    } catch (error) {
      this.#transport.failed(error);
    }
    return this.#isComplete(stream);
  }

  /** The connection is gone, and with it the batch in flight, whose `done` is not called any more. */
  stop(): void {
    if (this.#done !== null) this.#cutOff = true;
    this.#done = null;
    this.#pending = 0;
    this.#stopped = true;
  }

  /** The stream to write to, or null if the connection is gone, which is, or will be, reported elsewhere. */
  #begin(done: () => void, size: number): Writable | null {
    const stream = this.#stream;
    if (stream === null || this.#stopped || isBroken(stream)) {
      this.#cutOff = true;
      return null;
    }
    this.#done = done;
    this.#pending = size;
    this.#total += size;
    return stream;
  }

  #isComplete(stream: Writable): boolean {
    // A write that failed at once leaves nothing in the stream, either.
    if (stream.writableLength !== 0 || isBroken(stream)) return false;
    this.#pending = 0;
    this.#done = null;
    this.#completed++;
    return true;
  }

  /** One function for all writes, because Node combines equal callbacks of one turn into one tick. Made when it is first needed. */
  #written(): (error?: Error | null) => void {
    return (this.#onWritten ??= (error) => {
      this.#batchEnded(error ?? null);
    });
  }

  #batchEnded(error: Error | null): void {
    if (this.#completed > 0) {
      this.#completed--;
      return;
    }
    // If a write was cancelled because its handle was destroyed, Node calls back without an error.
    if (error !== null || this.#stream?.destroyed === true) return;
    const done = this.#done;
    this.#done = null;
    this.#pending = 0;
    done?.();
  }
}
