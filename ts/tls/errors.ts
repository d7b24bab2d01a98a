/**
 * Converts the TLS errors of Node and OpenSSL.
 *
 * Options: if Node or OpenSSL refuses them, the call that received them fails with one error, which names the option if it can be
 * determined. It has their code, and their error as the cause.
 *
 * Handshake: a failure is one `ConnectionError`. The message says what was attempted and with which peer; the code is that of the
 * reason (`CERT_HAS_EXPIRED`, `ERR_TLS_CERT_ALTNAME_INVALID`, `ERR_SSL_...`, `ETIMEDOUT`, `ECONNRESET`), which is the cause. If a
 * callback among the options failed, the cause is the value that it threw or returned.
 *
 * Later failures (a corrupt record, an alert, a client certificate that a TLS 1.3 server refuses after the client has finished)
 * are a `ConnectionError` of the same kind, for reads and for writes.
 */
import { createSecureContext, type TLSSocket } from 'node:tls';
import { inspect } from 'node:util';
import { isBytes } from '../checks.js';
import { ConnectionError, coded } from '../errors.js';
import { connectionError } from '../system-errors.js';

/** @param error - null if the connection was closed without an error */
export function handshakeError(where: string, error: Error | null): ConnectionError {
  if (error === null) return new ConnectionError('ECONNRESET', `${where}: the peer closed the connection`);
  const { code, errno } = error as NodeJS.ErrnoException;
  if (error instanceof CallbackFailure) {
    const { cause } = error;
    const { code: own } = (cause ?? {}) as { code?: unknown };
    const told = typeof own === 'string' && own !== '' ? own : 'ECONNABORTED';
    return new ConnectionError(told, `${where}: ${error.message}`, { cause });
  }
  // Node creates this error itself if the connection ends before the handshake does.
  const ended = code === 'ECONNRESET' && errno === undefined;
  const failure = tlsFailure(error);
  const words = ended
    ? 'the peer closed the connection'
    : (failure?.words.replace(/^TLS: /, '') ?? connectionError(error).message);
  return new ConnectionError(failure?.code ?? code ?? 'ECONNRESET', `${where}: ${words}`, { cause: error });
}

/** `[...:]error:0A000119:SSL routines:[function]:decryption failed or bad record mac[:file:line:...]` */
const OPENSSL_ERROR = /(?:^|[\s:])error:[\dA-F]+:([^:]*):[^:]*:([^:\n]+)/i;

/** The code and the text of a TLS error, without OpenSSL's internal details; null for any other error. */
export function tlsFailure(error: Error): { code: string; words: string } | null {
  const { code, reason } = error as { code?: unknown; reason?: unknown };
  const found = OPENSSL_ERROR.exec(error.message);
  const known = typeof code === 'string' && /^ERR_(?:O?SSL|TLS)_/.test(code);
  const told = typeof reason === 'string' && (known || found !== null) ? reason : found?.[2];
  if (told === undefined) return known ? { code, words: error.message } : null;
  // If a write fails this way, Node uses the code EPROTO and gives no reason.
  const named = known ? code : `ERR_SSL_${told.toUpperCase().replace(/\W+/g, '_')}`;
  return { code: named, words: `TLS: ${told}` };
}

/** A handshake failed because of a user's callback. The cause is the value that the callback threw or passed on. */
export class CallbackFailure extends Error {
  constructor(what: string, reason: unknown) {
    super(`${what}: ${reason instanceof Error ? reason.message : inspect(reason)}`, { cause: reason });
  }
}

/** If the certificate of a client is refused, Node closes the connection, and only the socket has the reason. */
export function clientError(error: Error, socket: TLSSocket | undefined): Error {
  // The types say Error, but this is a code.
  const refused = socket?.authorizationError as unknown;
  if (typeof refused !== 'string') return error;
  return coded(new Error(`the client's certificate was refused: ${refused}`), refused);
}

// ---------------------------------------------------------------------------------------------- options

/** The options that are passed to OpenSSL. Its errors say what is wrong, but not in which option. */
const PARTS = [
  'secureProtocol',
  'minVersion',
  'maxVersion',
  'ciphers',
  'ca',
  'cert',
  'key',
  'pfx',
  'sigalgs',
  'ecdhCurve',
  'dhparam',
  'crl',
] as const;

/** The error for options that were refused: `connect: ssl: cert: PEM routines: no start line`. */
export function refused(action: string, options: object, error: unknown, option: string | null = null): Error {
  const { code } = (error ?? {}) as { code?: unknown };
  const raw = error instanceof Error ? error.message : inspect(error);
  const found = OPENSSL_ERROR.exec(raw);
  // Node reports 'reason(0)' if OpenSSL gave no reason.
  const reason = found === null ? raw : found[2] === 'reason(0)' ? 'refused by OpenSSL' : `${found[1]}: ${found[2]}`;
  const named = /\boptions\.(\w+)/.test(raw);
  const part = named ? null : (option ?? blamed(options, code, raw));
  const words = named ? reason.replace(/\boptions\./, '') : reason;
  const message = `${action}: ssl: ${part === null ? '' : `${part}: `}${words}`;
  const Class = error instanceof TypeError ? TypeError : error instanceof RangeError ? RangeError : Error;
  return coded(new Class(message, { cause: error }), typeof code === 'string' ? code : 'ERR_INVALID_ARG_VALUE');
}

/** The option that is also refused on its own, or the two that do not match; null if it cannot be determined. */
function blamed(options: object, code: unknown, raw: string): string | null {
  if (code === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH') return 'cert and key do not match';
  const given = options as Record<string, unknown>;
  for (const name of PARTS) {
    if (given[name] === undefined || given[name] === null) continue;
    const alone: Record<string, unknown> = { [name]: given[name] };
    const secret = name === 'key' || name === 'pfx';
    if (secret && given.passphrase !== undefined) alone.passphrase = given.passphrase;
    try {
      createSecureContext(alone);
    } catch {
      // A key that was decrypted with a wrong passphrase can, once in a few hundred times, look like a damaged one.
      const told = /decrypt|mac verify|passphrase|interrupted/i.test(raw);
      const locked = told || given.passphrase !== undefined || isEncrypted(given[name]);
      return secret && locked ? `${name} or its passphrase` : name;
    }
  }
  return null;
}

/** Whether the PEM of a key, or of one of several keys, says that it is encrypted. */
function isEncrypted(key: unknown): boolean {
  if (Array.isArray(key)) return key.some(isEncrypted);
  return (typeof key === 'string' || isBytes(key)) && Buffer.from(key as string).includes('ENCRYPTED');
}
