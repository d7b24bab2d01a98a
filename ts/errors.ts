/**
 * The errors of sluice.
 *
 *     Error
 *     +-- IncompleteReadError   ERR_INCOMPLETE_READ       the stream ended before the read was complete
 *     +-- LimitOverrunError     ERR_LIMIT_OVERRUN         a frame is longer than the limit
 *     +-- FrameError            ERR_FRAME_MALFORMED       a frame that cannot be: an impossible length
 *     +-- TimeoutError          ERR_TIMEOUT               a call with a timeout took too long
 *     |                         ERR_IDLE_TIMEOUT          nothing was received or sent for idleTimeout
 *     |                         ERR_READ_TIMEOUT          the peer took longer than readTimeout to complete what a read waits for
 *     |                         ERR_WRITE_TIMEOUT         the peer accepted nothing for writeTimeout
 *     |                         ERR_MAX_AGE               a connection of a server is older than maxAge
 *     +-- StateError            ERR_CONCURRENT_READ       a second read while one waits
 *     |                         ERR_STREAM_WRITE_ONLY     reading a stream without a reading side
 *     |                         ERR_STREAM_READ_ONLY      writing to a stream without a writing side
 *     |                         ERR_STREAM_HANDED_OVER    using a stream after toDuplex(), toWeb() or detach()
 *     |                         ERR_WRITE_AFTER_EOF       writing after writeEof()
 *     |                         ERR_WRITE_EOF_UNSUPPORTED writeEof() on a connection without half-close
 *     |                         ERR_FEED_AFTER_EOF        feeding a reader after feedEof()
 *     |                         ERR_FRAMES_EXPIRED        using frames after the next read has begun
 *     |                         ERR_IN_USE                a socket, pipe or listener that a stream or server already uses
 *     |                         ERR_SERVER_STATE          a call that the state of the server does not allow
 *     |                         ERR_SENDFILE_NOT_AVAILABLE sendfile() without fallback
 *     |                         ERR_TLS_STATE             startTls() without a plain connection to upgrade
 *     |                         ERR_TLS_PLAINTEXT_PENDING startTls() with unread bytes that do not begin a TLS handshake
 *     +-- ConnectionError       ECONNRESET, EPIPE, ...    the connection was lost (the system's code)
 *     |                         ERR_WRITE_OVERFLOW        aborted: a write would have buffered more than the max
 *     AggregateError            ECONNREFUSED, ...         none of several addresses could be connected to; `errors` has one each
 *     TypeError                 ERR_INVALID_ARG_TYPE      an argument of the wrong type
 *     RangeError                ERR_OUT_OF_RANGE          an argument outside its range
 *                               ERR_SEPARATOR_EMPTY       an empty separator
 *                               ERR_BUFFER_TOO_LARGE      more bytes requested than can be allocated
 *
 * docs/errors.md lists all of them, including the rarer codes for misuse, and what to do about each.
 *
 * Only errors that callers are expected to catch have their own class. Misuse throws the closest built-in class with a Node-style
 * `code`. This file imports nothing, so that every other file can import it.
 */

/**
 * The stream ended before a read was complete. `readexactly` and `readuntil` reject with it.
 *
 * The bytes that did arrive are in {@link partial} and are consumed; the stream is at EOF.
 *
 * asyncio: `IncompleteReadError`
 */
export class IncompleteReadError extends Error {
  override readonly name = 'IncompleteReadError';
  readonly code = 'ERR_INCOMPLETE_READ';
  /** The bytes read before the end of the stream. */
  readonly partial: Buffer;
  /** The requested number of bytes, or the length of the whole frame; `null` if the read was for a separator, or the length had not arrived. */
  readonly expected: number | null;

  constructor(partial: Buffer, expected: number | null, action?: string, missing?: string) {
    const call = action ?? (expected === null ? 'readuntil' : `readexactly(${expected})`);
    const awaited = missing ?? (expected === null ? ' without the separator' : '');
    super(`${call}: ${count(partial.length, 'byte')} read before EOF${awaited}`);
    this.partial = partial;
    this.expected = expected;
  }

  /** @internal EOF within a frame of `expected` bytes; null: its length has not arrived. */
  static ofFrame(partial: Buffer, expected: number | null, action: string): IncompleteReadError {
    const missing = expected === null ? ', within the header of a frame' : `, of a frame of ${expected}`;
    return new IncompleteReadError(partial, expected, action, missing);
  }
}

/**
 * A frame is longer than the limit of the stream.
 *
 * `readuntil` and `readframes` leave the bytes in the buffer; `readline` skips the line.
 *
 * asyncio: `LimitOverrunError`
 */
