/** Two streams that are connected in memory. */
import {
  checkCloseTimeout,
  checkInteger,
  checkLimit,
  checkObject,
  checkOptionNames,
  checkWriteBuffer,
} from '../checks.js';
import type { LimitOptions } from '../reader/reader.js';
import { Stream } from '../stream/stream.js';
import { checkConnectionTimeouts, type TimeoutOptions } from '../stream/timeouts.js';
import { MemoryTransport } from '../transports/memory.js';
import type { CloseOptions, WriteBufferOptions } from '../writer/writer.js';

/** How many bytes can be in flight in one direction, by default. */
const CAPACITY = 65536;

/** Options of {@link streampair}; both streams have them. */
export interface StreamPairOptions extends LimitOptions, CloseOptions, WriteBufferOptions, TimeoutOptions {
  /**
   * How many bytes one direction accepts that the other stream has not received yet. Further bytes wait to be sent, as they do when the
   * buffers of a kernel are full. A stream that is not read receives up to about twice its `limit` before it stops. Default 65536.
   */
  capacity?: number | undefined;
}

/**
 * Makes two streams that are connected to each other in memory, without a socket: what is written to one can be read from the other. For
 * tests of protocols, and to connect two parts of a program.
 *
 * ```ts
 * const [client, server] = streampair();
 * await client.write('hello\n');
 * console.log((await server.readline()).toString());
 * await client.close();
 * ```
 *
 * They behave as over a socket. Bytes arrive on a later turn of the event loop. A peer that does not read stops the writer (see
 * `capacity`). `writeEof` ends one direction. After `close` the peer reads what was written, then EOF; after `abort` it reads what had been
 * accepted, then its reads reject with a `ConnectionError` `ECONNRESET`. Writing to a peer that has closed loses the connection with
 * `EPIPE`. Timeouts and `sendfile` work.
 *
 * Three things differ. `getExtraInfo` knows nothing. `startTls` rejects with a `StateError` `ERR_TLS_STATE`. And a pair does not keep the
 * process alive, as only sockets, pipes and timers do. Keep both streams: one that is garbage collected while it is open aborts the
 * connection.
 *
 * @returns the side of a client, and that of a server, whose `isServerSide` returns true
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` for an invalid option
 */
export function streampair(options: StreamPairOptions = {}): [client: Stream, server: Stream] {
  const action = 'streampair';
  checkObject(action, 'options', options);
  checkOptionNames(action, options);
  const capacity = checkInteger(action, 'capacity', options.capacity ?? CAPACITY, 1);
  const checked = {
    limit: checkLimit(action, options.limit),
    closeTimeout: checkCloseTimeout(action, options.closeTimeout),
    maxWriteBuffer: checkWriteBuffer(action, 'maxWriteBuffer', options.maxWriteBuffer),
    timeouts: checkConnectionTimeouts(action, options),
  };
  const [one, other] = MemoryTransport.pair(capacity);
  return [new Stream(one, checked), new Stream(other, { ...checked, serverSide: true })];
}
