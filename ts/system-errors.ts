/**
 * System errors as ours: the same code, a message that names the action and what it concerns in the words of the system, the original
 * as the cause.
 */
import { getSystemErrorMap, types } from 'node:util';
import { ConnectionError, showUnixPath, textOf } from './errors.js';

/** What the system says of an error, such as `connection refused`; its own message where it is no error of the system. */
export function systemWords(error: unknown): string {
  const { errno = 0, message } = error as NodeJS.ErrnoException;
  return getSystemErrorMap().get(errno)?.[1] ?? message;
}

/**
 * What a Node stream was destroyed with, as an `Error`. It may be anything: a string that a generator threw, the reason of a signal, an
 * `Error` of another realm.
 */
export function lossOf(reason: unknown): Error {
  if (reason instanceof Error) return reason;
  const words = types.isNativeError(reason) ? reason.message : textOf(reason);
  return new ConnectionError('ECONNRESET', `the stream was destroyed with ${words}`, { cause: reason });
}

/** `connect 127.0.0.1:1: connection refused`; an error that is not of the system is returned as it is. */
export function connectionError(error: Error, peer?: string): Error {
  const { code, errno, syscall } = error as NodeJS.ErrnoException;
  if (error instanceof ConnectionError || typeof code !== 'string' || typeof errno !== 'number') return error;
  const words = systemWords(error);
  const where = [syscall, peer === undefined ? '' : showUnixPath(peer)].filter(Boolean).join(' ');
  return new ConnectionError(code, where === '' ? words : `${where}: ${words}`, { cause: error });
}

/** `bind 127.0.0.1:80: permission denied` */
export function bindError(error: unknown, name: string): ConnectionError {
  if (error instanceof ConnectionError) return error;
  const { code = 'UNKNOWN', address, port } = error as NodeJS.ErrnoException & Where;
  const failure = new ConnectionError(code, `bind ${name}: ${systemWords(error)}`, { cause: error });
  return Object.assign(failure, address == null ? {} : { address }, port == null ? {} : { port });
}

interface Where {
  address?: string | null;
  port?: number | null;
}

/** `connect: fd 7: bad file descriptor` */
export function fdError(action: string, fd: number, error: unknown): ConnectionError {
  const { code = 'EBADF' } = error as NodeJS.ErrnoException;
  const known = systemWords(error);
  // What the event loop answers when it watches the fd already.
  const words = code === 'EEXIST' ? `this process has a socket or a pipe over it already (${known})` : known;
  return new ConnectionError(code, `${action}: fd ${fd}: ${words}`, { cause: error });
}