export class LimitOverrunError extends Error {
  override readonly name = 'LimitOverrunError';
  readonly code = 'ERR_LIMIT_OVERRUN';
  /** How many buffered bytes can be consumed without splitting a separator. */
  readonly consumed: number;

  constructor(message: string, consumed: number) {
    super(message);
    this.consumed = consumed;
  }
}

/**
 * A frame that no peer following the protocol can have sent: a length field whose value is impossible, or a `frameLength` function that
 * answered with something other than a length. The bytes stay in the buffer, as it is not known where the next frame begins.
 */
export class FrameError extends Error {
  override readonly name = 'FrameError';
  readonly code = 'ERR_FRAME_MALFORMED';
  /** A copy of the first bytes of the frame: those up to and including its length field, 64 at most. */
  readonly header: Buffer;

  constructor(message: string, header: Buffer) {
    super(message);
    this.header = header;
  }
}

/** The codes of {@link TimeoutError}: that of a call, and those of a connection. */
export type TimeoutErrorCode =
  'ERR_TIMEOUT' | 'ERR_IDLE_TIMEOUT' | 'ERR_READ_TIMEOUT' | 'ERR_WRITE_TIMEOUT' | 'ERR_MAX_AGE';

/**
 * `ERR_TIMEOUT`: a call has waited for as long as its `timeout` allows. Nothing was consumed, and the stream can still be used.
 *
 * The other codes: `idleTimeout`, `readTimeout`, `writeTimeout` or `maxAge` of a connection is over, and the connection was aborted.
 *
 * asyncio: `TimeoutError`, of `wait_for` and `timeout`
 */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
  readonly code: TimeoutErrorCode;

  constructor(message: string, code: TimeoutErrorCode = 'ERR_TIMEOUT', options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The codes of {@link StateError}. */
export type StateErrorCode =
  | 'ERR_CONCURRENT_READ'
  | 'ERR_STREAM_WRITE_ONLY'
  | 'ERR_STREAM_READ_ONLY'
  | 'ERR_STREAM_HANDED_OVER'
  | 'ERR_WRITE_AFTER_EOF'
  | 'ERR_WRITE_EOF_UNSUPPORTED'
  | 'ERR_FEED_AFTER_EOF'
  | 'ERR_FRAMES_EXPIRED'
  | 'ERR_IN_USE'
  | 'ERR_SERVER_STATE'
  | 'ERR_TLS_STATE'
  | 'ERR_TLS_PLAINTEXT_PENDING'
  | 'ERR_SENDFILE_NOT_AVAILABLE';

/** The state of the stream or server does not allow the call. */
export class StateError extends Error {
  override readonly name = 'StateError';
  readonly code: StateErrorCode;

  constructor(code: StateErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * The connection was lost, or could not be made. `code` is the system's name for the error, such as `ECONNRESET`, or
 * `ERR_WRITE_OVERFLOW`. If an error of the operating system led to it, that error is the `cause`.
 *
 * asyncio: `ConnectionError` and its subclasses
 */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** An error with a Node-style `code`. */
export type CodedError<E extends Error> = E & { readonly code: string };

/** Sets the `code` of an error. @internal */
export function coded<E extends Error>(error: E, code: string): CodedError<E> {
  Object.defineProperty(error, 'code', { value: code, enumerable: true, configurable: true, writable: true });
  return error as CodedError<E>;
}

/** `connect: port must be an integer from 0 to 65535, not "x"` */
export function invalidType(action: string, name: string, expected: string, actual: unknown): CodedError<TypeError> {
  return invalidKind(action, name, expected, show(actual));
}

/** `connect: sock must be a stream of bytes, not a stream that decodes utf8`: for problems that the value itself does not show */
export function invalidKind(action: string, name: string, expected: string, kind: string): CodedError<TypeError> {
  return coded(new TypeError(`${action}: ${name} must be ${expected}, not ${kind}`), 'ERR_INVALID_ARG_TYPE');
}

/** `readexactly: n must be an integer of 0 or more, not -1` */
export function outOfRange(action: string, name: string, expected: string, actual: unknown): CodedError<RangeError> {
  return coded(new RangeError(`${action}: ${name} must be ${expected}, not ${show(actual)}`), 'ERR_OUT_OF_RANGE');
}

/** The error for an empty separator, or an empty list of separators. */
export function emptySeparator(action: string, what: string): CodedError<RangeError> {
  return coded(new RangeError(`${action}: ${what}`), 'ERR_SEPARATOR_EMPTY');
}

/** The error for more memory than the runtime can allocate. */
export function tooLarge(action: string, bytes: number, cause?: unknown): CodedError<RangeError> {
  const reason = cause === undefined ? '' : `: ${textOf(cause)}`;
  return coded(
    new RangeError(`${action}: cannot allocate ${count(bytes, 'byte')}${reason}`, { cause }),
    'ERR_BUFFER_TOO_LARGE',
  );
}

/** A number with its noun: `1 byte`, `4 bytes`. */
export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}

/**
 * The path of a Unix socket, or another name of a peer, for messages. An abstract name begins with `@`, as in other Linux tools.
 */
export function showUnixPath(path: string): string {
  return path.startsWith('\0') ? `@${path.slice(1)}` : path;
}

/** Ignores an error or a rejection that no caller needs any more. */
export function ignore(): void {}

/** A short description of a value for an error message, with its type if the value alone would not show it. */
function show(value: unknown): string {
  try {
    return describe(value);
  } catch {
    // A getter or a proxy threw, but the error to report is still the invalid argument.
    return typeof value === 'function' ? 'a function' : 'an object';
  }
}

function describe(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return value.length > SHOWN ? `${JSON.stringify(value.slice(0, SHOWN))}...` : JSON.stringify(value);
    case 'bigint':
      return `${shortened(String(value))}n`;
    case 'symbol':
      return shortened(String(value));
    case 'function':
      return value.name === '' ? 'a function' : `function ${shortened(value.name)}`;
    case 'object': {
      if (value === null) return 'null';
      if (Array.isArray(value)) return `an array of ${value.length}`;
      const constructor: unknown = (value as { constructor?: unknown }).constructor;
      return typeof constructor === 'function' && constructor.name !== ''
        ? `an instance of ${shortened(constructor.name)}`
        : 'an object';
    }
    default:
      return String(value);
  }
}

/** The maximum number of characters of a value that a message shows. */
const SHOWN = 40;

function shortened(text: string): string {
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}...` : text;
}

/** The message of an error from any source; for any other value, its description. @internal */
export function textOf(reason: unknown): string {
  try {
    const told: unknown = reason instanceof Error ? reason.message : reason;
    return reason instanceof Error && typeof told === 'string' ? told : describe(told);
  } catch {
    return show(reason);
  }
}

/** The `code` of an error from any source, or `UNKNOWN` if it has none. @internal */
export function codeOf(reason: unknown): string {
  try {
    const { code } = reason as { code?: unknown };
    return typeof code === 'string' && code !== '' ? code : 'UNKNOWN';
  } catch {
    return 'UNKNOWN';
  }
}

/** Why one address could not be connected to. The `cause` is the error of the attempt. */
export type AttemptError = ConnectionError & { readonly address: string; readonly family: 4 | 6 };

/**
 * Creates the error of one attempt: `192.0.2.1 ECONNREFUSED (connection refused)`. If `action` is given, the message begins with
 * it. The address is omitted if the action names it, and the reason does not repeat the attempt. A reason without a `code` gets
 * `UNKNOWN`, which is also the system's code for errors without a name.
 */
export function attemptFailed(
  target: { address: string; family: 4 | 6 },
  reason: unknown,
  action?: string,
): AttemptError {
  const { address, family } = target;
  const attempt = `connect ${address.includes(':') ? `[${address}]` : address}:`;
  const code = codeOf(reason);
  const told = textOf(reason);
  const text = told.startsWith(attempt) ? told.slice(told.indexOf(': ') + 2) : told;
  const what = text === '' ? code : `${code} (${text})`;
  const where = action?.startsWith(attempt) === true ? '' : `${address} `;
  const message = `${action === undefined ? '' : `${action}: `}${where}${what}`;
  return Object.assign(new ConnectionError(code, message, { cause: reason }), { address, family });
}

/**
 * `connect example.org:80: all 2 attempts failed: 2001:db8::1 ENETUNREACH (...), 192.0.2.1 ECONNREFUSED (...)`
 *
 * The errors are in the order of the attempts. `code` is the code that they share. If they differ, it is the code of the last
 * address, because the first addresses are usually of the family that the machine has no route for.
 *
 * asyncio: `OSError('Multiple exceptions: ...')`
 */
export function allAttemptsFailed(
  action: string,
  errors: readonly [AttemptError, ...AttemptError[]],
): CodedError<AggregateError> {
  const list = errors.map((error) => error.message).join(', ');
  const last = errors[errors.length - 1] ?? errors[0];
  return coded(new AggregateError(errors, `${action}: all ${errors.length} attempts failed: ${list}`), last.code);
}
