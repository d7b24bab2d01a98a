/**
 * Which sockets, streams and listeners are in use. Each direction serves one stream, once: two streams that read from one socket would
 * each get a part of the bytes, and a stream that was closed leaves nothing to use.
 */
import { StateError } from '../errors.js';
import { StreamMode } from './transport.js';

const used = new WeakMap<object, number>();

/**
 * Claims directions of what the caller has passed.
 *
 * @param action - what the caller does, for the message
 * @param name - the argument, for the message
 * @returns gives the directions back, for a call that fails and leaves the argument as it was
 * @throws StateError `ERR_IN_USE` if one of the directions was claimed before
 */
export function claim(action: string, name: string, thing: object, mode: StreamMode): () => void {
  checkUnused(action, name, thing, mode);
  markUsed(thing, mode);
  return () => unmarkUsed(thing, mode);
}

/** @throws StateError `ERR_IN_USE` if one of the directions was claimed before */
export function checkUnused(action: string, name: string, thing: object, mode: StreamMode): void {
  const both = (used.get(thing) ?? 0) & mode;
  if (both === 0) return;
  const [reads, writes] = [(both & StreamMode.READ) !== 0, (both & StreamMode.WRITE) !== 0];
  const how = reads && writes ? 'used' : reads ? 'read' : 'written to';
  throw new StateError(
    'ERR_IN_USE',
    `${action}: ${name} is already ${how} by a stream or a server, or was until that was closed`,
  );
}

/** Marks directions as claimed without a check. */
export function markUsed(thing: object, mode: StreamMode): void {
  used.set(thing, (used.get(thing) ?? 0) | mode);
}

/** Gives directions back. */
export function unmarkUsed(thing: object, mode: StreamMode): void {
  used.set(thing, (used.get(thing) ?? 0) & ~mode);
}
