/**
 * A client for Redis and its relatives: pipelining, subscriptions, and a new connection when one is lost.
 *
 *     node out/examples/protocols/resp/client.js HOST PORT COMMAND [ARGUMENT ...]
 *
 * ```ts
 * await using redis = await RespClient.connect('127.0.0.1', 6379);
 * const replies = await Promise.all([redis.call('SET', 'key', 'value'), redis.call('GET', 'key')]);
 * await redis.subscribe('news', (message) => console.log(message));
 * ```
 *
 * Calls in the same turn of the event loop are sent together, and no call waits for the reply to another one. RESP 3 is used if the server
 * has it, otherwise RESP 2.
 *
 * When the connection is lost, calls whose reply is missing reject, because nobody knows whether the server has executed them. Later calls
 * wait for the next connection, which also renews the subscriptions.
 *
 * What it leaves out: transactions, patterns of channels, scripts, clusters, and a call for each command.
 */
import { pathToFileURL } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, TimeoutError, type ConnectOptions, type Stream } from 'sluice';
import { Output } from './output.js';
import { type Reply, ReplyError, ReplyParser } from './replies.js';
import { ProtocolError } from './resp.js';

/** What is collected before it is sent, even if the turn has not ended. */
const MOST_AT_ONCE = 32 * 1024;
const LONGEST_PAUSE = 2000;
/** So many answered calls are kept in the list of calls before they are removed together. */
const SPARE = 4096;

export type Argument = string | number | Uint8Array;
export type Listener = (message: string | Buffer, channel: string) => void | PromiseLike<void>;

export interface ClientOptions {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** 2 to use RESP 2 with any server. Default 3. */
  readonly protocol?: 2 | 3 | undefined;
  /** Whether strings in replies and messages are `Buffer`s. Default false. */
  readonly buffers?: boolean | undefined;
  /** Receives the pushes of RESP 3 that are neither messages nor subscriptions, such as `invalidate`. */
  readonly onPush?: ((push: Reply[]) => void | PromiseLike<void>) | undefined;
  /** Receives what a listener or `onPush` throws or rejects with. The connection goes on. Default `console.error`. */
  readonly onError?: ((error: unknown) => void | PromiseLike<void>) | undefined;
  /** How often connecting is tried again when a connection is lost, before {@link RespClient.closed} rejects. Default 10. */
  readonly retries?: number | undefined;
  /** The pause before connecting again in ms, which doubles with each failure, up to two seconds. Default 50. */
  readonly pause?: number | undefined;
  /** How long connecting may take, and the server's greeting after it, in ms each. Default 10 000. */
  readonly timeout?: number | undefined;
  /** Options of the connection, such as `ssl`. */
  readonly connection?: ConnectOptions | undefined;
}

/** A command that was sent and whose reply has not arrived. */
interface Call {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
  /** Whether the reply is a push if the server speaks RESP 3. */
  readonly pushed: boolean;
}

/** The connection was lost or closed before the reply arrived: the server may have executed the command or not. */
export class ConnectionLostError extends Error {
  override readonly name = 'ConnectionLostError';
}

export class RespClient {
  readonly #host: string;
  readonly #port: number;
  readonly #options: ClientOptions;
  readonly #output = new Output();
  /** The calls that were sent, in the order of their replies; those before `#next` have theirs. */
  #calls: Call[] = [];
  #next = 0;
  /** The calls that wait for a connection. */
  readonly #postponed: (() => void)[] = [];
  readonly #listeners = new Map<string, Listener>();
  /** The connection, and whether it has been greeted, so that calls may be sent. */
  #stream: Stream | null = null;
  #ready = false;
  #reading: Promise<void> = Promise.resolve();
  #protocol: 2 | 3 = 2;
  #scheduled = false;
  readonly #closing = new AbortController();
  #closed!: Promise<void>;

  private constructor(host: string, port: number, options: ClientOptions) {
    this.#host = host;
    this.#port = port;
    this.#options = options;
  }

  /** Connects. Rejects if there is no connection, or the password is wrong; this is not tried again. */
  static async connect(host: string, port: number, options: ClientOptions = {}): Promise<RespClient> {
    const client = new RespClient(host, port, options);
    await client.#open();
    client.#closed = client.#keepOpen();
    client.#closed.catch(() => {});
    return client;
  }

