/**
 * The header of the PROXY protocol, versions 1 and 2, without I/O: bytes in, and out comes what the proxy announces, or why the bytes are
 * not a header.
 *
 *     version 1    PROXY TCP4 203.0.113.7 192.0.2.1 50123 443\r\n       at most 107 bytes
 *     version 2    12 bytes of signature, version and command, family and protocol, uint16be length,
 *                  then that many bytes: source and destination address, then TLVs
 *
 * The addresses may decide what a client is allowed to do. So whatever the specification does not allow is malformed, and nothing is guessed.
 */
import { isIPv4, isIPv6 } from 'node:net';
import type { SocketAddress } from '../transports/socket-info.js';
import { groupsOf } from './ip-address.js';

/** One of the further facts that a version 2 header may carry. */
export interface ProxyTlv {
  /** `PP2_TYPE_...` of the specification: 0x01 ALPN, 0x02 server name, 0x05 unique ID, 0x20 TLS, 0xE0 and up for own use, ... */
  readonly type: number;
  /** The bytes as they were sent. The value of type 0x20 contains TLVs of its own. */
  readonly value: Buffer;
}

/** What a proxy has announced about a connection: the value of `getExtraInfo('proxy')`. */
export interface ProxyInfo {
  /** The version of the PROXY protocol. */
  readonly version: 1 | 2;
  /**
   * `PROXY`: the proxy forwards a connection. `LOCAL`, version 2 only: the proxy itself has made the connection, usually to check
   * whether the server is alive. There are no addresses then.
   */
  readonly command: 'PROXY' | 'LOCAL';
  /**
   * The client: its address, or the path of its Unix socket ('' if it has none). Null if the proxy does not know it, and for `LOCAL`.
   */
  readonly source: SocketAddress | string | null;
  /** What the client has connected to: as {@link source}. */
  readonly destination: SocketAddress | string | null;
  /** All TLVs of a version 2 header, in their order, including those of unknown types. */
  readonly tlvs: readonly ProxyTlv[];
}

/** The first bytes of a connection, judged. */
export type ParsedHeader =
  /** They begin a header, and more are needed. */
  | { readonly status: 'incomplete' }
  /** They begin with a header of `length` bytes. */
  | { readonly status: 'complete'; readonly info: ProxyInfo; readonly length: number }
  /** They do not begin a header. The reason is a part of a sentence. */
  | { readonly status: 'malformed'; readonly reason: string };

/** The longest header of version 1, its line end included. */
const V1_MOST_BYTES = 107;
const V1_START = Buffer.from('PROXY ');
const CR = 0x0d;
const LF = 0x0a;

const V2_SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
/** The fixed part of version 2, with the length of the rest. */
const V2_FIXED_BYTES = 16;

/** How many bytes the two addresses of each kind have, by the byte for family and protocol: the kinds that a stream can have. */
const V2_ADDRESS_BYTES: ReadonlyMap<number, number> = new Map([
  [0x00, 0],
  [0x11, 12],
  [0x21, 36],
  [0x31, 216],
]);

/** The kinds of the specification that are datagrams. */
const V2_DATAGRAMS: ReadonlySet<number> = new Set([0x12, 0x22, 0x32]);

const UNIX_PATH_BYTES = 108;
const TLV_CRC32C = 0x03;

const INCOMPLETE: ParsedHeader = { status: 'incomplete' };
const NO_TLVS: readonly ProxyTlv[] = Object.freeze([]);

/**
 * Judges the first bytes of a connection, which may be more than the header. A wrong signature is found at its first wrong byte.
 * Never throws, and keeps no reference to the bytes.
 */
export function parseProxyHeader(bytes: Uint8Array): ParsedHeader {
  if (bytes.length === 0) return INCOMPLETE;
  const start = bytes[0] === V1_START[0] ? V1_START : V2_SIGNATURE;
  const compared = Math.min(bytes.length, start.length);
  for (let i = 0; i < compared; i++) {
    if (bytes[i] === start[i]) continue;
    return malformed(`byte ${i} is ${hex(bytes[i] ?? 0)}, which no PROXY header has there`);
  }
  if (bytes.length < start.length) return INCOMPLETE;
  return start === V1_START ? parseV1(bytes) : parseV2(bytes);
}

function malformed(reason: string): ParsedHeader {
  return { status: 'malformed', reason };
}

