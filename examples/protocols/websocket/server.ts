/**
 * A WebSocket server, and as a program one that sends every message back.
 *
 *     node out/examples/protocols/websocket/server.js [PORT [HOST]]
 *
 * It stops with Ctrl-C or SIGTERM, after a close frame to each client. Not supported: extensions, such as compression.
 */
import { pathToFileURL } from 'node:url';
import {
  LimitOverrunError,
  StreamServer,
  TimeoutError,
  type ClientHandler,
  type HandlerContext,
  type Stream,
} from 'sluice';
import { WebSocketConnection, type WebSocketOptions } from './connection.js';
import { HandshakeError, acceptance, parseRequest, refusal, type UpgradeRequest } from './handshake.js';
import { CloseCode } from './websocket.js';

export interface AcceptOptions extends WebSocketOptions {
  /** The subprotocols of this server. The first one that the client offers and that is listed here is used. */
  protocols?: readonly string[] | undefined;
  /**
   * Returns a status such as 403 to refuse a request, or undefined to accept it, or a promise of these. Check the `origin` here if users
   * are identified by cookies: any page may connect to any server, and browsers send the cookies of the server along.
   */
  refuse?: ((request: UpgradeRequest) => number | undefined | PromiseLike<number | undefined>) | undefined;
  /** How long the request may take, in ms. Default 10000. */
  handshakeTimeout?: number | undefined;
}

/** A client whose request was accepted. */
export interface Accepted {
  readonly connection: WebSocketConnection;
  readonly request: UpgradeRequest;
}

/** Does the handshake of a server. A request that is refused is answered, and rejects with a {@link HandshakeError}. */
export async function accept(stream: Stream, options: AcceptOptions = {}): Promise<Accepted> {
  try {
    const request = parseRequest(await stream.readuntil('\r\n\r\n', { timeout: options.handshakeTimeout ?? 10_000 }));
    const status = await options.refuse?.(request);
    if (status !== undefined) throw new HandshakeError(status, 'refused');
    const protocol = request.protocols.find((name) => options.protocols?.includes(name)) ?? '';
    void stream.write(acceptance(request.key, protocol));
    return { connection: new WebSocketConnection(stream, 'server', protocol, options), request };
  } catch (error) {
    const refused = refusalOf(error);
    if (!(refused instanceof HandshakeError)) throw refused;
    void stream.write(refusal(refused));
    await stream.close();
    throw refused;
  }
}

/** The error to answer when reading the request has failed. Others, such as the end of the connection, cannot be answered. */
function refusalOf(error: unknown): unknown {
  if (error instanceof LimitOverrunError) return new HandshakeError(431, 'the head of the request is too long');
  if (error instanceof TimeoutError) return new HandshakeError(408, 'the request has not arrived in time');
  return error;
}

export type WebSocketHandler = (
  connection: WebSocketConnection,
  request: UpgradeRequest,
  context: HandlerContext,
) => PromiseLike<void>;

/** Makes a handler for a `StreamServer`. When `handler` is over the connection is closed, with code 1011 if it has failed. */
export function webSocketHandler(handler: WebSocketHandler, options: AcceptOptions = {}): ClientHandler {
  return async (stream, context) => {
    const { connection, request } = await accept(stream, options);
    const leave = (): void => void connection.close(CloseCode.GOING_AWAY);
    context.draining.addEventListener('abort', leave);
    try {
      await handler(connection, request, context);
    } catch (error) {
      await connection.close(CloseCode.INTERNAL_ERROR);
      throw error;
    } finally {
      context.draining.removeEventListener('abort', leave);
    }
    await connection.close();
  };
}

/** Sends every message back, until the client closes the connection. */
export async function echo(connection: WebSocketConnection): Promise<void> {
  // Awaiting the write stops this loop while the client does not read, so memory stays bounded.
  for await (const message of connection) await connection.send(message);
}

async function main([port = '8888', host = '127.0.0.1']: string[]): Promise<void> {
  await using server = new StreamServer(webSocketHandler(echo), host, Number(port), {
    maxConnections: 10_000,
    idleTimeout: 300_000,
    shutdownTimeout: 1000,
    onError: (error) => console.error(String(error)),
  });
  await server.startServing();
  const { port: taken } = server.address()!;
  console.log(`Serving on ws://${host}:${taken}`);

  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort());
  await server.serveForever({ signal: stop.signal, drain: 5000 }).catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main(process.argv.slice(2));
