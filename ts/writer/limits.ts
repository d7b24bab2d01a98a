/** How much a writer may buffer: the watermarks at which callers wait and continue, and the max, beyond which writing fails. */
import { Buffer } from 'node:buffer';
import { checkInteger, checkObject, checkWriteBuffer } from '../checks.js';
import { ConnectionError, count, outOfRange, showUnixPath } from '../errors.js';

/** The default high watermark, in bytes; the low one is a quarter of it. asyncio: the same */
export const HIGH_WATERMARK = 65536;

/** The limits of the write buffer, in bytes. */
export interface WriteBufferLimits {
  /** With more than this many bytes buffered, callers wait. Default: four times `low`, or 65536, but not more than half of `max`. */
  high?: number | undefined;
  /** With this many or fewer, they continue. Default: a quarter of `high`. */
  low?: number | undefined;
  /**
   * A write that would buffer more than this fails and aborts the connection; 1 or more, or `Infinity`. Default: unchanged, and at
   * first the option `maxWriteBuffer`, or `Infinity`.
   */
  max?: number | undefined;
}

/** Options of everything that writes. */
export interface WriteBufferOptions {
  /**
   * The most bytes that may wait to be sent, 1 or more. A write that would exceed it rejects with a `ConnectionError`
   * `ERR_WRITE_OVERFLOW`, and the connection is aborted: a peer that does not read cannot use more memory than this. It
   * lowers the high watermark to half of it, if that is less. So a caller that awaits each write, of up to half of it, never exceeds it.
   * Can be changed by `setWriteBufferLimits({ max })`, which describes what counts. Default `Infinity`.
   */
  maxWriteBuffer?: number | undefined;
}

/** The limits in use. */
export interface Limits {
  readonly high: number;
  readonly low: number;
  readonly max: number;
}

/**
 * Returns the limits after `setWriteBufferLimits(given)`.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE`
 */
export function changedLimits(current: Limits, given: WriteBufferLimits): Limits {
  const action = 'setWriteBufferLimits';
  checkObject(action, 'limits', given);
  const max = given.max === undefined ? current.max : checkWriteBuffer(action, 'max', given.max);
  if (given.high !== undefined) checkInteger(action, 'high', given.high, 0);
  if (given.low !== undefined) checkInteger(action, 'low', given.low, 0);
  if (given.max !== undefined && given.high === undefined && given.low === undefined) return withMax(current, max);
  const high = given.high ?? defaultHigh(given.low, max);
  const low = given.low ?? Math.floor(high / 4);
  if (high > max && given.max !== undefined) throw outOfRange(action, 'max', `at least high, ${high}`, max);
  if (high > max) throw outOfRange(action, 'high', `at most max, ${max}`, high);
  if (low > high) throw outOfRange(action, 'low', `at most high, ${high}`, low);
  return { high, low, max };
}

/** The limits with another max, which lowers the watermarks if a caller that waits at the high one could exceed it. */
export function withMax({ high, low }: Omit<Limits, 'max'>, max: number): Limits {
  const highest = highestFor(max);
  return high <= highest ? { high, low, max } : { high: highest, low: Math.min(low, Math.floor(highest / 4)), max };
}

function defaultHigh(low: number | undefined, max: number): number {
  if (low === undefined) return Math.min(HIGH_WATERMARK, highestFor(max));
  return Math.min(Math.max(low, Math.min(4 * low, highestFor(max))), max);
}

/** The highest watermark that leaves room for another write: a caller waits only once more than the watermark is buffered. */
function highestFor(max: number): number {
  return Math.floor(max / 2);
}

/** The size of data in bytes. */
export function sizeOf(data: Uint8Array | string): number {
  return typeof data === 'string' ? Buffer.byteLength(data) : data.length;
}

/** At least the size of data in bytes; takes the same time for any string. */
export function mostOf(data: Uint8Array | string): number {
  // A UTF-16 code unit is at most three bytes of UTF-8.
  return typeof data === 'string' ? data.length * 3 : data.length;
}

/** The error of a write of `size` bytes that the max does not allow. */
export function overflow(
  action: string,
  size: number,
  { max, buffered, peer }: { max: number; buffered: number; peer: string | null },
): ConnectionError {
  const to = peer === null ? '' : ` to ${showUnixPath(peer)}`;
  const waiting = `${count(buffered, 'byte')} ${buffered === 1 ? 'is' : 'are'} still waiting to be sent${to}`;
  const message = `${action}: ${count(size, 'byte')} would exceed the max of ${max}: ${waiting}`;
  return new ConnectionError('ERR_WRITE_OVERFLOW', message);
}