function complete(
  version: 1 | 2,
  command: ProxyInfo['command'],
  addresses: Pick<ProxyInfo, 'source' | 'destination'>,
  tlvs: readonly ProxyTlv[],
  length: number,
): ParsedHeader {
  const { source, destination } = addresses;
  return { status: 'complete', info: Object.freeze({ version, command, source, destination, tlvs }), length };
}

const NO_ADDRESSES = { source: null, destination: null } as const;

function hex(byte: number): string {
  return `0x${byte.toString(16).padStart(2, '0')}`;
}

// ---------------------------------------------------------------------------------------------- version 1

const V1_LINE = /^PROXY (?:UNKNOWN(?: .*)?|(TCP[46]) ([^ ]+) ([^ ]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4}))$/;

function parseV1(bytes: Uint8Array): ParsedHeader {
  const most = Math.min(bytes.length, V1_MOST_BYTES);
  let end = -1;
  for (let i = V1_START.length; i < most && end < 0; i++) {
    const afterCr = bytes[i - 1] === CR;
    if ((bytes[i] === LF) !== afterCr) return malformed('its line does not end with CR LF');
    if (afterCr) end = i + 1;
  }
  if (end < 0) {
    return most < V1_MOST_BYTES
      ? INCOMPLETE
      : malformed(`it is longer than ${V1_MOST_BYTES} bytes, the most of version 1`);
  }
  const line = Buffer.from(bytes.subarray(0, end - 2)).toString('latin1');
  const fields = V1_LINE.exec(line);
  if (fields === null) return malformed('its fields are not those of version 1');
  const [, protocol, source = '', destination = '', sourcePort, destinationPort] = fields;
  if (protocol === undefined) return complete(1, 'PROXY', NO_ADDRESSES, NO_TLVS, end);
  const family = protocol === 'TCP4' ? 'IPv4' : 'IPv6';
  const addresses = [source, destination].map((address) => canonical(address, family));
  if (addresses[0] == null || addresses[1] == null) return malformed(`its addresses are not ${family} addresses`);
  const ports = [Number(sourcePort), Number(destinationPort)] as const;
  if (ports[0] > 65535 || ports[1] > 65535) return malformed('a port is above 65535');
  const ends = {
    source: socketAddress(addresses[0], ports[0], family),
    destination: socketAddress(addresses[1], ports[1], family),
  };
  return complete(1, 'PROXY', ends, NO_TLVS, end);
}

/** An address in its usual form, as `peername` has it; null if it is not an address of the family. */
function canonical(address: string, family: 'IPv4' | 'IPv6'): string | null {
  if (family === 'IPv4') return isIPv4(address) ? address : null;
  // A zone means something only on the machine of the proxy.
  return isIPv6(address) && !address.includes('%') ? ipv6(groupsOf(address)) : null;
}

function socketAddress(address: string, port: number, family: 'IPv4' | 'IPv6'): SocketAddress {
  return Object.freeze({ address, port, family });
}

