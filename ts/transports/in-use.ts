/**
 * Which sockets, streams and listeners have something over them already. Each direction serves one stream, once: two that read
 * from one socket would each get a part of the bytes, and one that was closed leaves nothing to use.
 */
import { StateError } from '../errors.js';
import { StreamMode } from './transport.js';

const used = new WeakMap<object, number>();

/**
 * Takes directions of what the caller has given.
 *
 * @param action - what the caller does, and `name`, what it calls the thing, for the message
 * @returns gives them back, for when the call fails and leaves the thing as it was
 * @throws StateError `ERR_IN_USE` when one of the directions was taken before
 */
export function take(action: string, name: string, thing: object, mode: StreamMode): () => void {
  checkUnused(action, name, thing, mode);
  markUsed(thing, mode);
  return () => {
    used.set(thing, (used.get(thing) ?? 0) & ~mode);
  };
}

/** @throws StateError `ERR_IN_USE` when one of the directions was taken before */
export function checkUnused(action: string, name: string, thing: object, mode: StreamMode): void {
  const both = (used.get(thing) ?? 0) & mode;
  if (both === 0) return;
  const [reads, writes] = [(both & StreamMode.READ) !== 0, (both & StreamMode.WRITE) !== 0];
  const what = reads && writes ? 'is used' : reads ? 'is read' : 'is written';
  throw new StateError(
    'ERR_IN_USE',
    `${action}: ${name} ${what} by a stream or a server already, or was until that was closed`,
  );
}

/** Notes who has a thing now, whoever gave it. */
export function markUsed(thing: object, mode: StreamMode): void {
  used.set(thing, (used.get(thing) ?? 0) | mode);
}
