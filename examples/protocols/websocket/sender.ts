/** The sending half of a WebSocket connection: whole messages, messages in fragments, and control frames. */
import { Buffer } from 'node:buffer';
import type { Stream } from 'sluice';
import { CloseCode, Opcode, WebSocketError, encodeFrame, type Role } from './websocket.js';

/** While more bytes than this wait to be sent, only the last ping is answered: a peer that reads no answers must not use up the memory. */
const MOST_UNSENT = 65_536;

export class Sender {
  /** Whether a close frame was sent: nothing may follow it. */
  closed = false;
  /** Ends the wait for a message in fragments. */
  stop: (error: Error) => void = ignore;
  readonly #stream: Stream;
  readonly #role: Role;
  #inFragments = false;
  /** A ping that is answered as soon as the peer reads again. */
  #ping: Buffer | null = null;

  constructor(stream: Stream, role: Role) {
    this.#stream = stream;
    this.#role = role;
  }

  /** Sends a message in one frame. */
  message(message: string | Uint8Array): Promise<void> {
    if (this.#inFragments) return rejected(new Error('a message is being sent in fragments'));
    return this.frame(typeof message === 'string' ? Opcode.TEXT : Opcode.BINARY, message);
  }

  /** Sends a message with a frame for each part. Does not wait for another part when nothing more can be sent. */
  fragments(parts: AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>): Promise<void> {
    if (this.#inFragments) return rejected(new Error('a message is being sent in fragments'));
    this.#inFragments = true;
    return new Promise((resolve, reject) => {
      this.stop = reject;
      this.#parts(parts).then(resolve, reject);
    });
  }

  async #parts(parts: AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>): Promise<void> {
    try {
      let opcode: number = Opcode.BINARY;
      let held: string | Uint8Array | null = null; // the last part is marked as such, so each part waits for the next one
      for await (const part of parts) {
        if (held === null) opcode = typeof part === 'string' ? Opcode.TEXT : Opcode.BINARY;
        else {
          if (typeof part !== typeof held) throw new TypeError('text and bytes in one message');
          await this.frame(opcode, held, false);
          opcode = Opcode.CONTINUATION;
        }
        held = part;
      }
      await this.frame(opcode, held ?? '');
    } catch (error) {
      this.stop = ignore;
      this.close(CloseCode.INTERNAL_ERROR, 'a message was not completed');
      throw error;
    } finally {
      this.#inFragments = false;
    }
  }

  /** Answers a ping. */
  pong(data: Buffer): void {
    const waits = this.#ping !== null;
    if (!waits && this.#stream.writeBufferSize <= MOST_UNSENT) return void this.frame(Opcode.PONG, data);
    this.#ping = data;
    if (!waits) this.#stream.drain().then(() => this.#answer(), ignore);
  }

  #answer(): void {
    if (this.#ping !== null) void this.frame(Opcode.PONG, this.#ping);
    this.#ping = null;
  }

  /** Sends a close frame, unless one was sent. Code 1005 stands for a close frame without a code. */
  close(code: number, reason = ''): void {
    const data = Buffer.alloc(code === CloseCode.NONE ? 0 : 2 + Buffer.byteLength(reason));
    if (data.length > 0) {
      data.writeUInt16BE(code);
      data.write(reason, 2);
    }
    this.#answer();
    void this.frame(Opcode.CLOSE, data);
    this.closed = true;
    this.stop(closing());
  }

  /** Sends a frame. The result need not be awaited. */
  frame(opcode: number, data: string | Uint8Array, last = true): Promise<void> {
    if (this.closed) return rejected(closing());
    const frame = encodeFrame(opcode, data, this.#role, last);
    return Array.isArray(frame) ? this.#stream.writelines(frame) : this.#stream.write(frame);
  }
}

function closing(): WebSocketError {
  return new WebSocketError(CloseCode.NORMAL, 'the connection is closing');
}

/** As with a write, not awaiting it causes no unhandled rejection. */
function rejected(error: Error): Promise<void> {
  const result = Promise.reject(error);
  result.catch(ignore);
  return result;
}

function ignore(): void {}