/** The form that systems print: the longest run of two or more zeros is left out, the first of several; IPv4-mapped with dots. */
function ipv6(groups: readonly number[]): string {
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    const [high = 0, low = 0] = groups.slice(6);
    return `::ffff:${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
  }
  let [longest, from] = [1, -1];
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === 0) length++;
    if (length > longest) [longest, from] = [length, i];
  }
  const text = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':');
  return from < 0 ? text(groups) : `${text(groups.slice(0, from))}::${text(groups.slice(from + longest))}`;
}

// ---------------------------------------------------------------------------------------------- version 2

function parseV2(received: Uint8Array): ParsedHeader {
  const [versionAndCommand, kind] = [received[12], received[13]];
  if (versionAndCommand === undefined) return INCOMPLETE;
  const version = versionAndCommand >> 4;
  const command = versionAndCommand & 15;
  if (version !== 2) return malformed(`its version is ${version}, not 2`);
  if (command > 1) return malformed(`its command is ${command}, not 0 (LOCAL) or 1 (PROXY)`);
  if (kind === undefined) return INCOMPLETE;
  const local = command === 0;
  const addressBytes = V2_ADDRESS_BYTES.get(kind);
  // The specification has everything ignored that follows LOCAL.
  if (addressBytes === undefined && !local) {
    const what = V2_DATAGRAMS.has(kind) ? 'it announces datagrams, on a stream' : 'its family and protocol are unknown';
    return malformed(`${what} (${hex(kind)})`);
  }
  if (received.length < V2_FIXED_BYTES) return INCOMPLETE;
  const rest = (received[14] ?? 0) * 256 + (received[15] ?? 0);
  const length = V2_FIXED_BYTES + rest;
  if (!local && rest < (addressBytes ?? 0)) {
    return malformed(`it announces ${rest} bytes, but its addresses have ${addressBytes}`);
  }
  if (received.length < length) return INCOMPLETE;
  if (local) return complete(2, 'LOCAL', NO_ADDRESSES, NO_TLVS, length);
  const header = Buffer.from(received.subarray(0, length));
  const tlvs = tlvsOf(header, V2_FIXED_BYTES + (addressBytes ?? 0));
  if (typeof tlvs === 'string') return malformed(tlvs);
  return complete(2, 'PROXY', addressesOf(header, kind), tlvs, length);
}

function addressesOf(header: Buffer, kind: number): Pick<ProxyInfo, 'source' | 'destination'> {
  const at = V2_FIXED_BYTES;
  switch (kind) {
    case 0x11:
      return {
        source: socketAddress(header.subarray(at, at + 4).join('.'), header.readUInt16BE(at + 8), 'IPv4'),
        destination: socketAddress(header.subarray(at + 4, at + 8).join('.'), header.readUInt16BE(at + 10), 'IPv4'),
      };
    case 0x21:
      return {
        source: socketAddress(ipv6At(header, at), header.readUInt16BE(at + 32), 'IPv6'),
        destination: socketAddress(ipv6At(header, at + 16), header.readUInt16BE(at + 34), 'IPv6'),
      };
    case 0x31:
      return { source: unixPathAt(header, at), destination: unixPathAt(header, at + UNIX_PATH_BYTES) };
    default:
      return NO_ADDRESSES;
  }
}

function ipv6At(header: Buffer, at: number): string {
  return ipv6(Array.from({ length: 8 }, (_, i) => header.readUInt16BE(at + 2 * i)));
}

/** A path ends with its first zero byte. An abstract name begins with one and may contain others; those at its end are padding. */
function unixPathAt(header: Buffer, at: number): string {
  const field = header.subarray(at, at + UNIX_PATH_BYTES);
  let end = field.indexOf(0);
  if (end === 0) {
    end = UNIX_PATH_BYTES;
    while (end > 0 && field[end - 1] === 0) end--;
  }
  return field.toString('utf8', 0, end < 0 ? UNIX_PATH_BYTES : end);
}

/** The TLVs from `at` to the end of the header; or why they are malformed. */
function tlvsOf(header: Buffer, at: number): readonly ProxyTlv[] | string {
  if (at === header.length) return NO_TLVS;
  const tlvs: ProxyTlv[] = [];
  let checked = false;
  while (at < header.length) {
    const valueAt = at + 3;
    const end = valueAt <= header.length ? valueAt + header.readUInt16BE(at + 1) : Infinity;
    if (end > header.length) return `TLV ${tlvs.length} ends after the header`;
    const type = header.readUInt8(at);
    if (type === TLV_CRC32C) {
      // Each would take the time of another pass over the header.
      if (checked) return 'it has two checksums';
      checked = true;
      if (end - valueAt !== 4) return `its checksum has ${end - valueAt} bytes, not 4`;
      if (crc32cWithout(header, valueAt) !== header.readUInt32BE(valueAt)) return 'its checksum is wrong';
    }
    tlvs.push(Object.freeze({ type, value: Buffer.from(header.subarray(valueAt, end)) }));
    at = end;
  }
  return Object.freeze(tlvs);
}

// ---------------------------------------------------------------------------------------------- the checksum

let table: Uint32Array | null = null;

function crcTable(): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    return crc;
  });
}

/** The CRC-32C of a header, computed with the four bytes of its checksum as zeros. */
function crc32cWithout(header: Buffer, checksumAt: number): number {
  table ??= crcTable();
  let crc = 0xffffffff;
  for (let i = 0; i < header.length; i++) {
    const byte = i >= checksumAt && i < checksumAt + 4 ? 0 : (header[i] ?? 0);
    crc = (crc >>> 8) ^ (table[(crc ^ byte) & 255] ?? 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
