/** Checks of arguments that calls of every kind have in common. What only one subject needs is checked where that is. */
import { types } from 'node:util';
import { coded, invalidType, outOfRange } from './errors.js';

/** @throws TypeError `ERR_INVALID_ARG_TYPE` */
export function checkBoolean(action: string, name: string, value: unknown): asserts value is boolean {
  if (typeof value !== 'boolean') throw invalidType(action, name, 'a boolean', value);
}

/** Whether `value` is a `Uint8Array`, a `Buffer` for one: also of another realm (`node:vm`, test runners), as for Node's own calls. */
export function isBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array || types.isUint8Array(value);
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` when it is not an integer from `least` to `most` */
export function checkInteger(action: string, name: string, value: unknown, least: number, most: number): number {
  const expected = `an integer from ${least} to ${most}`;
  if (typeof value !== 'number') throw invalidType(action, name, expected, value);
  if (!Number.isInteger(value) || value < least || value > most) throw outOfRange(action, name, expected, value);
  return value;
}

/** What `sock` stands in the place of was given as well. */
export function exclusive(action: string, others: string): TypeError {
  return coded(new TypeError(`${action}: sock cannot be combined with ${others}`), 'ERR_INVALID_ARG_TYPE');
}
