/** A connection that a server has handed to its handler, and how the handler comes to its end. */
import { ConnectionError, IncompleteReadError, LimitOverrunError, StateError, ignore } from '../errors.js';
import type { StreamLink } from '../stream/stream-link.js';
import { Stream, peerName, type StreamOwner } from '../stream/stream.js';
import type { Transport } from '../transports/transport.js';
import type { CheckedServing, HandlerContext } from './options.js';

/**
 * What a handler resolves with to have its stream left open, as if it were a plain function that returned.
 *
 * @internal
 */
export const LEAVE_OPEN = Symbol('leave open');

// eslint-disable-next-line @typescript-eslint/unbound-method -- it is called for a promise below
const { then: promiseThen } = Promise.prototype;

/** A connection that was handed to the handler. */
export class Client implements StreamOwner {
  readonly #link: StreamLink<Stream>;
  /** The stream while the handler runs; after that the stream is the handler's business, which may forget it. */
  #held: Stream | null;
  /** Whether the handler has not settled yet. */
  running = true;
  /** Whether the connection is not gone yet. */
  open = true;
  /** Whether the server has ended the connection while the handler ran. */
  #ended = false;
  #controller: AbortController | null = null;
  #reason: DOMException | null = null;
  readonly #changed: (client: Client) => void;

  constructor(
    transport: Transport,
    { limit, closeTimeout }: Pick<CheckedServing, 'limit' | 'closeTimeout'>,
    changed: (client: Client) => void,
  ) {
    this.#changed = changed;
    this.#held = new Stream(transport, { limit, closeTimeout, serverSide: true, owner: this });
    this.#link = this.#held.link;
  }

  /** Null when the stream was forgotten. */
  get stream(): Stream | null {
    return this.#held ?? this.#link.stream;
  }

  /** The server ends the connection, with what is queued or without: what the handler meets then is no failure of it. */
  end(hard: boolean): void {
    if (this.running) this.#ended = true;
    if (hard) this.abort();
    else this.close();
  }

  /** Closes the stream, without waiting for that; an error of the connection concerns nobody then. */
  close(): void {
    const { stream } = this;
    if (stream === null) this.#link.transport.abort();
    else stream.close().catch(ignore);
  }

  /** Aborts the stream, without waiting for that. */
  abort(): void {
    const { stream } = this;
    if (stream === null) this.#link.transport.abort();
    else void stream.abort();
  }

  streamClosed(): void {
    this.open = false;
    this.#changed(this);
  }

  handlerSettled(): void {
    this.running = false;
    this.#held = null;
    this.#changed(this);
  }

  /** Made when it is first asked for: most handlers never do, and an idle connection should not pay for it. */
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

  /**
   * Whether a handler failed just because the server ended its connection (a write that is refused, a frame cut short), or
   * cancelled it. Node's own functions wrap the reason as the cause.
   */
  isCancellation(error: unknown): boolean {
    if (this.#ended && (error instanceof IncompleteReadError || isLocalClose(error))) return true;
    if (this.#reason === null) return false;
    return error === this.#reason || (error instanceof Error && error.cause === this.#reason);
  }

  get peer(): string {
    return peerName(this.#link.transport) ?? 'an unknown peer';
  }
}

/**
 * Whether a handler failed because of what its peer did, which any peer can repeat at will: the connection was lost (not by a close of
 * this side), a frame was over the limit or cut short, or plaintext was injected before an upgrade to TLS.
 */
export function isPeersDoing(stream: Stream, error: unknown): error is Error {
  if (error instanceof LimitOverrunError || error instanceof IncompleteReadError) return true;
  if (error instanceof StateError) return error.code === 'ERR_TLS_PLAINTEXT_PENDING';
  const loss = stream.exception();
  return error instanceof ConnectionError && loss !== null && (error === loss || error.cause === loss);
}

/** Whether a call was refused because this side has closed the connection: a loss from elsewhere is the cause of its error. */
function isLocalClose(error: unknown): boolean {
  return error instanceof ConnectionError && error.code === 'ECONNRESET' && error.cause === undefined;
}

/** What the handler may see of its client. */
export class Context implements HandlerContext {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  get signal(): AbortSignal {
    return this.#client.signal;
  }
}

/**
 * Whether a function of the user's returned something to wait for. It is waited for as by `await`, never by its own `then`.
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
 * Waits as `await` does: a thenable of any make settles once, with what the promise that it resolves with gives, and a promise by
 * itself, whatever `then` it was given. (`await` takes 200 bytes more for each handler that runs.)
 */
export function whenSettled(
  result: PromiseLike<unknown>,
  done: (value: unknown) => void,
  failed: (error: unknown) => void,
): void {
  void Reflect.apply(promiseThen, Promise.resolve(result), [done, failed]);
}
