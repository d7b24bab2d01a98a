/**
 * Converts system errors: the code stays the same, the message names the action and its target in the system's words, and the
 * original error is the cause.
 */
import { getSystemErrorMap, types } from 'node:util';
import { ConnectionError, showUnixPath, textOf } from './errors.js';

/** The system's description of an error, such as `connection refused`; for any other error, its own message. */
export function systemWords(error: unknown): string {
  const { errno = 0, message } = error as NodeJS.ErrnoException;
  return getSystemErrorMap().get(errno)?.[1] ?? message;
}

/**
 * Converts the value that a Node stream was destroyed with to an `Error`. It can be anything: a string that a generator threw,
 * the reason of a signal, an `Error` of another realm.
 */
export function lossOf(reason: unknown): Error {
  if (reason instanceof Error) return reason;
  const words = types.isNativeError(reason) ? reason.message : textOf(reason);
  return new ConnectionError('ECONNRESET', `the stream was destroyed with ${words}`, { cause: reason });
}

/** `connect 127.0.0.1:1: connection refused`. An error that is not a system error is returned unchanged. */
export function connectionError(error: Error, peer?: string): Error {
  const { code, errno, syscall } = error as NodeJS.ErrnoException;
  if (error instanceof ConnectionError || typeof code !== 'string' || typeof errno !== 'number') return error;
  // On Windows, libuv reports EOF for a write that was waiting when the reader of the pipe went away.
  if (code === 'EOF' && syscall === 'write') {
    return connectionError(Object.assign(systemError('write', 'EPIPE'), { cause: error }), peer);
  }
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
  // The event loop's error for an fd that it already watches.
  const words = code === 'EEXIST' ? `this process already has a socket or a pipe over it (${known})` : known;
  return new ConnectionError(code, `${action}: fd ${fd}: ${words}`, { cause: error });
}

/** An error as Node makes it of a system call that has failed with `code`, such as `ECONNRESET`. */
export function systemError(syscall: string, code: string): NodeJS.ErrnoException {
  const [errno] = [...getSystemErrorMap()].find(([, [name]]) => name === code) ?? [0];
  return Object.assign(new Error(`${syscall} ${code}`), { errno, code, syscall });
}
