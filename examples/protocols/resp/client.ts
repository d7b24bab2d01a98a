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
 * Calls whose reply is missing when the connection is lost reject: see `connection.ts`. Later calls wait for the next connection, which also
 * renews the subscriptions.
 *
 * What it leaves out: transactions, patterns of channels, scripts, clusters, and a call for each command.
 */
import { pathToFileURL } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  ConnectionLostError,
  nameOf,
  RespConnection,
  type Argument,
  type ConnectionOptions,
  type Receiver,
} from './connection.js';
import type { Reply } from './replies.js';

export { ConnectionLostError };

const LONGEST_PAUSE = 2000;

export type Listener = (message: string | Buffer, channel: string) => void | PromiseLike<void>;

export interface ClientOptions extends ConnectionOptions {
  /** Receives the pushes of RESP 3 that are neither messages nor subscriptions, such as `invalidate`. */
  readonly onPush?: ((push: Reply[]) => void | PromiseLike<void>) | undefined;
  /** Receives what a listener or `onPush` throws or rejects with. The connection goes on. Default `console.error`. */
  readonly onError?: ((error: unknown) => void | PromiseLike<void>) | undefined;
  /** How often connecting is tried again when a connection is lost, before {@link RespClient.closed} rejects. Default 10. */
  readonly retries?: number | undefined;
  /** The pause before connecting again in ms, which doubles with each failure, up to two seconds. Default 50. */
  readonly pause?: number | undefined;
}

export class RespClient {
  readonly #host: string;
  readonly #port: number;
  readonly #options: ClientOptions;
  /** The calls that wait for a connection. */
  readonly #postponed: (() => void)[] = [];
  readonly #listeners = new Map<string, Listener>();
  readonly #receiver: Receiver;
  /** The newest connection that has been greeted; it may be lost. */
  #connection!: RespConnection;
  readonly #closing = new AbortController();
  #closed!: Promise<void>;

  private constructor(host: string, port: number, options: ClientOptions) {
    this.#host = host;
    this.#port = port;
    this.#options = options;
    const listeners = this.#listeners;
    this.#receiver = {
      get subscribed() {
        return listeners.size > 0;
      },
      message: ([, channel = null, message]) => {
        const from = nameOf([channel]);
        this.#notify(() => listeners.get(from)?.(message as string | Buffer, from));
      },
      push: (push) => this.#notify(() => options.onPush?.(push)),
    };
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
    return this.#connection.protocol;
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
    await this.#connection.settled();
    this.#closing.abort();
    await this.#connection.close();
    await this.#closed.catch(() => {});
  }

  /** The same as {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #call(words: readonly [string, ...Argument[]], pushed: boolean): Promise<Reply> {
    if (this.#closing.signal.aborted) {
      return Promise.reject(new ConnectionLostError(`${words[0]}: the client is closed`));
    }
    if (this.#connection.isOpen) return this.#connection.call(words, pushed);
    return new Promise((resolve) => {
      this.#postponed.push(() => resolve(this.#connection.call(words, pushed)));
    });
  }

  /** Replaces lost connections until the client is closed. */
  async #keepOpen(): Promise<void> {
    const { retries = 10, pause = 50 } = this.#options;
    const { signal } = this.#closing;
    for (let failures = 0; ;) {
      await this.#connection.ended;
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
        this.#sendPostponed();
        throw error;
      }
    }
    this.#sendPostponed();
  }

  /** Connects, renews the subscriptions, and sends what was called in the meantime. */
  async #open(): Promise<void> {
    const { signal } = this.#closing;
    const connection = await RespConnection.open(this.#host, this.#port, this.#receiver, this.#options, signal);
    // The client may have been closed since the server has answered the greeting.
    if (signal.aborted) await connection.abort();
    this.#connection = connection;
    for (const channel of this.#listeners.keys()) connection.call(['SUBSCRIBE', channel], true).catch(() => {});
    this.#sendPostponed();
  }

  /** Those for which there is no connection reject. */
  #sendPostponed(): void {
    for (const send of this.#postponed.splice(0)) send();
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

async function main(host: string, port: string, ...words: string[]): Promise<void> {
  await using redis = await RespClient.connect(host, Number(port));
  console.log(await redis.call(...(words as [string, ...string[]])));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  await main(...(process.argv.slice(2) as [string, string, ...string[]]));
