/**
 * What a program can observe through `node:diagnostics_channel`: the names of the channels, and the types of their messages. This file is
 * the only owner of both.
 *
 * A channel without subscribers costs one look at `hasSubscribers` for each event: no message is made, and no call is wrapped. The channels of
 * a tracing channel are used one by one, because runtimes differ in what their `TracingChannel` has.
 */
import { channel, type Channel } from 'node:diagnostics_channel';
import { codeOf } from './errors.js';
import type { Stream } from './stream/stream.js';

/** What is known about a connection. Most names are those of OpenTelemetry's attributes: see docs/diagnostics.md. */
export interface ConnectionAttributes {
  /** `tcp`, `unix` or `pipe`; undefined for any other `Duplex`. */
  networkTransport?: 'tcp' | 'unix' | 'pipe';
  /** The kind of the peer's IP address. */
  networkType?: 'ipv4' | 'ipv6';
  /** The IP address of the other end of the socket, or the path of its Unix socket. */
  peerAddress?: string;
  peerPort?: number;
  /** The same for this end. */
  localAddress?: string;
  localPort?: number;
  /** The client that a proxy has announced with the PROXY protocol. */
  clientAddress?: string;
  clientPort?: number;
}

/** What the messages of a tracing channel have in common. All events of one operation get the same object. */
export interface OperationMessage extends ConnectionAttributes {
  /** Why the operation has failed: set before the event `error`. */
  error?: unknown;
  /** The `code` of the error, if it has one, otherwise the name of its class. */
  errorType?: string;
}

/** The messages of `tracing:sluice:connect:*`: a call that connects. */
export interface ConnectMessage extends OperationMessage {
  /** The name of the call. */
  action: string;
  /** The host or the path that the caller has given. */
  serverAddress?: string;
  serverPort?: number;
  /** Whether the call includes a TLS handshake. */
  tls: boolean;
  /** The stream: set before the event `asyncEnd`, if the call has succeeded. */
  result?: Stream;
}

/** The messages of `tracing:sluice:handshake:*`: a TLS handshake. What was negotiated is set when it has succeeded. */
export interface HandshakeMessage extends OperationMessage {
  /** The call that does the handshake, or the name of the server's class. */
  action: string;
  side: 'client' | 'server';
  /** The version, such as `TLSv1.3`. */
  tlsProtocolVersion?: string;
  tlsCipher?: string;
  /** The protocol that ALPN has agreed on. */
  tlsNextProtocol?: string;
  /** The name that the client has sent (SNI). */
  tlsServerName?: string;
}

/** The messages of `tracing:sluice:handler:*`: the handler of a server, from its call until it has settled. */
export interface HandlerMessage extends OperationMessage {
  /** The address of this end, which the client has connected to. */
  serverAddress?: string;
  serverPort?: number;
  /** The stream that the handler was called with. */
  stream: Stream;
}

/** Which option or circumstance has refused a connection. */
export type DropReason =
  | 'maxConnections'
  | 'maxConnectionsPerAddress'
  | 'blockList'
  | 'accept'
  | 'failed'
  | 'proxyProtocol'
  | 'sock'
  | 'descriptors';

/** The messages of `sluice:server.drop`: a server has refused a connection. */
export interface ServerDropMessage extends ConnectionAttributes {
  /** The name of the server's class. */
  action: string;
  /**
   * `failed`: a `blockList` or `accept` that has thrown; `sock`: the caller's `net.Server`. `descriptors`: no descriptor is left. Then the
   * runtime closes connections itself, and the message stands for all of them.
   */
  reason: DropReason;
  error?: unknown;
  errorType?: string;
}

/** The messages of `sluice:limit`: data was refused because it exceeds a limit. */
export interface LimitMessage extends ConnectionAttributes {
  /** The call that was refused, such as `readline` or `write`. */
  action: string;
  /** The limit, in bytes. */
  limit: number;
  /** How many bytes there are: of the frame as far as it is known, or in the write buffer with those of the refused call. */
  size: number;
  error: Error;
  errorType: string;
}

/** The messages of `sluice:timeout`: a timeout of a connection is over, or of a call with `timeout`. */
export interface TimeoutMessage extends ConnectionAttributes {
  /**
   * The name of the option: `idleTimeout`, `readTimeout`, `writeTimeout`, `maxAge`, `closeTimeout`, `sslHandshakeTimeout`; for a call
   * `timeout`.
   */
  option: string;
  /** The name of the call, if it was the timeout of a call. */
  action?: string;
  /** The time, in ms. */
  timeout: number;
  error: Error;
  errorType: string;
}

/** A message, or what is known of a connection, is made from this. */
interface Facts {
  getExtraInfo(name: string): unknown;
}

