/** What a Postgres server sends, encoded by hand. */
import { Buffer } from 'node:buffer';

export function int16(n: number): Buffer {
  return Buffer.of((n >> 8) & 255, n & 255);
}

export function int32(n: number): Buffer {
  return Buffer.of((n >> 24) & 255, (n >> 16) & 255, (n >> 8) & 255, n & 255);
}

export function message(type: string, ...body: (Uint8Array | string)[]): Buffer {
  const bytes = Buffer.concat(body.map((piece) => Buffer.from(piece as string)));
  return Buffer.concat([Buffer.from(type), int32(bytes.length + 4), bytes]);
}

/** Columns of these types, named a, b, c, ... */
export function columns(...types: number[]): Buffer {
  const described = types.map((type, i) =>
    Buffer.concat([
      Buffer.from(`${String.fromCharCode(97 + i)}\0`),
      ...[int32(0), int16(0), int32(type), int16(-1), int32(-1), int16(0)],
    ]),
  );
  return message('T', int16(types.length), ...described);
}

export function row(...values: (string | null)[]): Buffer {
  const pieces = values.map((value) =>
    value === null ? int32(-1) : Buffer.concat([int32(Buffer.byteLength(value)), Buffer.from(value)]),
  );
  return message('D', int16(values.length), ...pieces);
}

export function complete(command: string): Buffer {
  return message('C', `${command}\0`);
}

export function failure(code: string, text: string, severity = 'ERROR'): Buffer {
  return message('E', `S${severity}\0V${severity}\0C${code}\0M${text}\0\0`);
}

export const READY = message('Z', 'I');

export const WELCOME = Buffer.concat([
  message('R', int32(0)),
  message('S', 'server_version\x0015.0\0'),
  message('K', int32(7), int32(8)),
  READY,
]);

export const [BOOL, INT4, TEXT, FLOAT8] = [16, 23, 25, 701];
