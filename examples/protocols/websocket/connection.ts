/**
 * A WebSocket connection over a stream, for both sides: messages, pings, and the close handshake.
 *
 * The frames are parsed in a window: everything that has arrived is looked at in place, without a promise for each frame. A large payload
 * that has not arrived completely is read directly into memory of its own.
 */
import { Buffer } from 'node:buffer';
import { IncompleteReadError, type Stream, type WaitOptions } from 'sluice';
import { Sender } from './sender.js';
import { CloseCode, Control, FrameParser, Opcode, WebSocketError, isCloseCode } from './websocket.js';
import type { Message, Role } from './websocket.js';

export interface WebSocketOptions {
  /** The longest message that the peer may send, in bytes. A peer that announces one has memory allocated for it. Default 1 MiB. */
  maxMessage?: number | undefined;
  /** How long {@link WebSocketConnection.close} waits for the peer, in ms. Default 5000. */
  closeTimeout?: number | undefined;
}

const NOTHING: Buffer = Buffer.alloc(0);

export class WebSocketConnection implements AsyncIterable<Message> {
  readonly stream: Stream;
  /** The subprotocol that both sides agreed to, or `''`. */
  readonly protocol: string;
  /** The code in the peer's close frame, 1005 if it has none; 1006 if the connection ended without one; null while it is open. */
  closeCode: number | null = null;
  closeReason = '';

  readonly #role: Role;
  readonly #parser: FrameParser;
  readonly #sender: Sender;
  readonly #closeTimeout: number;
  /** What has arrived: valid until the next read. */
  #window = NOTHING;
  #receiving = false;
  /** Called when the receive that waits is over. */
  #received: (() => void) | null = null;
  readonly #pings: { data: Buffer; resolve: () => void; reject: (error: Error) => void }[] = [];
  #failure: WebSocketError | null = null;
  #closing: Promise<void> | null = null;

  /** @param stream - after the handshake: use `accept` of `server.ts`, or `connectWebSocket` of `client.ts` */
  constructor(stream: Stream, role: Role, protocol = '', options: WebSocketOptions = {}) {
    this.stream = stream;
    this.protocol = protocol;
    this.#role = role;
    this.#parser = new FrameParser(role, options.maxMessage ?? 1024 * 1024);
    this.#sender = new Sender(stream, role);
    this.#closeTimeout = options.closeTimeout ?? 5000;
  }

