/**
 * Direct reads: libuv reads into memory that is used again for every read, through the `onread` option of a socket.
 *
 * Either the block that all sockets of the thread share, or memory of the stream that keeps filling it ({@link DirectReader}).
 */
import type { OnReadOpts } from 'node:net';

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
 * The two functions that Node calls around a direct read. They are made before the socket is, and the transport joins
 * later. `buffer` is asked for the memory of the *next* read, after `callback` has had the last one: and once when the
 * handle is set up, when there is no transport yet.
 */
export class DirectReads implements OnReadOpts {
  #transport: DirectReader | null = null;
  #block: ReadBlock | null = null;
  /** Whether Node has memory of the stream for the next read, which is not shared. */
  #holds = false;
  /**
   * Node starts a socket that reads by `onread` again where pause() follows resume() within one tick: so what comes in while reading is
   * paused stops it once more.
   */
  paused = false;

  readonly buffer = (): Uint8Array => {
    this.letGo();
    const target = this.#transport?.directTarget(holders < MOST_HOLDERS) ?? null;
    if (target === null) return (this.#block ??= readBlock()).bytes;
    this.#holds = true;
    holders++;
    return target;
  };

  readonly callback = (count: number, memory: Uint8Array): boolean => {
    const transport = this.#transport;
    if (transport === null) return false;
    const block = this.#block;
    const flowing =
      memory === block?.bytes ? transport.directReceived(block.first(count)) : transport.directFilled(count);
    return flowing && !this.paused;
  };

  /** The transport is ready to receive. */
  join(transport: DirectReader): void {
    this.#transport = transport;
  }

  /** Memory of the stream that Node had is not held any more: it was filled, or the connection is gone. */
  letGo(): void {
    if (!this.#holds) return;
    this.#holds = false;
    holders--;
  }
}

/** What {@link DirectReads} asks of the transport. */
export interface DirectReader {
  /** Memory of the stream for the next read; null: the shared block. `ahead` as in `TransportSink.readTarget`. */
  directTarget(ahead: boolean): Uint8Array | null;
  /** So many bytes were read into the last target. `false`: stop reading. */
  directFilled(count: number): boolean;
  /** Bytes in the shared block. `false`: stop reading. */
  directReceived(chunk: Uint8Array): boolean;
}

/** Direct reads for a socket to be made, or null where the environment forbids them. */
export function directReads(): DirectReads | null {
  return process.env.SLUICE_READS === 'data' ? null : new DirectReads();
}
