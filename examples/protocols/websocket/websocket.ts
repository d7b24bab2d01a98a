/**
 * The frames of WebSocket (RFC 6455), sans-IO: bytes to messages, and messages to bytes.
 *
 * A message is a `string` (text) or a `Buffer` (binary). The peer may send it in several frames; only whole messages are returned. Extensions,
 * such as compression, are not supported: `handshake.ts` never agrees to one.
 */
import { Buffer, isUtf8 } from 'node:buffer';
import { Assembler } from './fragments.js';
import { mask, randomKey, unmasked } from './mask.js';

export type Message = string | Buffer;

/** Which side of the connection this is: a client masks what it sends, a server does not. */
export type Role = 'client' | 'server';

export const Opcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;

/** Why a connection is closed. 3000 to 4999 are for applications. */
export const CloseCode = {
  NORMAL: 1000,
  GOING_AWAY: 1001,
  PROTOCOL_ERROR: 1002,
  UNSUPPORTED_DATA: 1003,
  /** Never sent: the close frame had no code. */
  NONE: 1005,
  /** Never sent: the connection ended without a close frame. */
  ABNORMAL: 1006,
  INVALID_DATA: 1007,
  POLICY: 1008,
  TOO_BIG: 1009,
  INTERNAL_ERROR: 1011,
} as const;

/** The connection has failed. `code` is the {@link CloseCode} that the peer is sent, or 1006 if it can no longer be sent any. */
export class WebSocketError extends Error {
  override readonly name = 'WebSocketError';
  readonly code: number;

