/**
 * One connection to a server of RESP: its greeting, its calls, whose replies arrive in their order, and what the server sends unasked.
 *
 * Calls in the same turn of the event loop are sent together, and no call waits for the reply to another one. RESP 3 is used if the server
 * has it, otherwise RESP 2. When the connection is lost, calls whose reply is missing reject, because nobody knows whether the server has
 * executed them.
 */
import { connect, TimeoutError, type ConnectOptions, type Stream } from 'sluice';
import { Output } from './output.js';
import { type Reply, ReplyError, ReplyParser } from './replies.js';
import { ProtocolError } from './resp.js';

/** What is collected before it is sent, even if the turn has not ended. */
const MOST_AT_ONCE = 32 * 1024;
/** So many answered calls are kept in the list of calls before they are removed together. */
const SPARE = 4096;

export type Argument = string | number | Uint8Array;

export interface ConnectionOptions {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** 2 to use RESP 2 with any server. Default 3. */
  readonly protocol?: 2 | 3 | undefined;
  /** Whether strings in replies and messages are `Buffer`s. Default false. */
  readonly buffers?: boolean | undefined;
  /** How long connecting may take, and the server's greeting after it, in ms each. Default 10 000. */
  readonly timeout?: number | undefined;
  /** Options of the connection, such as `ssl`. */
  readonly connection?: ConnectOptions | undefined;
}

/** Receives what the server sends unasked. Its methods must not throw. */
export interface Receiver {
  /** Whether there are subscriptions: in RESP 2 messages are arrays like any reply. */
  readonly subscribed: boolean;
  /** Receives a message of a channel. */
  message(message: Reply[]): void;
  /** Receives any other push of RESP 3. */
  push(push: Reply[]): void;
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

export class RespConnection {
  /** Resolves when the connection has ended in any way, and the calls whose reply is missing have been rejected. */
  readonly ended: Promise<void>;
  readonly #stream: Stream;
  readonly #peer: string;
  readonly #receiver: Receiver;
  readonly #output = new Output();
  /** The calls that were sent, in the order of their replies; those before `#next` have theirs. */
  #calls: Call[] = [];
  #next = 0;
  #protocol: 2 | 3 = 2;
  #scheduled = false;
  #open = true;

  private constructor(stream: Stream, peer: string, receiver: Receiver, options: ConnectionOptions) {
    this.#stream = stream;
    this.#peer = peer;
    this.#receiver = receiver;
    this.ended = this.#read(options);
  }

  /**
   * Connects, and agrees on a protocol. Rejects if there is no connection, or the password is wrong.
   *
   * @param signal - gives up
   */
  static async open(
    host: string,
    port: number,
    receiver: Receiver,
    options: ConnectionOptions,
    signal: AbortSignal,
  ): Promise<RespConnection> {
    const { timeout = 10_000 } = options;
    const stream = await connect(host, port, { timeout, ...options.connection, signal });
    const connection = new RespConnection(stream, `${host}:${port}`, receiver, options);
    let silence: Error | undefined;
    const giveUp = (): void => void stream.abort();
    const timer = setTimeout(() => {
      silence = new TimeoutError(`the server has not answered the greeting within ${timeout} ms`);
      giveUp();
    }, timeout);
    signal.addEventListener('abort', giveUp);
    try {
      await connection.#greet(options);
    } catch (error) {
      await connection.abort();
      throw silence ?? error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
    }
    return connection;
  }

  /** The version of RESP that the server speaks. */
  get protocol(): 2 | 3 {
    return this.#protocol;
  }

  /** Whether calls can be sent. */
  get isOpen(): boolean {
    return this.#open;
  }

  /**
   * Calls a command. Rejects with a {@link ReplyError} if the server replies with an error.
   *
   * @param pushed - whether the reply is a push if the server speaks RESP 3
   */
  call(words: readonly Argument[], pushed: boolean): Promise<Reply> {
    return new Promise((resolve, reject) => this.#send(words, { resolve, reject, pushed }));
  }

  /** Resolves when all calls so far have their replies, or the connection has ended. */
  async settled(): Promise<void> {
    if (this.#open && this.#next < this.#calls.length) await this.call(['PING'], false).catch(() => {});
  }

  async close(): Promise<void> {
    await this.#stream.close();
    await this.ended;
  }

  /** Closes the connection without waiting for anything. */
  async abort(): Promise<void> {
    await this.#stream.abort();
    await this.ended;
  }

  #send(words: readonly Argument[], call: Call): void {
    if (!this.#open) {
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
    if (this.#output.length > 0) void this.#output.send(this.#stream);
  };

  async #greet({ username = 'default', password, protocol = 3 }: ConnectionOptions): Promise<void> {
    if (protocol === 3) {
      try {
        await this.call(['HELLO', '3', ...(password === undefined ? [] : ['AUTH', username, password])], false);
        this.#protocol = 3;
        return;
      } catch (error) {
        if (!(error instanceof ReplyError) || !/^(NOPROTO|ERR unknown command)/.test(error.message)) throw error;
      }
    }
    if (password === undefined) return;
    await this.call(['AUTH', ...(username === 'default' ? [] : [username]), password], false);
  }

  /** Reads until the connection has ended, and then rejects the calls whose reply is missing. */
  async #read(options: ConnectionOptions): Promise<void> {
    const stream = this.#stream;
    const parser = new ReplyParser(this.#onReply, this.#onPush, options);
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
    this.#open = false;
    this.#output.clear();
    const lost = this.#calls.slice(this.#next);
    this.#calls = [];
    this.#next = 0;
    const message = `the connection to ${this.#peer} was lost before the reply`;
    for (const { reject } of lost) reject(new ConnectionLostError(message, { cause }));
  }

  readonly #onReply = (reply: Reply): void => {
    if (this.#protocol === 2 && Array.isArray(reply) && this.#receiver.subscribed && nameOf(reply) === 'message') {
      this.#receiver.message(reply);
      return;
    }
    const call = this.#shift();
    if (reply instanceof ReplyError) call.reject(reply);
    else call.resolve(reply);
  };

  readonly #onPush = (push: Reply[]): void => {
    const kind = nameOf(push);
    if (kind === 'message') this.#receiver.message(push);
    else if (kind.endsWith('subscribe') && this.#calls[this.#next]?.pushed) this.#shift().resolve(push);
    else this.#receiver.push(push);
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
}

/** The name that a push begins with, such as that of its kind. */
export function nameOf([first]: readonly Reply[]): string {
  return typeof first === 'string' || Buffer.isBuffer(first) ? first.toString() : '';
}
