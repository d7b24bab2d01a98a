/**
 * A server for the protocol of Redis: strings, lists, counters, and publish and subscribe, in RESP 2 and RESP 3.
 *
 *     node out/examples/protocols/resp/server.js [PORT [HOST]]
 *
 * `redis-cli`, `redis-benchmark` and the client libraries of Redis work with it. Everything is kept in memory and lost at the end.
 *
 * Requests are parsed and executed in the window of the stream, and the replies to all requests that have arrived are one write.
 *
 * What it leaves out: expiry, other types, databases, transactions, patterns of channels, passwords, and persistence. Counters and
 * indexes are integers up to 2 ** 53, not 2 ** 63.
 */
import { pathToFileURL } from 'node:url';
import { type ClientHandler, type Stream, StreamServer, type StreamServerOptions } from 'sluice';
import { CommandError, Commands } from './commands.js';
import { Output } from './output.js';
import { RequestParser } from './requests.js';
import { ProtocolError } from './resp.js';
import { Store } from './store.js';

/** What is sent before the server looks again whether the client reads, and before it serves other clients. */
const MOST_AT_ONCE = 256 * 1024;

/** A subscriber that does not read is cut off when this much waits for it. The longest reply and what precedes it are less. */
const MAX_WRITE_BUFFER = 128 * 1024 * 1024;

/** What a client of RESP 2 may call while it is subscribed: it could not tell other replies from messages. */
const WHILE_SUBSCRIBED = new Set(['SUBSCRIBE', 'UNSUBSCRIBE', 'PING', 'QUIT']);

/** A connection. */
class Client {
  readonly stream: Stream;
  readonly id: number;
  readonly channels = new Set<string>();
  protocol: 2 | 3 = 2;
  quit = false;

  constructor(stream: Stream, id: number) {
    this.stream = stream;
    this.id = id;
  }

  get onlyMessages(): boolean {
    return this.protocol === 2 && this.channels.size > 0;
  }
}

/** The handler of a `StreamServer`, and the data that it serves. */
export class RespServer {
  readonly #commands = new Commands<Client>(checkSubscribed);
  readonly #channels = new Map<string, Set<Client>>();
  /** Shared by all connections: it is empty whenever the server waits. */
  readonly #output = new Output();
  #ids = 0;

  constructor() {
    new Store().addTo(this.#commands);
    this.#addCommands(this.#commands);
  }

  readonly handler: ClientHandler = async (stream) => {
    const client = new Client(stream, ++this.#ids);
    try {
      await this.#serve(client);
    } finally {
      for (const channel of client.channels) this.#leave(client, channel);
    }
  };

  async #serve(client: Client): Promise<void> {
    const { stream } = client;
    const request = new RequestParser();
    while (!client.quit) {
      const bytes = stream.tryWindow(request.need) ?? (await stream.window(request.need));
      if (bytes.length < request.need) return; // EOF
      stream.consume(this.#execute(bytes, request, client));
      if (this.#output.length === 0) continue;
      void this.#output.send(stream);
      // While the client does not read, nothing is read from it.
      if (stream.writeBufferSize > 0) await stream.drain();
    }
  }

  /** Executes the requests in `bytes` and returns how many bytes to consume. Nothing in it waits. */
  #execute(bytes: Buffer, request: RequestParser, client: Client): number {
    const output = this.#output;
    let end = 0;
    try {
      while (!client.quit && output.length < MOST_AT_ONCE) {
        const next = request.next(bytes, end);
        if (next === -1) break;
        end = next;
        if (request.count > 0) this.#commands.execute(request, output, client);
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) {
        output.clear();
        throw error;
      }
      output.simple('-', `ERR Protocol error: ${error.message}`);
      client.quit = true;
    }
    return end;
  }

  #addCommands(commands: Commands<Client>): void {
    commands.add('PING', 1, 2, (request, output, client) => {
      const subscribed = client.onlyMessages;
      if (subscribed) output.latin1('*2\r\n$4\r\npong\r\n');
      if (request.count === 2) output.borrowed(request.bytes, request.encoded(1), request.end(1) + 2);
      else output.latin1(subscribed ? '$0\r\n\r\n' : '+PONG\r\n');
    });
    commands.add('ECHO', 2, 2, (request, output) =>
      output.borrowed(request.bytes, request.encoded(1), request.end(1) + 2),
    );
    commands.add('HELLO', 1, Infinity, (request, output, client) => this.#hello(request, output, client));
    commands.add('QUIT', 1, Infinity, (_request, output, client) => {
      client.quit = true;
      output.latin1('+OK\r\n');
    });
    commands.add('SELECT', 2, 2, (request, output) => {
      if (request.text(1) !== '0') throw new CommandError('ERR DB index is out of range');
      output.latin1('+OK\r\n');
    });
    commands.add('CLIENT', 2, Infinity, (request, output, client) => {
      const subcommand = request.text(1).toUpperCase();
      if (subcommand === 'ID') output.line(':', client.id);
      else if (subcommand.startsWith('SET')) output.latin1('+OK\r\n');
      else throw new CommandError('ERR unknown subcommand');
    });
    // What redis-cli and redis-benchmark ask first; they accept empty answers.
    commands.add('COMMAND', 1, Infinity, (_request, output) => output.latin1('*0\r\n'));
    commands.add('INFO', 1, Infinity, (_request, output) => output.bulk('redis_version:7.0.0\r\nloading:0\r\n'));
    commands.add('CONFIG', 3, 3, (request, output, { protocol }) => {
      output.line(protocol === 3 ? '%' : '*', protocol === 3 ? 1 : 2);
      output.borrowed(request.bytes, request.encoded(2), request.end(2) + 2);
      output.bulk('');
    });
    commands.add('SUBSCRIBE', 2, Infinity, (request, output, client) => {
      for (let i = 1; i < request.count; i++) this.#join(client, request.text(i, 'latin1'), output);
    });
    commands.add('UNSUBSCRIBE', 1, Infinity, (request, output, client) => {
      const named = Array.from({ length: request.count - 1 }, (_, i) => request.text(i + 1, 'latin1'));
      const channels = named.length > 0 ? named : [...client.channels];
      if (channels.length === 0) confirm(output, client, 'unsubscribe', null);
      for (const channel of channels) {
        this.#leave(client, channel);
        confirm(output, client, 'unsubscribe', channel);
      }
    });
    commands.add('PUBLISH', 3, 3, (request, output, client) => this.#publish(request, output, client));
  }

  #hello(request: RequestParser, output: Output, client: Client): void {
    const wanted = request.count > 1 ? request.text(1) : String(client.protocol);
    if (wanted !== '2' && wanted !== '3') throw new CommandError('NOPROTO unsupported protocol version');
    client.protocol = wanted === '3' ? 3 : 2;
    output.line(client.protocol === 3 ? '%' : '*', client.protocol === 3 ? 3 : 6);
    for (const text of ['server', 'redis', 'version', '7.0.0', 'proto']) output.bulk(text);
    output.line(':', client.protocol);
  }

  #join(client: Client, channel: string, output: Output): void {
    client.channels.add(channel);
    const subscribers = this.#channels.get(channel) ?? new Set();
    this.#channels.set(channel, subscribers.add(client));
    confirm(output, client, 'subscribe', channel);
  }

  #leave(client: Client, channel: string): void {
    client.channels.delete(channel);
    const subscribers = this.#channels.get(channel);
    subscribers?.delete(client);
    if (subscribers?.size === 0) this.#channels.delete(channel);
  }