  constructor(code: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A ping, a pong or a close frame. */
export class Control {
  readonly opcode: number;
  readonly data: Buffer;

  constructor(opcode: number, data: Buffer) {
    this.opcode = opcode;
    this.data = data;
  }

  /** The code of a close frame, {@link CloseCode.NONE} if it has none. */
  get closeCode(): number {
    return this.data.length === 0 ? CloseCode.NONE : this.data.readUInt16BE(0);
  }

  get closeReason(): string {
    return this.data.toString('utf8', 2);
  }
}

/** A payload of at least this many bytes that has not arrived yet is read directly into memory of its own, see {@link FrameParser.missing}. */
const LARGE = 16_384;

export class FrameParser {
  /** Where the next frame begins in the bytes that were passed to {@link next}. */
  at = 0;
  /** How many bytes from there are needed to go on. */
  need = 2;
  /**
   * If this is not 0, the header of a large frame has been parsed, and `at` is after it. The next bytes of the connection are this many
   * bytes of payload: pass them to {@link supply}, which changes and keeps them.
   */
  missing = 0;
  readonly #masked: boolean;
  readonly #most: number;
  #message: Assembler | null = null;
  /** Of the frame that is being parsed. */
  #head = 0;
  #key = 0;

  /** @param most - the longest message, in bytes */
  constructor(role: Role, most: number) {
    this.#masked = role === 'server';
    this.#most = most;
  }

  /** Parses up to the end of a message or control frame. Returns undefined if more bytes are needed. */
  next(bytes: Buffer): Message | Control | undefined {
    for (;;) {
      const start = this.at;
      const available = bytes.length - start;
      this.need = 2;
      if (available < 2) return undefined;
      const head = bytes[start]!;
      let length = bytes[start + 1]! & 0x7f;
      this.#check(head, length, bytes[start + 1]! > 0x7f);
      let header = this.#masked ? 6 : 2;
      if (length > 125) header += length === 126 ? 2 : 8;
      this.need = header;
      if (available < header) return undefined;
      if (length > 125) length = longLength(bytes, start + 2, length === 127);
      const total = length + (this.#message === null ? 0 : this.#message.length);
      if (total > this.#most && (head & 8) === 0) {
        throw new WebSocketError(CloseCode.TOO_BIG, `message of at least ${total} bytes, the maximum is ${this.#most}`);
      }
      const payload = start + header;
      const complete = available >= header + length;
      if (!complete && length < LARGE) {
        this.need = header + length;
        return undefined;
      }
      this.#head = head;
      this.#key = this.#masked ? bytes.readInt32BE(payload - 4) : 0;
      if (!complete) {
        this.at = payload;
        this.missing = length;
        return undefined;
      }
      this.at = payload + length;
      const result = this.#frame(unmasked(bytes, payload, length, this.#key));
      if (result !== undefined) return result;
    }
  }

  /** Goes on with the payload that was {@link missing}. Returns undefined if the message is not complete. */
  supply(payload: Buffer): Message | undefined {
    this.missing = 0;
    this.need = 2;
    if (this.#key !== 0) mask(payload, this.#key);
    return this.#frame(payload) as Message | undefined;
  }

  /** Checks the first two bytes of a frame. */
  #check(head: number, length: number, masked: boolean): void {
    const opcode = head & 0x0f;
    if ((head & 0x70) !== 0) throw broken(`reserved bits are set: 0x${head.toString(16)}`);
    if (masked !== this.#masked)
      throw broken(masked ? 'a frame of a server is masked' : 'a frame of a client is not masked');
    if (opcode >= 8) {
      if (opcode > 10) throw broken(`unknown opcode: ${opcode}`);
      if (head < 0x80) throw broken('a control frame is fragmented');
      if (length > 125) throw broken('a control frame of more than 125 bytes');
    } else if (opcode > 2) {
      throw broken(`unknown opcode: ${opcode}`);
    } else if ((opcode === Opcode.CONTINUATION) !== (this.#message !== null)) {
      throw broken(opcode === 0 ? 'a continuation without a message' : 'a new message within a fragmented one');
    }
  }

  #frame(payload: Buffer): Message | Control | undefined {
    const opcode = this.#head & 0x0f;
    const last = this.#head >= 0x80;
    if (opcode >= 8) {
      if (opcode === Opcode.CLOSE) checkClose(payload);
      return new Control(opcode, payload);
    }
    if (last && opcode === Opcode.BINARY) return payload;
    if (last && opcode === Opcode.TEXT) {
      if (!isUtf8(payload)) throw notText();
      return payload.toString();
    }
    if (this.#message === null) this.#message = new Assembler(opcode === Opcode.TEXT, payload);
    else this.#message.add(payload);
    if (!last) {
      if (!this.#message.mayBeText()) throw notText();
      return undefined;
    }
    const message = this.#message.finish();
    this.#message = null;
    if (message === null) throw notText();
    return message;
  }
}

function longLength(bytes: Buffer, at: number, eight: boolean): number {
  const high = eight ? bytes.readUInt32BE(at) : 0;
  if (high >= 0x80000000) throw broken('the highest bit of a length is set');
  const length = eight ? high * 0x100000000 + bytes.readUInt32BE(at + 4) : bytes.readUInt16BE(at);
  if (length < (eight ? 65_536 : 126)) throw broken(`a length of ${length} in ${eight ? 8 : 2} bytes`);
  return length;
}

function checkClose(payload: Buffer): void {
  if (payload.length === 0) return;
  if (payload.length === 1) throw broken('a close frame of one byte');
  const code = payload.readUInt16BE(0);
  if (!isCloseCode(code)) throw broken(`invalid close code: ${code}`);
  if (!isUtf8(payload.subarray(2))) throw notText();
}

/** Whether a close frame may have this code. */
export function isCloseCode(code: number): boolean {
  if (!Number.isInteger(code) || code === 1004 || code === CloseCode.NONE || code === CloseCode.ABNORMAL) return false;
  return (code >= 1000 && code <= 1014) || (code >= 3000 && code <= 4999);
}

/** A payload of more than this many bytes is not copied, unless it has to be masked. */
const COPY_BYTES = 4000;

/**
 * Encodes one frame: as one `Buffer`, or as a header and `data` itself if copying it would be a waste.
 *
 * @param last - whether the message ends with this frame
 */
export function encodeFrame(
  opcode: number,
  data: string | Uint8Array,
  role: Role,
  last = true,
): Buffer | [header: Buffer, data: Uint8Array] {
  const length = typeof data === 'string' ? Buffer.byteLength(data) : data.length;
  const masked = role === 'client';
  const header = (length < 126 ? 2 : length < 65_536 ? 4 : 10) + (masked ? 4 : 0);
  const apart = !masked && typeof data !== 'string' && length > COPY_BYTES;
  const frame = Buffer.allocUnsafe(apart ? header : header + length);
  const bit = masked ? 0x80 : 0;
  frame[0] = last ? opcode | 0x80 : opcode;
  if (length < 126) frame[1] = length | bit;
  else if (length < 65_536) {
    frame[1] = 126 | bit;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 127 | bit;
    frame.writeUInt32BE(Math.floor(length / 0x100000000), 2);
    frame.writeUInt32BE(length >>> 0, 6);
  }
  if (apart) return [frame, data];
  if (typeof data === 'string') frame.write(data, header);
  else frame.set(data, header);
  if (masked) {
    const key = randomKey();
    frame.writeInt32BE(key, header - 4);
    mask(frame, key, header);
  }
  return frame;
}

function broken(message: string): WebSocketError {
  return new WebSocketError(CloseCode.PROTOCOL_ERROR, message);
}

function notText(): WebSocketError {
  return new WebSocketError(CloseCode.INVALID_DATA, 'text that is not UTF-8');
}
