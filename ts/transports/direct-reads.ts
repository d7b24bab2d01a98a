/**
 * Direct reads: through the `onread` option of a socket, libuv reads into memory that is reused for every read. It is a block that all
 * sockets of the thread share; or, if a stream keeps filling that, memory of the stream.
 */
import type { OnReadOpts, Socket } from 'node:net';
import type { Reads, Receiver } from './data-reads.js';
import { stopDirectReads } from './node-internals.js';

/** The most bytes that one read can return: what libuv requests from the kernel at once. */
const READ_BYTES = 65536;

/**
 * On POSIX, libuv requests memory, reads and calls back without interruption, so all sockets of the thread can read into one block. On
 * Windows, a read is handed to the system ahead of time and fills its memory whenever data arrives, so each socket needs its own block.
 */
const SHARED_READS = process.platform !== 'win32';
let shared: ReadBlock | null = null;

function readBlock(): ReadBlock {
  return SHARED_READS ? (shared ??= new ReadBlock()) : new ReadBlock();
}

/**
 * How many sockets of the thread may have memory of a stream in which no read waits. Node requests the memory for a read before anything
 * has arrived, and cannot return it: otherwise, each of ten thousand connections that fell silent after much data would keep its own.
 * All other sockets use the shared block, from which received bytes are copied.
 */
const MOST_HOLDERS = 32;
let holders = 0;

/** Memory for many reads. */
class ReadBlock {
  readonly bytes: Uint8Array = Buffer.allocUnsafeSlow(READ_BYTES);
  // Kept because `bytes.buffer` is a call into the runtime.
  readonly #memory = this.bytes.buffer;
  readonly #offset = this.bytes.byteOffset;
  #first = this.bytes;

  /** The first `count` bytes. */
  first(count: number): Uint8Array {
    // Kept because a short message is often as long as the one before, and the memory is always the same.
    if (this.#first.length !== count) this.#first = new Uint8Array(this.#memory, this.#offset, count);
    return this.#first;
  }
}

/**
 * The two functions that Node calls around a direct read. They are made before the socket, and the transport joins later. Node calls
 * `buffer` for the memory of the *next* read after each call of `callback`, and once when the handle is set up, before there is a
 * transport.
 */
export class DirectReads implements OnReadOpts, Reads {
  readonly path = 'direct';
  #socket: Socket | null = null;
  #receiver: Receiver | null = null;
  #block: ReadBlock | null = null;
  /** Whether Node has memory of the stream for the next read. */
  #holds = false;
  /**
   * If `pause()` follows `resume()` within one tick, Node starts to read again if the socket has `onread`. So what arrives while
   * reading is paused stops it once more.
   */
  #paused = false;
  /** Bytes that were put back, and not delivered again yet. Nothing is read meanwhile. */
  #rest: Uint8Array | null = null;

  readonly buffer = (): Uint8Array => {
    this.#returnMemory();
    const target = this.#receiver?.readTarget(holders < MOST_HOLDERS) ?? null;
    if (target === null) return (this.#block ??= readBlock()).bytes;
    this.#holds = true;
    holders++;
    return target;
  };

  readonly callback = (count: number, memory: Uint8Array): boolean => {
    const receiver = this.#receiver;
    // Detached: the socket is read by its new user, through its `Readable` half.
    if (receiver === null) return this.#socket?.push(Buffer.from(memory.subarray(0, count))) ?? false;
    if (this.#rest !== null) {
      // It was on its way when reading stopped.
      this.#rest = Buffer.concat([this.#rest, memory.subarray(0, count)]);
      return false;
    }
    const block = this.#block;
    const flowing = memory === block?.bytes ? receiver.received(block.first(count)) : receiver.filled(count);
    return flowing && !this.#paused;
  };

  /** Connects the socket that was made with these reads to its transport. */
  join(socket: Socket, receiver: Receiver): void {
    this.#socket = socket;
    this.#receiver = receiver;
  }

  start(): void {
    this.resume();
  }

  pause(): void {
    this.#paused = true;
    this.#socket?.pause();
  }

  resume(): void {
    this.#paused = false;
    // The receiver may be in the middle of a call. `Readable.resume` does not deliver during the call, either.
    if (this.#rest === null) this.#socket?.resume();
    else process.nextTick(() => this.#resumeWithRest());
  }

  #resumeWithRest(): void {
    if (!this.#paused && this.#deliverRest()) this.#socket?.resume();
  }

  /** The socket itself holds no bytes. */
  deliver(): void {
    this.#deliverRest();
  }

  deliverLast(): void {
    this.#deliverRest();
  }

  /** Returns whether the receiver wants more. */
  #deliverRest(): boolean {
    const rest = this.#rest;
    this.#rest = null;
    return rest === null || (this.#receiver?.received(rest) ?? false);
  }

  putBack(rest: Uint8Array): void {
    this.pause();
    // A copy: the memory that is read into is reused.
    if (rest.length > 0) this.#rest = Buffer.from(rest);
  }

  release(): void {
    this.stop();
    this.#unshiftRest();
  }

  /** Node has no way to end direct reads, so they continue, and what they bring is pushed into the socket. */
  detach(): void {
    this.#receiver = null;
    this.#returnMemory();
    this.#unshiftRest();
  }

  #unshiftRest(): void {
    if (this.#rest !== null) this.#socket?.unshift(this.#rest);
    this.#rest = null;
  }

  stop(): void {
    if (this.#socket !== null) stopDirectReads(this.#socket);
    this.#returnMemory();
  }

  /** Node no longer has memory of the stream: it was filled, or the socket is not read any more. */
  #returnMemory(): void {
    if (!this.#holds) return;
    this.#holds = false;
    holders--;
  }
}

/** Looked up once, because looking up a variable of the environment takes longer than all the rest of this file for one socket. */
let forbidden = process.env.SLUICE_READS === 'data';

/**
 * Forbids direct reads for new sockets, or allows them, for tests.
 *
 * @returns whether they were forbidden
 */
export function forbidDirectReads(forbid: boolean): boolean {
  const before = forbidden;
  forbidden = forbid;
  return before;
}

/** Whether the environment, or a test, forbids them. */
export function directReadsForbidden(): boolean {
  return forbidden;
}

/** Direct reads for a new socket, or null if the environment forbids them. */
export function directReads(): DirectReads | null {
  return forbidden ? null : new DirectReads();
}

/**
 * Direct reads for a socket or a descriptor that the program passes. Null on Windows, which receives the memory of a read in advance, so it
 * must not get memory that is reused.
 */
export function directReadsOfGiven(): DirectReads | null {
  return process.platform === 'win32' ? null : directReads();
}
