/**
 * Reading over TLS: each record is decrypted into memory that is reused, and delivered from there, if the stream is ready for it. Otherwise
 * it takes the way that all bytes take without this: into the `Readable` half of the socket, and out of it with the next `'data'` event.
 *
 * So nothing differs from `'data'` events in when Node reads from the connection, and therefore in what ends it: with reading stopped in the
 * kernel, Node would ignore a reset that follows the end of TLS.
 */
import { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { DataReads, type Reads, type Receiver } from '../transports/data-reads.js';
import { directReadsForbidden } from '../transports/direct-reads.js';
import { readDecrypted } from '../transports/node-internals.js';

/** The most bytes that a record has. */
const RECORD_BYTES = 16384;

/** Shared by all sockets of the thread: a record is delivered, or copied, before the next one is decrypted. */
let memory: Uint8Array | null = null;

class DecryptedReads extends DataReads {
  readonly #socket: TLSSocket;
  readonly #receiver: Receiver;

  constructor(socket: TLSSocket, receiver: Receiver) {
    super(socket, receiver);
    this.#socket = socket;
    this.#receiver = receiver;
  }

  override get path(): Reads['path'] {
    return 'direct';
  }

  // A socket that reads through `onread` stops reading from the connection in its own `pause`.
  override pause(): void {
    Duplex.prototype.pause.call(this.#socket);
  }

  override resume(): void {
    Duplex.prototype.resume.call(this.#socket);
  }

  /** A record was decrypted. Returns whether Node is to read on. */
  decrypted(chunk: Uint8Array): boolean {
    // What the Readable half is passed can stay there.
    if (!this.flows) return this.#socket.push(Buffer.from(chunk));
    if (!this.#receiver.received(chunk)) this.pause();
    return true;
  }
}

/** The reads of a TLS socket whose handshake is complete: through `'data'` events alone if the runtime allows nothing else. */
export function decryptedReads(socket: TLSSocket, receiver: Receiver): Reads {
  if (directReadsForbidden()) return new DataReads(socket, receiver);
  const bytes = (memory ??= Buffer.allocUnsafeSlow(RECORD_BYTES));
  const reads = new DecryptedReads(socket, receiver);
  const onread = (count: number): boolean => reads.decrypted(count === RECORD_BYTES ? bytes : bytes.subarray(0, count));
  return readDecrypted(socket, bytes, onread) ? reads : new DataReads(socket, receiver);
}