  #publish(request: RequestParser, output: Output, client: Client): void {
    const subscribers = this.#channels.get(request.text(1, 'latin1')) ?? [];
    const message = request.bytes.subarray(request.encoded(1), request.end(2) + 2);
    const frames = { 2: frame('*', message), 3: frame('>', message) };
    let receivers = 0;
    for (const subscriber of subscribers) {
      receivers++;
      // Nothing is awaited: a subscriber that does not read is cut off when its buffer is full, and the others do not notice.
      if (subscriber === client) output.bytes(frames[client.protocol]);
      else void subscriber.stream.write(frames[subscriber.protocol]);
    }
    output.line(':', receivers);
  }
}

function checkSubscribed(name: string, client: Client): void {
  if (!client.onlyMessages || WHILE_SUBSCRIBED.has(name)) return;
  const allowed = 'only (UN)SUBSCRIBE, PING and QUIT are allowed in this context';
  throw new CommandError(`ERR Can't execute '${name.toLowerCase()}': ${allowed}`);
}

/** A message that is published, as RESP 2 (`*`) or RESP 3 (`>`) has it; `message` is its channel and its content. */
function frame(type: '*' | '>', message: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${type}3\r\n$7\r\nmessage\r\n`), message]);
}

function confirm(output: Output, client: Client, what: string, channel: string | null): void {
  output.line(client.protocol === 3 ? '>' : '*', 3);
  output.bulk(what);
  if (channel === null) output.latin1(client.protocol === 3 ? '_\r\n' : '$-1\r\n');
  else output.bulk(Buffer.from(channel, 'latin1'));
  output.line(':', client.channels.size);
}

/** A server that listens; `options` are those of a `StreamServer`. */
export function respServer(host: string, port: number, options: StreamServerOptions = {}): StreamServer {
  return new StreamServer(new RespServer().handler, host, port, {
    maxWriteBuffer: MAX_WRITE_BUFFER,
    maxConnections: 10_000,
    readTimeout: 60_000, // of a request, from its first byte on: clients and subscribers may be idle
    writeTimeout: 30_000,
    ...options,
  });
}

async function main(port = '6379', host = '127.0.0.1'): Promise<void> {
  await using server = respServer(host, Number(port));
  await server.startServing();
  for (const socket of server.sockets) {
    const { address, port } = socket.address() as { address: string; port: number };
    console.log(`Serving on ${address}:${port}`);
  }
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort());
  try {
    await server.serveForever({ signal: stop.signal, drain: 5000 });
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    console.log('Stopped');
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main(...process.argv.slice(2));