  /** The version of RESP that the server speaks. */
  get protocol(): 2 | 3 {
    return this.#protocol;
  }

  /** Resolves when the client is closed, and rejects when the connection is lost and all retries have failed. */
  get closed(): Promise<void> {
    return this.#closed;
  }

  /** Calls a command. Rejects with a {@link ReplyError} if the server replies with an error. */
  call(...words: readonly [string, ...Argument[]]): Promise<Reply> {
    return this.#call(words, false);
  }

  /** Calls `listener` with each message of a channel. In RESP 2, a subscribed connection has no other calls. */
  async subscribe(channel: string, listener: Listener): Promise<void> {
    const subscribed = this.#listeners.has(channel);
    this.#listeners.set(channel, listener);
    if (subscribed) return;
    try {
      await this.#call(['SUBSCRIBE', channel], true);
    } catch (error) {
      this.#listeners.delete(channel);
      throw error;
    }
  }

  async unsubscribe(channel: string): Promise<void> {
    if (this.#listeners.has(channel)) await this.#call(['UNSUBSCRIBE', channel], true);
    this.#listeners.delete(channel);
  }

  /** Waits for the replies to all calls, and closes the connection. */
  async close(): Promise<void> {
    if (this.#ready && this.#next < this.#calls.length) await this.call('PING').catch(() => {});
    this.#closing.abort();
    await this.#stream?.close();
    await this.#closed.catch(() => {});
  }

  /** The same as {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #call(words: readonly [string, ...Argument[]], pushed: boolean): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.#closing.signal.aborted) reject(new ConnectionLostError(`${words[0]}: the client is closed`));
      else if (this.#ready) this.#send(words, { resolve, reject, pushed });
      else this.#postponed.push(() => this.#send(words, { resolve, reject, pushed }));
    });
  }

  #send(words: readonly Argument[], call: Call): void {
    if (this.#stream === null) {
      call.reject(new ConnectionLostError(`${String(words[0])}: no connection`));
      return;
    }
    const output = this.#output;
    const before = output.begin();
    try {
      output.line('*', words.length);
      for (const word of words) output.bulk(typeof word === 'number' ? String(word) : word);
    } catch (error) {
      output.truncate(before);
      call.reject(error as Error);
      return;
    }
    this.#calls.push(call);
    if (output.length > MOST_AT_ONCE) void output.send(this.#stream);
    else if (!this.#scheduled) {
      this.#scheduled = true;
      process.nextTick(this.#flush);
    }
  }

  readonly #flush = (): void => {
    this.#scheduled = false;
    if (this.#output.length > 0 && this.#stream !== null) void this.#output.send(this.#stream);
  };

  /** Replaces lost connections until the client is closed. */
  async #keepOpen(): Promise<void> {
    const { retries = 10, pause = 50 } = this.#options;
    const { signal } = this.#closing;
    for (let failures = 0; ;) {
      await this.#reading;
      if (signal.aborted) break;
      try {
        // Also before the first attempt: a server may accept every connection, and close it at once.
        await sleep(Math.min(pause * 2 ** failures, Math.max(pause, LONGEST_PAUSE)), undefined, { signal });
        await this.#open();
        failures = 0;
      } catch (error) {
        if (signal.aborted) break;
        if (++failures <= retries) continue;
        this.#closing.abort();
        this.#postponed.splice(0).forEach((send) => send());
        throw error;
      }
    }
    this.#postponed.splice(0).forEach((send) => send());
  }

  /** Connects, agrees on a protocol, renews the subscriptions, and sends what was called in the meantime. */
  async #open(): Promise<void> {
    const { timeout = 10_000, connection } = this.#options;
    const stream = await connect(this.#host, this.#port, { timeout, ...connection, signal: this.#closing.signal });
    this.#stream = stream;
    this.#reading = this.#read(stream);
    let silence: Error | undefined;
    const timer = setTimeout(() => {
      silence = new TimeoutError(`the server has not answered the greeting within ${timeout} ms`);
      void stream.abort();
    }, timeout);
    try {
      await this.#greet();
    } catch (error) {
      await stream.abort();
      await this.#reading;
      throw silence ?? error;
    } finally {
      clearTimeout(timer);
    }
    this.#ready = true;
    for (const channel of this.#listeners.keys()) this.#call(['SUBSCRIBE', channel], true).catch(() => {});
    this.#postponed.splice(0).forEach((send) => send());
  }

  async #greet(): Promise<void> {
    const { username = 'default', password, protocol = 3 } = this.#options;
    const ask = (...words: string[]): Promise<Reply> =>
      new Promise((resolve, reject) => this.#send(words, { resolve, reject, pushed: false }));
    this.#protocol = 2;
    if (protocol === 3) {
      try {
        await ask('HELLO', '3', ...(password === undefined ? [] : ['AUTH', username, password]));
        this.#protocol = 3;
        return;
      } catch (error) {
        if (!(error instanceof ReplyError) || !/^(NOPROTO|ERR unknown command)/.test(error.message)) throw error;
      }
    }
    if (password !== undefined) await ask('AUTH', ...(username === 'default' ? [] : [username]), password);
  }

  /** Reads until the connection has ended, and then rejects the calls whose reply is missing. */
  async #read(stream: Stream): Promise<void> {
    const parser = new ReplyParser(this.#onReply, this.#onPush, this.#options);
    let cause: unknown;
    try {
      for (;;) {
        const bytes = stream.tryWindow(parser.need) ?? (await stream.window(parser.need));
        if (bytes.length < parser.need) break;
        stream.consume(parser.parse(bytes));
      }
    } catch (error) {
      cause = error;
    }
    await stream.abort();
    this.#stream = null;
    this.#ready = false;
    this.#output.clear();
    const lost = this.#calls.slice(this.#next);
    this.#calls = [];
    this.#next = 0;
    const message = `the connection to ${this.#host}:${this.#port} was lost before the reply`;
    for (const { reject } of lost) reject(new ConnectionLostError(message, { cause }));
  }

  readonly #onReply = (reply: Reply): void => {
    if (this.#protocol === 2 && Array.isArray(reply) && this.#listeners.size > 0 && name(reply) === 'message') {
      this.#deliver(reply);
      return;
    }
    const call = this.#shift();
    if (reply instanceof ReplyError) call.reject(reply);
    else call.resolve(reply);
  };

  readonly #onPush = (push: Reply[]): void => {
    const kind = name(push);
    if (kind === 'message') this.#deliver(push);
    else if (kind.endsWith('subscribe') && this.#calls[this.#next]?.pushed) this.#shift().resolve(push);
    else this.#notify(() => this.#options.onPush?.(push));
  };

  #shift(): Call {
    const call = this.#calls[this.#next++];
    if (call === undefined) throw new ProtocolError('a reply without a request');
    if (this.#next === this.#calls.length) {
      this.#calls = [];
      this.#next = 0;
    } else if (this.#next === SPARE) {
      this.#calls.splice(0, SPARE);
      this.#next = 0;
    }
    return call;
  }

  #deliver([, channel = null, message]: Reply[]): void {
    const from = name([channel]);
    this.#notify(() => this.#listeners.get(from)?.(message as string | Buffer, from));
  }

  /** Calls a function of the program. An error of it is not one of the connection. */
  #notify(call: () => void | PromiseLike<void>): void {
    try {
      const result = call();
      if (result !== undefined) Promise.resolve(result).catch(this.#report);
    } catch (error) {
      void this.#report(error);
    }
  }

  readonly #report = async (error: unknown): Promise<void> => {
    const { onError = console.error }: ClientOptions = this.#options;
    try {
      await onError(error);
    } catch (failure) {
      console.error(failure, error);
    }
  };
}

/** What a push is about. */
function name([first]: readonly Reply[]): string {
  return typeof first === 'string' || Buffer.isBuffer(first) ? first.toString() : '';
}

async function main(host: string, port: string, ...words: string[]): Promise<void> {
  await using redis = await RespClient.connect(host, Number(port));
  console.log(await redis.call(...(words as [string, ...string[]])));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  await main(...(process.argv.slice(2) as [string, string, ...string[]]));
