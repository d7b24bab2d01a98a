/**
 * Checks of arguments and options that several calls share. A check that concerns a single subject is in the file of that
 * subject.
 */
import { ADDRCONFIG, ALL, V4MAPPED } from 'node:dns';
import { types } from 'node:util';
import { coded, invalidType, outOfRange } from './errors.js';

/** The default limit of a stream, in bytes. */
export const DEFAULT_LIMIT = 65536;

/** The default `closeTimeout`: how long a peer may accept nothing while `close` flushes, in ms. */
const CLOSE_TIMEOUT_MS = 30_000;

/** The longest time that a Node timer supports, in ms. Timers with a longer time fire after 1 ms. */
export const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/** The largest fd on any system. */
const MAX_FD = 0x7fffffff;

// ---------------------------------------------------------------------------------------------- types

/** @throws TypeError `ERR_INVALID_ARG_TYPE` */
export function checkBoolean(action: string, name: string, value: unknown): asserts value is boolean {
  if (typeof value !== 'boolean') throw invalidType(action, name, 'a boolean', value);
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE` */
export function checkObject(action: string, name: string, value: unknown): asserts value is object {
  if (typeof value !== 'object' || value === null) throw invalidType(action, name, 'an object', value);
}

/** Whether `value` is an error, of this realm or of another one. */
export function isError(value: unknown): value is Error {
  return value instanceof Error || types.isNativeError(value);
}

/**
 * Whether `value` is a `Uint8Array`, such as a `Buffer`. As in Node's own calls, it may be from another realm (`node:vm`, test
 * runners).
 */
export function isBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array || types.isUint8Array(value);
}

// ---------------------------------------------------------------------------------------------- numbers

/**
 * @param most - default: any safe integer of `least` or more is allowed
 * @param expected - the expected value, for the message
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` if it is not an integer from `least` to `most`
 */
export function checkInteger(
  action: string,
  name: string,
  value: unknown,
  least: number,
  most = Number.MAX_SAFE_INTEGER,
  expected?: string,
): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
  throw notAnInteger(action, name, value, least, most, expected);
}

/** What {@link checkInteger} throws, for callers that make the check themselves, because it is part of a fast path. */
export function notAnInteger(
  action: string,
  name: string,
  value: unknown,
  least: number,
  most = Number.MAX_SAFE_INTEGER,
  expected = most === Number.MAX_SAFE_INTEGER
    ? `an integer of ${least} or more`
    : `an integer from ${least} to ${most}`,
): Error {
  return (typeof value === 'number' ? outOfRange : invalidType)(action, name, expected, value);
}

/** A file descriptor, as a number; see {@link checkInteger}. */
export function checkFd(action: string, name: string, value: unknown): number {
  return checkInteger(action, name, value, 0, MAX_FD, `an fd, an integer from 0 to ${MAX_FD}`);
}

/** The `limit` option; see {@link checkInteger}. */
export function checkLimit(action: string, limit: number | undefined): number {
  if (limit === undefined) return DEFAULT_LIMIT;
  return checkInteger(action, 'limit', limit, 1, Number.MAX_SAFE_INTEGER, 'a positive integer');
}

/**
 * A time in milliseconds that a timer supports.
 *
 * @param options - `zero`, `infinity`: whether these are allowed
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE`
 */
export function checkTimeout(
  action: string,
  name: string,
  ms: unknown,
  { zero, infinity = false }: { zero: boolean; infinity?: boolean },
): number {
  if (typeof ms !== 'number') throw invalidType(action, name, 'a number of milliseconds', ms);
  if (infinity && ms === Infinity) return ms;
  if (!((zero ? ms >= 0 : ms > 0) && ms <= LONGEST_TIMEOUT_MS)) {
    const range = zero ? `from 0 to ${LONGEST_TIMEOUT_MS}` : `above 0, up to ${LONGEST_TIMEOUT_MS}`;
    throw outOfRange(action, name, `a number of milliseconds ${range}${infinity ? ', or Infinity' : ''}`, ms);
  }
  return ms;
}

/** The `closeTimeout` option; see {@link checkTimeout}. */
export function checkCloseTimeout(action: string, ms: number | undefined, fallback = CLOSE_TIMEOUT_MS): number {
  if (ms === undefined) return fallback;
  return checkTimeout(action, 'closeTimeout', ms, { zero: false, infinity: true });
}

/** The `maxWriteBuffer` option and the `max` of `setWriteBufferLimits`, in bytes; see {@link checkInteger}. */
export function checkWriteBuffer(action: string, name: string, bytes: number | undefined): number {
  if (bytes === undefined || bytes === Infinity) return Infinity;
  return checkInteger(action, name, bytes, 1, Number.MAX_SAFE_INTEGER, 'an integer of 1 or more, or Infinity');
}

// ---------------------------------------------------------------------------------------------- resolving names

/** @throws RangeError `ERR_OUT_OF_RANGE` */
export function checkFamily(action: string, family: unknown): 0 | 4 | 6 {
  if (family !== 0 && family !== 4 && family !== 6) throw outOfRange(action, 'family', '0, 4 or 6', family);
  return family;
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` */
export function checkFlags(action: string, flags: unknown): number {
  const expected = 'a combination of dns.ADDRCONFIG, dns.V4MAPPED and dns.ALL, or 0';
  if (typeof flags !== 'number') throw invalidType(action, 'flags', expected, flags);
  if (!Number.isInteger(flags) || (flags & ~(ADDRCONFIG | V4MAPPED | ALL)) !== 0) {
    throw outOfRange(action, 'flags', expected, flags);
  }
  return flags;
}

// ---------------------------------------------------------------------------------------------- options

/** The error for an option that is only valid together with another one. */
export function needs(action: string, name: string, other: string): TypeError {
  return coded(new TypeError(`${action}: ${name} can only be used together with ${other}`), 'ERR_INVALID_ARG_TYPE');
}

/** The error for `sock`, or another option in its place, together with the arguments that it replaces. */
export function exclusive(action: string, others: string, name = 'sock'): TypeError {
  return coded(new TypeError(`${action}: ${name} cannot be combined with ${others}`), 'ERR_INVALID_ARG_TYPE');
}

const NAMES: readonly (readonly [asyncio: string, sluice: string])[] = [
  ['local_addr', 'localAddr'],
  ['server_hostname', 'serverHostname'],
  ['server_side', 'serverSide'],
  ['ssl_handshake_timeout', 'sslHandshakeTimeout'],
  ['ssl_shutdown_timeout', 'sslShutdownTimeout'],
  ['happy_eyeballs_delay', 'happyEyeballsDelay'],
  ['reuse_address', 'reuseAddress'],
  ['reuse_port', 'reusePort'],
  ['keep_alive', 'keepAlive'],
  ['shutdown_timeout', 'shutdownTimeout'],
  ['start_serving', 'startServing'],
];

/**
 * Refuses options under their asyncio names. As usual in Node, unknown options are ignored, but a program ported from asyncio
 * would silently lose an address, a name or a timeout.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE`
 */
export function checkOptionNames(action: string, options: object): void {
  for (const [asyncio, sluice] of NAMES) {
    if ((options as Record<string, unknown>)[asyncio] === undefined) continue;
    const message = `${action}: the option is called ${sluice} here, not ${asyncio}`;
    throw coded(new TypeError(message), 'ERR_INVALID_ARG_TYPE');
  }
}
