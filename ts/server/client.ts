/** A connection that a server has passed to its handler, and what happens when the handler ends. */
import {
  ConnectionError,
  FrameError,
  IncompleteReadError,
  LimitOverrunError,
  StateError,
  ignore,
  type TimeoutError,
} from '../errors.js';
import type { ReadingSink, StreamLink } from '../stream/stream-link.js';
import { Stream, peerName, streamSide, type StreamOwner, type StreamSide } from '../stream/stream.js';
import { isConnectionTimeout } from '../stream/timeouts.js';
import { isCloseTimeout } from '../transports/linger.js';
import type { Transport } from '../transports/transport.js';
import type { AddressCount } from './admission.js';
import type { CheckedServing, HandlerContext } from './options.js';
import type { ProxyInfo } from './proxy-header.js';
import { announcesNoClient } from './proxy-protocol.js';

/**
 * A handler that resolves with this value leaves its stream open, like a plain function that returns.
 *
 * @internal
 */
export const LEAVE_OPEN = Symbol('leave open');

// eslint-disable-next-line @typescript-eslint/unbound-method -- it is called for a promise below
const { then: promiseThen } = Promise.prototype;

/** The server of a client. */
export interface ClientHost {
  /** The handler has settled, or the connection has ended. */
  changed(client: Client): void;
  /** The connection has ended. Called once, with the counters of its stream. */
  ended(bytesRead: number, bytesWritten: number): void;
  /** This side has aborted the connection because of its peer. Called once, and whatever the handler does. */
  aborted(client: Client, error: Error): void;
  /** The reason of the `draining` signals; null until the server begins to close. */
  readonly draining: DOMException | null;
}

/** What is known of a connection before it becomes a client. */
export interface Accepted {
  /** Its share in `maxConnectionsPerAddress`. */
  readonly count: AddressCount | null;
  /** When it was accepted, by the clock; 0 if its server has no timeouts. */
  readonly acceptedAt: number;
}

/** A connection that was passed to the handler. */
export class Client implements StreamOwner {
  readonly #link: StreamLink<StreamSide>;
  /** How many connections its address has; null if that is not counted. */
  readonly count: AddressCount | null;
  /** Whether the handler is still running. */
  running = true;
  /** Whether the connection is still open. */
  open = true;
  /** Whether the server ended the connection, or only reading, while the handler was running. */
  #ended = false;
  #controller: AbortController | null = null;
  #reason: DOMException | null = null;
  #drainController: AbortController | null = null;
  readonly #host: ClientHost;

  constructor(
    transport: Transport,
    { limit, closeTimeout, maxWriteBuffer, timeouts }: CheckedServing,
    { count, acceptedAt }: Accepted,
    host: ClientHost,
  ) {
    this.count = count;
    this.#host = host;
    const options = { limit, closeTimeout, maxWriteBuffer, timeouts, acceptedAt, serverSide: true, owner: this };
    this.#link = streamSide(new Stream(transport, options)).link;
  }

  /** Null if the stream was abandoned and garbage collected. */
  get stream(): Stream | null {
    return this.#link.stream?.stream ?? null;
  }

  /**
   * Ends the connection on behalf of the server, without flushing if `hard`. What was received and not read is dropped: no answer to it
   * could be sent. The errors that this causes in the handler are not reported.
   */
  end(hard: boolean): void {
    if (!this.open) return;
    if (this.running) this.#ended = true;
    const { stream } = this;
    if (stream !== null) streamSide(stream).dropUnread();
    if (hard) this.abort();
    else this.close();
  }

  /**
   * Ends the connection as soon as it is idle. While the handler is running, only reading ends, as if the peer had ended its side: the
   * handler may still be working on answers. The stream is closed when it settles.
   */
  drain(): void {
    const { stream } = this;
    if (stream === null || !this.open) return;
    const side = streamSide(stream);
    side.whenIdle(() => {
      if (this.running) {
        this.#ended = true;
        side.endReading();
      } else this.close();
    });
  }

  /** Whether {@link end} would end the connection before it has finished: see `ServerCloseResult`. */
  isCutOffBy(hard: boolean): boolean {
    const { stream } = this;
    if (!this.open || stream === null) return false;
    if (hard && stream.writeBufferSize > 0) return true;
    return !stream.isClosing() && !streamSide(stream).waitsEmpty;
  }

  /** Closes the stream without waiting. Errors of the connection are ignored from then on. */
  close(): void {
    // Its handler may have detached the stream, which is not ours any more.
    if (!this.open) return;
    const { stream } = this;
    if (stream === null) this.#link.transport.abort();
    else stream.close().catch(ignore);
  }

  /** Aborts the stream without waiting. */
  abort(): void {
    if (!this.open) return;
    const { stream } = this;
    if (stream === null) this.#link.transport.abort();
    else void stream.abort();
  }

