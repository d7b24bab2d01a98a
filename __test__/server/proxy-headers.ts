/** Headers of the PROXY protocol, made by hand after the specification. */

export interface V2 {
  /** The byte with version and command; default 0x21: version 2, PROXY. */
  readonly command?: number;
  /** The byte with family and protocol; default 0x11: TCP over IPv4. */
  readonly kind?: number;
  readonly addresses?: Uint8Array;
  readonly tlvs?: Uint8Array;
  /** Default: that of addresses and TLVs. */
  readonly length?: number;
}

export const SIGNATURE = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);

/** 203.0.113.7:50123 to 192.0.2.1:443 */
export const IPV4 = Buffer.from([203, 0, 113, 7, 192, 0, 2, 1, 50123 >> 8, 50123 & 255, 443 >> 8, 443 & 255]);

/** [2001:db8::7]:50123 to [2001:db8::1]:443 */
export const IPV6 = Buffer.from(
  '20010db8000000000000000000000007' + '20010db8000000000000000000000001' + 'c3cb' + '01bb',
  'hex',
);

export const V1 = 'PROXY TCP4 203.0.113.7 192.0.2.1 50123 443\r\n';

export const CLIENT = { address: '203.0.113.7', port: 50123, family: 'IPv4' };
export const TARGET = { address: '192.0.2.1', port: 443, family: 'IPv4' };

export function v2({ command = 0x21, kind = 0x11, addresses = IPV4, tlvs = Buffer.alloc(0), length }: V2 = {}): Buffer {
  const rest = Buffer.concat([addresses, tlvs]);
  const fixed = Buffer.from([command, kind, 0, 0]);
  fixed.writeUInt16BE(length ?? rest.length, 2);
  return Buffer.concat([SIGNATURE, fixed, rest]);
}

/** What a health check sends. */
export const LOCAL = v2({ command: 0x20, kind: 0x00, addresses: Buffer.alloc(0) });

/** The path of a Unix socket, padded. */
export function unixPath(path: string): Buffer {
  const field = Buffer.alloc(108);
  field.write(path);
  return field;
}

export function tlv(type: number, value: Uint8Array | string): Buffer {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([Buffer.from([type, bytes.length >> 8, bytes.length & 255]), bytes]);
}

/** The header with a checksum as its last TLV. */
export function withChecksum(header: V2 = {}): Buffer {
  const bytes = v2({ ...header, tlvs: Buffer.concat([header.tlvs ?? Buffer.alloc(0), tlv(3, Buffer.alloc(4))]) });
  bytes.writeUInt32BE(crc32c(bytes), bytes.length - 4);
  return bytes;
}

/** Bit by bit, highest power first: nothing like the table of the library. */
export function crc32c(bytes: Uint8Array): number {
  let register = 0xffffffffn;
  for (const byte of bytes) {
    for (let bit = 0; bit < 8; bit++) {
      const top = (register >> 31n) & 1n;
      const next = BigInt((byte >> bit) & 1);
      register = (register << 1n) & 0xffffffffn;
      if (top !== next) register ^= 0x1edc6f41n;
    }
  }
  let reflected = 0n;
  for (let bit = 0n; bit < 32n; bit++) if ((register >> bit) & 1n) reflected |= 1n << (31n - bit);
  return Number(reflected ^ 0xffffffffn);
}
