/** Peers that are slow, that break and that stop: what a test does to one end of a `streampair`. */
import { checkInteger } from '../checks.js';
import { invalidType } from '../errors.js';
import type { Stream } from '../stream/stream.js';
import { MemoryTransport } from '../transports/memory.js';

/**
 * A number of bytes for both directions, or one for each: `read`, of what the stream reads, and `write`, of what it writes. A direction
 * that is not given stays as it is, and `Infinity` removes what an earlier call has set.
 */
export type Bytes = number | { readonly read?: number | undefined; readonly write?: number | undefined };

/**
 * Makes one end of a `streampair` slow: at most this many bytes are delivered in each turn of the event loop. No time is involved.
 *
 * ```ts
 * const [client, end] = streampair();
 * const peer = throttled(end, { write: 1 }); // the client receives one byte at a time
 * await peer.write('+OK\r\n');
 * ```
 *
 * @param stream - an end of a `streampair`
 * @param perTurn - bytes in each turn, 1 or more
 * @returns the same stream
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` for an invalid argument
 */
export function throttled(stream: Stream, perTurn: Bytes): Stream {
  const transport = checkStream('throttled', stream);
  const { read, write } = checkBytes('throttled', 'perTurn', perTurn, 1);
  if (read !== undefined) transport.incoming.rate = read;
  if (write !== undefined) transport.outgoing.rate = write;
  transport.impaired();
  return stream;
}

/**
 * Has the connection of a `streampair` reset once this end has read or written a number of bytes from now on. The other end receives
 * what this one has written up to then. Reads and writes of both then reject with a `ConnectionError` `ECONNRESET`. With 0 the reset
 * comes at once, before anything more is read or written.
 *
 * ```ts
 * const [client, end] = streampair();
 * const peer = broken(end, { write: 10 }); // the client receives 10 bytes, then ECONNRESET
 * void peer.write('HTTP/1.1 200 OK\r\n');
 * ```
 *
 * @param stream - an end of a `streampair`
 * @param after - bytes from now on, 0 or more; with a number, those of either direction, whichever are reached first
 * @returns the same stream
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` for an invalid argument
 */
export function broken(stream: Stream, after: Bytes): Stream {
  const transport = checkStream('broken', stream);
  const { read, write } = checkBytes('broken', 'after', after, 0);
  const { incoming, outgoing } = transport;
  if (read !== undefined) {
    incoming.deliverFrom = incoming.delivered;
    incoming.deliverBreak = incoming.delivered + read;
  }
  if (write !== undefined) {
    outgoing.acceptFrom = outgoing.accepted;
    outgoing.acceptBreak = outgoing.accepted + write;
  }
  transport.impaired();
  return stream;
}

/**
 * Stops one end of a `streampair`: it reads nothing more, and what it writes stays unsent. The connection stays open. Bytes that the other
 * end writes are accepted up to the `capacity` of the pair; then its writer waits, as for a peer that hangs.
 *
 * ```ts
 * const [client, end] = streampair({ capacity: 10 });
 * const peer = clogged(end, { read: 0 }); // the client can write 10 bytes, then it waits
 * clogged(peer, { read: Infinity }); // the peer continues to read
 * ```
 *
 * @param stream - an end of a `streampair`
 * @param after - how many more bytes it reads or writes before that, 0 or more; default 0 for both. `Infinity`: it continues
 * @returns the same stream
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` for an invalid argument
 */
export function clogged(stream: Stream, after: Bytes = 0): Stream {
  const transport = checkStream('clogged', stream);
  const { read, write } = checkBytes('clogged', 'after', after, 0);
  const { incoming, outgoing } = transport;
  if (read !== undefined) incoming.deliverMost = incoming.delivered + read;
  if (write !== undefined) outgoing.acceptMost = outgoing.accepted + write;
  transport.impaired();
  return stream;
}

function checkStream(action: string, stream: unknown): MemoryTransport {
  const transport = (stream as Partial<Stream> | null | undefined)?.transport;
  if (transport instanceof MemoryTransport) return transport;
  throw invalidType(action, 'stream', 'an end of a streampair', stream);
}

function checkBytes(
  action: string,
  name: string,
  bytes: unknown,
  least: number,
): { read: number | undefined; write: number | undefined } {
  const check = (what: string, value: unknown): number | undefined => {
    if (value === undefined || value === Infinity) return value;
    const expected = `an integer of ${least} or more, or Infinity`;
    return checkInteger(action, what, value, least, Number.MAX_SAFE_INTEGER, expected);
  };
  if (typeof bytes !== 'object' || bytes === null) {
    if (typeof bytes !== 'number') throw invalidType(action, name, 'a number of bytes, or { read, write }', bytes);
    const both = check(name, bytes);
    return { read: both, write: both };
  }
  const { read, write } = bytes as { read?: unknown; write?: unknown };
  if (read === undefined && write === undefined) {
    throw invalidType(action, name, 'a number of bytes, or { read, write }', bytes);
  }
  return { read: check('read', read), write: check('write', write) };
}