  streamClosed(error: Error | null, stream: ReadingSink | null): void {
    this.open = false;
    if (stream !== null) this.#host.ended(stream.received, stream.bytesWritten);
    if (isOwnAbort(error)) this.#host.aborted(this, error);
    this.#host.changed(this);
  }

  handlerSettled(): void {
    this.running = false;
    // From now on only user code keeps the stream alive, and may abandon it.
    this.#link.disown();
    this.#host.changed(this);
  }

  /** Created on first use: most handlers do not use it, and an idle connection should not pay for it. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#reason !== null) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  cancel(reason: DOMException): void {
    this.#reason = reason;
    this.#controller?.abort(reason);
  }

  /** Created on first use, like {@link signal}. */
  get draining(): AbortSignal {
    if (this.#drainController === null) {
      this.#drainController = new AbortController();
      this.announceDraining();
    }
    return this.#drainController.signal;
  }

  /** Aborts {@link draining} if the server has begun to close. */
  announceDraining(): void {
    const { draining } = this.#host;
    if (draining !== null) this.#drainController?.abort(draining);
  }

  /**
   * Whether a handler failed only because the server ended its connection or its reading (a refused write, an incomplete frame),
   * cancelled it, or began to close.
   */
  isCancellation(error: unknown): boolean {
    if (this.#ended && (error instanceof IncompleteReadError || isLocalClose(error))) return true;
    return isDueTo(error, this.#reason) || isDueTo(error, this.#host.draining);
  }

  get peer(): string {
    return peerName(this.#link.transport) ?? 'an unknown peer';
  }
}

/**
 * Whether a handler failed because of something that any peer can cause as often as it likes: the connection was lost (not closed
 * by this side), a frame was over the limit, malformed or incomplete, or plaintext was injected before an upgrade to TLS.
 */
export function isPeersDoing(stream: Stream, error: unknown): error is Error {
  if (error instanceof LimitOverrunError || error instanceof FrameError || error instanceof IncompleteReadError)
    return true;
  if (error instanceof StateError) return error.code === 'ERR_TLS_PLAINTEXT_PENDING';
  return error instanceof ConnectionError && isDueTo(error, stream.exception());
}

/** Whether an error is `reason`, or is caused by it: calls of a stream, and Node's own functions with a signal, wrap the reason. */
function isDueTo(error: unknown, reason: Error | null): boolean {
  if (reason === null) return false;
  return error === reason || (error instanceof Error && error.cause === reason);
}

/**
 * Whether a handler failed because this side has aborted the connection of its stream. The abort itself is reported, whatever the handler
 * does: so this is not.
 */
export function isReportedAbort(stream: Stream, error: unknown): boolean {
  const loss = stream.exception();
  return isOwnAbort(loss) && isDueTo(error, loss);
}

/** Whether a connection ended because this side has aborted it for what its peer does, or does not do. */
function isOwnAbort(error: Error | null): error is ConnectionError | TimeoutError {
  if (isConnectionTimeout(error) || isCloseTimeout(error)) return true;
  return error instanceof ConnectionError && error.code === 'ERR_WRITE_OVERFLOW';
}

/**
 * Whether a proxy has only checked that the server is alive: it has announced no client, and sent nothing. However it ends the connection,
 * no client is concerned. (HAProxy resets it.)
 */
export function isOnlyChecked(stream: Stream): boolean {
  const proxy = stream.getExtraInfo('proxy') as ProxyInfo | undefined;
  if (proxy === undefined || stream.bytesRead > 0) return false;
  return announcesNoClient(proxy, stream.getExtraInfo('peername'));
}

/**
 * Whether a call was refused because this side had closed the connection. If the connection was lost instead, the error has a
 * cause.
 */
function isLocalClose(error: unknown): boolean {
  if (!(error instanceof ConnectionError) || error.cause !== undefined) return false;
  // The second is that of a handshake which `startTls` had begun.
  return error.code === 'ECONNRESET' || error.code === 'ECONNABORTED';
}

/** The part of the client that its handler can see. */
export class Context implements HandlerContext {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  get signal(): AbortSignal {
    return this.#client.signal;
  }

  get draining(): AbortSignal {
    return this.#client.draining;
  }
}

/**
 * Whether a user's function returned something that has to be awaited. It must be awaited through {@link whenSettled}, not
 * through its own `then`.
 *
 * @internal
 */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    (typeof value === 'object' || typeof value === 'function') &&
    value !== null &&
    typeof (value as { then?: unknown }).then === 'function'
  );
}

/**
 * Waits as `await` does: any thenable settles at most once, with the final value of nested thenables. A promise is awaited
 * directly, even if its `then` was replaced. (An `await` would take 200 bytes more for each running handler.)
 */
export function whenSettled(
  result: PromiseLike<unknown>,
  done: (value: unknown) => void,
  failed: (error: unknown) => void,
): void {
  void Reflect.apply(promiseThen, Promise.resolve(result), [done, failed]);
}
