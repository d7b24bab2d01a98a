/** Frames of WebSocket for the tests, byte by byte as RFC 6455 describes them and independent of the example: also frames that are not valid. */
import { Buffer } from 'node:buffer';

export interface FrameParts {
  readonly opcode: number;
  readonly payload?: string | Uint8Array;
  /** Default true. */
  readonly fin?: boolean;
  /** The three reserved bits, 0 to 7. */
  readonly rsv?: number;
  /** The key, or null for a frame without a mask. Default: a key, as from a client. */
  readonly key?: Uint8Array | null;
  /** The size of the length field: 0, 2 or 8 bytes after the first seven bits. Default: the shortest. */
  readonly lengthBytes?: 0 | 2 | 8;
  /** The length that the frame announces, if it is not that of the payload. */
  readonly length?: number | bigint;
}

const KEY = Uint8Array.of(0x37, 0xfa, 0x21, 0x3d);

export function frame({ opcode, payload = '', fin = true, rsv = 0, key = KEY, ...rest }: FrameParts): Buffer {
  const data = Buffer.from(payload);
  const length = Number(rest.length ?? data.length);
  const size = rest.lengthBytes ?? (length < 126 ? 0 : length < 65_536 ? 2 : 8);
  const masked = key === null ? 0 : 0x80;
  const head = [(fin ? 0x80 : 0) | (rsv << 4) | opcode, masked | (size === 0 ? length : size === 2 ? 126 : 127)];
  let announced = BigInt(rest.length ?? data.length);
  const field: number[] = [];
  for (let i = 0; i < size; i++, announced >>= 8n) field.unshift(Number(announced & 0xffn));
  if (key === null) return Buffer.concat([Buffer.from([...head, ...field]), data]);
  return Buffer.concat([Buffer.from([...head, ...field, ...key]), data.map((byte, i) => byte ^ key[i % 4]!)]);
}

export const text = (payload: string | Uint8Array, more: Omit<FrameParts, 'opcode'> = {}): Buffer =>
  frame({ opcode: 1, payload, ...more });
export const binary = (payload: string | Uint8Array, more: Omit<FrameParts, 'opcode'> = {}): Buffer =>
  frame({ opcode: 2, payload, ...more });
export const continuation = (payload: string | Uint8Array, more: Omit<FrameParts, 'opcode'> = {}): Buffer =>
  frame({ opcode: 0, payload, ...more });
export const ping = (payload: string | Uint8Array, more: Omit<FrameParts, 'opcode'> = {}): Buffer =>
  frame({ opcode: 9, payload, ...more });
export const pong = (payload: string | Uint8Array, more: Omit<FrameParts, 'opcode'> = {}): Buffer =>
  frame({ opcode: 10, payload, ...more });

/** A close frame; null: without a code. */
export function close(
  code: number | null,
  reason: string | Uint8Array = '',
  more: Omit<FrameParts, 'opcode'> = {},
): Buffer {
  const payload =
    code === null ? Buffer.alloc(0) : Buffer.concat([Buffer.of(code >> 8, code & 0xff), Buffer.from(reason)]);
  return frame({ opcode: 8, payload, ...more });
}

/** Texts that are UTF-8, each with a character whose bytes can be split. */
export const GOOD_TEXTS: readonly Buffer[] = [
  Buffer.from('κόσμε'),
  Buffer.from('\u0080\u07ff\u0800\ud7ff\ue000\uffff\u{10000}\u{10ffff}'),
  Buffer.from([0xef, 0xbb, 0xbf, 0x78]), // a byte order mark, which is part of the text
  Buffer.from('\0'),
];

/** Texts that are not UTF-8, and the position of the first byte that cannot follow those before it. */
export const BAD_TEXTS: readonly (readonly [bytes: Buffer, at: number])[] = [
  [Buffer.from([0x61, 0x80, 0x61]), 1], // a continuation that continues nothing
  [Buffer.from([0x61, 0xc0, 0xaf, 0x61]), 1], // longer than needed
  [Buffer.from([0x61, 0xc1, 0xbf, 0x61]), 1],
  [Buffer.from([0x61, 0xe0, 0x80, 0xaf, 0x61]), 2],
  [Buffer.from([0x61, 0xf0, 0x80, 0x80, 0xaf]), 2],
  [Buffer.from([0x61, 0xed, 0xa0, 0x80, 0x61]), 2], // a surrogate
  [Buffer.from([0x61, 0xf4, 0x90, 0x80, 0x80]), 2], // above U+10FFFF
  [Buffer.from([0x61, 0xf5, 0x80, 0x80, 0x80]), 1],
  [Buffer.from([0x61, 0xff, 0x61]), 1],
  [Buffer.from([0x61, 0xe2, 0x82, 0x61]), 3], // a character that is cut short
  [Buffer.from([0x61, 0xf0, 0x9f, 0x98, 0x61]), 4],
  [Buffer.from([0x61, 0xc3, 0x61]), 2],
];

/** What complete frames contain, in words; throws for anything else. Text in fragments is decoded by fragment. */
export function decoded(bytes: Buffer, masked: boolean): string[] {
  const found: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const [first, second] = [bytes[at]!, bytes[at + 1]!];
    if (second >= 0x80 !== masked) throw new Error(`a frame at ${at} ${masked ? 'is not' : 'is'} masked`);
    let length = second & 0x7f;
    at += 2;
    if (length === 126) [length, at] = [bytes.readUInt16BE(at), at + 2];
    else if (length === 127) [length, at] = [Number(bytes.readBigUInt64BE(at)), at + 8];
    const key = masked ? bytes.subarray(at, (at += 4)) : Buffer.alloc(4);
    const payload = Buffer.from(bytes.subarray(at, at + length)).map((byte, i) => byte ^ key[i % 4]!) as Buffer;
    at += length;
    if (at > bytes.length) throw new Error('the last frame is cut short');
    const name = { 0: 'continuation', 1: 'text', 2: 'binary', 8: 'close', 9: 'ping', 10: 'pong' }[first & 0x0f];
    if (name === undefined || (first & 0x70) !== 0) throw new Error(`a frame begins with ${first}`);
    const words = first < 0x80 ? [`${name}...`] : [name];
    if (name === 'close' && length > 0) words.push(String(payload.readUInt16BE(0)), payload.toString('utf8', 2));
    else words.push(payload.toString((first & 0x0f) === 2 ? 'hex' : 'utf8'));
    found.push(words.filter((word) => word !== '').join(' '));
  }
  return found;
}
