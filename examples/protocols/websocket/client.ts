/**
 * A WebSocket client, and as a program one that sends its arguments as messages and prints an answer to each.
 *
 *     node out/examples/protocols/websocket/client.js URL [MESSAGE...]
 *
 * With `wss://` the connection is encrypted. Not supported: extensions, such as compression; proxies; redirects.
 */
import { pathToFileURL } from 'node:url';
import { connect, type ClientSsl } from 'sluice';
import { WebSocketConnection, type WebSocketOptions } from './connection.js';
import { newKey, parseResponse, upgradeRequest } from './handshake.js';

export interface ClientOptions extends WebSocketOptions {
  /** The subprotocols to offer, the preferred one first. */
  protocols?: readonly string[] | undefined;
  /** More headers for the request, such as `Authorization` or `Origin`. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** The options of TLS for `wss://`, such as an authority to trust. */
  ssl?: ClientSsl | undefined;
  /** Ends the attempt to connect. */
  signal?: AbortSignal | undefined;
  /** How long the answer to the request may take, in ms. Default 10000. */
  handshakeTimeout?: number | undefined;
}

/**
 * Connects to `ws://...` or `wss://...`. Rejects with a `HandshakeError` that has the `status` if the server refuses.
 *
 * ```ts
 * await using connection = await connectWebSocket('wss://example.org/chat');
 * await connection.send('hello');
 * for await (const message of connection) console.log(message);
 * ```
 */
export async function connectWebSocket(url: string | URL, options: ClientOptions = {}): Promise<WebSocketConnection> {
  const { protocols = [], headers, ssl = true, signal, handshakeTimeout = 10_000 } = options;
  const to = checkedUrl(url);
  const secure = to.protocol === 'wss:';
  const key = newKey();
  const request = upgradeRequest(to, key, protocols, headers);
  const host = to.hostname.replace(/^\[(.*)\]$/, '$1'); // an IPv6 address
  const stream = await connect(host, Number(to.port || (secure ? 443 : 80)), { signal, ...(secure && { ssl }) });
  try {
    void stream.write(request);
    const head = await stream.readuntil('\r\n\r\n', { signal, timeout: handshakeTimeout });
    return new WebSocketConnection(stream, 'client', parseResponse(head, key, protocols), options);
  } catch (error) {
    await stream.abort();
    throw error;
  }
}

function checkedUrl(url: string | URL): URL {
  const checked = new URL(url);
  const { protocol, username, password, hash } = checked;
  if (protocol !== 'ws:' && protocol !== 'wss:') throw new TypeError(`not a WebSocket URL: ${checked.href}`);
  if (username + password !== '') throw new TypeError('the URL has credentials: send them in a header');
  if (hash !== '') throw new TypeError(`a WebSocket URL has no fragment: ${hash}`);
  return checked;
}

async function main([url, ...messages]: string[]): Promise<void> {
  if (url === undefined) {
    console.error('usage: client.js URL [MESSAGE...]');
    process.exitCode = 2;
    return;
  }
  await using connection = await connectWebSocket(url);
  for (const message of messages) {
    await connection.send(message);
    const answer = await connection.receive();
    if (answer === null) throw new Error(`closed by the server: ${connection.closeCode} ${connection.closeReason}`);
    console.log(answer.toString());
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main(process.argv.slice(2));