  /**
   * Resolves with the next message, or with null once the peer has closed the connection. A text is a `string`; a `Buffer` is binary, and
   * yours to keep. Pings are answered while you receive. If the peer breaks the protocol, or the connection is lost, this rejects with a
   * {@link WebSocketError}. A signal or a timeout consumes nothing.
   */
  receive(options?: WaitOptions): Promise<Message | null> {
    try {
      const message = this.#next(true);
      if (message !== undefined) return Promise.resolve(message);
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.#closing !== null) return this.#closing.then(() => null);
    if (this.#receiving) return Promise.reject(new Error('receive: another receive is waiting'));
    return this.#receive(options);
  }

  /** {@link receive} without waiting: undefined if no complete message has arrived. */
  tryReceive(): Message | null | undefined {
    return this.#next(false);
  }

  /** The messages, until the peer closes the connection. Leaving the loop does not close it. */
  [Symbol.asyncIterator](): AsyncIterator<Message, undefined> {
    return { next: () => this.receive().then(toResult) };
  }

  /**
   * Sends a message: a string as text, bytes as binary. Bytes may be sent from your memory, so do not change more than 4000 of them before
   * the result has resolved. Awaiting it applies back-pressure; it need not be awaited. Rejects once a close frame was sent.
   */
  send(message: string | Uint8Array): Promise<void> {
    return this.#sender.message(message);
  }

  /**
   * Sends one message whose length is not known in advance, each part as a fragment. All parts must be strings, or all bytes. If `parts`
   * throws, the connection is closed.
   */
  sendFragments(parts: AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>): Promise<void> {
    return this.#sender.fragments(parts);
  }

  /**
   * Sends a ping of up to 125 bytes. Resolves when the answer arrives, for which you must be receiving. It need not be awaited.
   *
   * @throws RangeError, not as a rejection, if it has more bytes
   */
  ping(data: string | Uint8Array = ''): Promise<void> {
    const bytes = Buffer.from(data);
    if (bytes.length > 125) throw new RangeError(`ping: ${bytes.length} bytes, the maximum is 125`);
    const answered = new Promise<void>((resolve, reject) => {
      this.#pings.push({ data: bytes, resolve, reject });
      this.#sender.frame(Opcode.PING, bytes).catch(reject);
    });
    answered.catch(() => {}); // need not be awaited
    return answered;
  }

  /**
   * Sends a close frame, waits for the peer's, and closes the stream. Messages that arrive in the meantime are dropped. Never rejects; see
   * {@link closeCode}.
   *
   * @throws RangeError if a close frame cannot have this code, or the reason has more than 123 bytes
   */
  close(code: number = CloseCode.NORMAL, reason = ''): Promise<void> {
    if (!isCloseCode(code)) throw new RangeError(`close: invalid code: ${code}`);
    if (Buffer.byteLength(reason) > 123) throw new RangeError('close: the reason has more than 123 bytes');
    return (this.#closing ??= this.#close(code, reason));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @param waits - whether the caller waits for more if this returns undefined */
  #next(waits: boolean): Message | null | undefined {
    if (this.#failure !== null) throw this.#failure;
    if (this.closeCode !== null) return null;
    if (this.#receiving || this.#closing !== null) return undefined;
    try {
      return this.#parse(waits);
    } catch (error) {
      return this.#fail(error);
    }
  }

  /** Waits for a message. Returns null when the connection is closed. */
  async #receive(options?: WaitOptions): Promise<Message | null> {
    const { stream } = this;
    const parser = this.#parser;
    this.#receiving = true;
    try {
      for (;;) {
        const { missing, need } = parser;
        let message: Message | null | undefined;
        if (missing > 0) message = parser.supply(await stream.readexactly(missing, options));
        else this.#window = await stream.window(need, options);
        if (missing === 0 && this.#window.length < need) return this.#ended();
        if (message === undefined || this.#sender.closed) message = this.#parse(true);
        if (message !== undefined) return message;
      }
    } catch (error) {
      return this.#fail(error);
    } finally {
      this.#receiving = false;
      this.#received?.();
    }
  }

  /** Parses what has arrived, up to the end of a message. Returns undefined if more is needed, null when the connection is closed. */
  #parse(waits: boolean): Message | null | undefined {
    const parser = this.#parser;
    const { stream } = this;
    for (;;) {
      let result = parser.next(this.#window);
      if (result === undefined) {
        if (parser.at > 0) stream.consume(parser.at);
        parser.at = 0;
        this.#window = NOTHING;
        if (waits && stream.buffered === 0) return undefined;
        if (parser.missing > 0) {
          const payload = stream.tryReadexactly(parser.missing);
          if (payload === undefined) return undefined;
          result = parser.supply(payload);
        } else {
          const window = stream.tryWindow(parser.need);
          if (window === undefined) return undefined;
          if (window.length < parser.need) return this.#ended();
          this.#window = window;
        }
      } else if (result instanceof Control) {
        this.#control(result);
        if (this.closeCode !== null) return null;
        continue;
      }
      if (result !== undefined && !this.#sender.closed) return result; // what follows our close frame is dropped
    }
  }

  #control(control: Control): void {
    const { opcode, data } = control;
    if (opcode === Opcode.PING) {
      this.#sender.pong(data);
    } else if (opcode === Opcode.PONG) {
      // A pong also answers the pings before the one that it belongs to.
      const last = this.#pings.findLastIndex((ping) => ping.data.equals(data));
      for (const ping of this.#pings.splice(0, last + 1)) ping.resolve();
    } else {
      this.#sender.close(control.closeCode);
      this.#over(control.closeCode, control.closeReason);
    }
  }

  async #close(code: number, reason: string): Promise<void> {
    const { stream } = this;
    const signal = AbortSignal.timeout(this.#closeTimeout);
    try {
      if (this.closeCode === null) this.#sender.close(code, reason);
      if (this.#receiving) await this.#untilReceived(signal);
      while (this.closeCode === null && this.#parse(true) === undefined) await this.#receive({ signal });
      // The server closes the connection first, so that the port that is blocked for a while is not one of the client.
      if (this.#role === 'client') while ((await stream.read(65_536, { signal })).length > 0);
    } catch {
      // The peer took too long, or is gone: closing is all that is left to do.
    }
    this.#over(CloseCode.ABNORMAL);
    await stream.close().catch(() => {});
  }

  #untilReceived(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#received = resolve;
      signal.addEventListener('abort', () => reject(signal.reason as Error));
    });
  }

  /** Ends the connection because of an error of the peer, or of the connection. Throws other errors, such as the reason of a signal. */
  #fail(error: unknown): null {
    if (error instanceof IncompleteReadError || this.stream.exception() !== null) return this.#ended(error);
    if (!(error instanceof WebSocketError) || this.#failure !== null) throw error;
    this.#failure = error;
    this.#sender.close(error.code, error.message);
    this.#over(CloseCode.ABNORMAL);
    throw error;
  }

  /** The connection ended without a close frame. */
  #ended(cause?: unknown): null {
    this.#over(CloseCode.ABNORMAL);
    if (this.#sender.closed) return null;
    this.#failure = new WebSocketError(CloseCode.ABNORMAL, 'the connection ended without a close frame', { cause });
    throw this.#failure;
  }

  /** Nothing more is received. */
  #over(code: number, reason = ''): void {
    if (this.closeCode !== null) return;
    this.closeCode = code;
    this.closeReason = reason;
    const error = new WebSocketError(code, 'the connection was closed');
    for (const ping of this.#pings.splice(0)) ping.reject(error);
    this.#sender.stop(error);
    if (this.#role === 'server' || code === CloseCode.ABNORMAL) void this.stream.close();
    else void this.close(); // also if the program does not, or the connection would keep the process alive
  }
}

function toResult(message: Message | null): IteratorResult<Message, undefined> {
  return message === null ? { done: true, value: undefined } : { done: false, value: message };
}
