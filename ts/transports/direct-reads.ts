/**
 * Direct reads: libuv reads into memory that is used again for every read, through the `onread` option of a socket.
 *
 * Either the block that all sockets of the thread share, or memory of the stream that keeps filling it ({@link DirectReader}).
 */
import type { OnReadOpts, Socket } from 'node:net';
import { lendNoMore } from './node-internals.js';
import type { Reads, Receiver } from './reads.js';

/** What one read may bring, in bytes: what libuv asks of the kernel at once. */
const READ_BYTES = 65536;

/**
 * On POSIX libuv asks for memory, reads and calls back in one go, so that all sockets of the thread can read into one
 * block. On Windows the read is handed to the system ahead of time and fills its memory whenever data comes: there each
 * socket must have a block of its own.
 */
const SHARED_READS = process.platform !== 'win32';
let shared: ReadBlock | null = null;

function readBlock(): ReadBlock {
  return SHARED_READS ? (shared ??= new ReadBlock()) : new ReadBlock();
}

/**
 * How many sockets of the thread may hold memory to read into that no read waits for. The memory for a read is given before it is
 * known whether, and when, there will be something to read, and cannot be taken back: of ten thousand connections that fell silent
 * after much data each would keep its own. All others share one block and have what came in copied from there.
 */
const MOST_HOLDERS = 32;
let holders = 0;

/** Memory that is read into over and over. */
class ReadBlock {
  readonly bytes: Uint8Array = Buffer.allocUnsafeSlow(READ_BYTES);
  // Kept because to ask a view for its memory is a call into the runtime.
  readonly #memory = this.bytes.buffer;
  readonly #offset = this.bytes.byteOffset;
  #first = this.bytes;

  /** The first `count` bytes. */
  first(count: number): Uint8Array {
    // Kept because short messages are mostly as long as the one before, and the memory is the same in any case.
    if (this.#first.length !== count) this.#first = new Uint8Array(this.#memory, this.#offset, count);
    return this.#first;
  }
}

/**
 * The two functions that Node calls around a direct read. They are made before the socket is, and the transport joins later. Node calls
 * `buffer` for the memory of the *next* read after each call of `callback`, and once when the handle is set up, when there is no
 * transport yet.
 */
export class DirectReads implements OnReadOpts, Reads {
  readonly path = 'direct';
  #socket: Socket | null = null;
  #receiver: Receiver | null = null;
  #block: ReadBlock | null = null;
  /** Whether Node has memory of the stream for the next read, which is not shared. */
  #holds = false;
  /**
   * If `pause()` follows `resume()` within one tick, Node starts a socket that reads through `onread` again. So what comes in while
   * reading is paused stops it once more.
   */
  #paused = false;

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
    if (receiver === null) return false;
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
    this.#socket?.resume();
  }

  pause(): void {
    this.#paused = true;
    this.#socket?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#socket?.resume();
  }

  /** Nothing: the socket holds no bytes. */
  deliver(): void {}

  /** Nothing: the socket holds no bytes. */
  deliverLast(): void {}

  stop(): void {
    if (this.#socket !== null) lendNoMore(this.#socket);
    this.#returnMemory();
  }

  /** Node no longer has memory of the stream: it was filled, or the socket is not read any more. */
  #returnMemory(): void {
    if (!this.#holds) return;
    this.#holds = false;
    holders--;
  }
}

/** Direct reads for a socket to be made, or null where the environment forbids them. */
export function directReads(): DirectReads | null {
  return process.env.SLUICE_READS === 'data' ? null : new DirectReads();
}