/** A tracing channel. It works without `TracingChannel` of the runtime, and has the same channels. */
export class Tracing<M extends OperationMessage> {
  readonly #start: Channel;
  readonly #end: Channel;
  readonly #asyncStart: Channel;
  readonly #asyncEnd: Channel;
  readonly #error: Channel;

  constructor(name: string) {
    this.#start = channel(`tracing:${name}:start`);
    this.#end = channel(`tracing:${name}:end`);
    this.#asyncStart = channel(`tracing:${name}:asyncStart`);
    this.#asyncEnd = channel(`tracing:${name}:asyncEnd`);
    this.#error = channel(`tracing:${name}:error`);
  }

  get hasSubscribers(): boolean {
    return (
      this.#start.hasSubscribers ||
      this.#end.hasSubscribers ||
      this.#asyncStart.hasSubscribers ||
      this.#asyncEnd.hasSubscribers ||
      this.#error.hasSubscribers
    );
  }

  /** Does `work`, in the context of the stores that are bound to the channel `start`. It must report its end by {@link settled}. */
  run<T>(message: M, work: () => T): T {
    try {
      return this.#start.runStores(message, work);
    } finally {
      this.#end.publish(message);
    }
  }

  /** Reports that the operation is over, with `failure.error` if it has failed. */
  settled(message: M, failure: { readonly error: unknown } | null): void {
    if (failure !== null) {
      message.error = failure.error;
      message.errorType = errorType(failure.error);
      this.#error.publish(message);
    }
    this.#asyncStart.publish(message);
    this.#asyncEnd.publish(message);
  }

  /** Does `work` and reports its end. `done` adds to the message what the result shows. */
  promise<T>(message: M, work: () => Promise<T>, done: (result: T) => void): Promise<T> {
    return this.run(message, () =>
      work().then(
        (result) => {
          done(result);
          this.settled(message, null);
          return result;
        },
        (error: unknown) => {
          this.settled(message, { error });
          throw error;
        },
      ),
    );
  }
}

export const connectTracing = new Tracing<ConnectMessage>('sluice:connect');
export const handshakeTracing = new Tracing<HandshakeMessage>('sluice:handshake');
export const handlerTracing = new Tracing<HandlerMessage>('sluice:handler');
export const dropChannel = channel('sluice:server.drop');
export const limitChannel = channel('sluice:limit');
export const timeoutChannel = channel('sluice:timeout');

/** The `code` of an error, or the name of its class. */
export function errorType(error: unknown): string {
  const code = codeOf(error);
  if (code !== 'UNKNOWN') return code;
  return error instanceof Error ? error.name : '_OTHER';
}

/** What is known about a connection. */
export function attributesOf(connection: Facts | null): ConnectionAttributes {
  const attributes: ConnectionAttributes = {};
  if (connection === null) return attributes;
  const peer = connection.getExtraInfo('peername') as End;
  const own = connection.getExtraInfo('sockname') as End;
  const announced = connection.getExtraInfo('proxy') as { source?: End } | undefined;
  if (typeof peer === 'string' || typeof own === 'string') {
    attributes.networkTransport = 'unix';
    if (typeof peer === 'string' && peer !== '') attributes.peerAddress = peer;
    if (typeof own === 'string' && own !== '') attributes.localAddress = own;
  } else if (peer != null || own != null) {
    attributes.networkTransport = 'tcp';
    if (peer != null) {
      attributes.networkType = peer.address.includes(':') ? 'ipv6' : 'ipv4';
      attributes.peerAddress = peer.address;
      attributes.peerPort = peer.port;
    }
    if (own != null) {
      attributes.localAddress = own.address;
      attributes.localPort = own.port;
    }
  }
  const client = announced?.source;
  if (typeof client === 'string') attributes.clientAddress = client;
  else if (client != null) {
    attributes.clientAddress = client.address;
    attributes.clientPort = client.port;
  }
  return attributes;
}

/** An end of a connection: an address, or a path. */
type End = { readonly address: string; readonly port: number } | string | null | undefined;

/** Reports that a timeout is over. Call it only if {@link timeoutChannel} has subscribers. */
export function publishTimeout(
  facts: Pick<TimeoutMessage, 'option' | 'action' | 'timeout'>,
  error: Error,
  connection: Facts | null,
): void {
  const message: TimeoutMessage = { ...facts, error, errorType: errorType(error), ...attributesOf(connection) };
  timeoutChannel.publish(message);
}

/** Reports that a limit was exceeded. Call it only if {@link limitChannel} has subscribers. */
export function publishLimit(
  facts: Pick<LimitMessage, 'action' | 'limit' | 'size'>,
  error: Error,
  connection: Facts | null,
): void {
  const message: LimitMessage = { ...facts, error, errorType: errorType(error), ...attributesOf(connection) };
  limitChannel.publish(message);
}
