/**
 * Errors of TLS: what OpenSSL and Node say, as ours.
 *
 * Options that Node or OpenSSL refuses are one error of the call that was given them, which names the option where that can be
 * told; the code is theirs, and what they threw is the cause.
 *
 * A handshake that fails rejects with one `ConnectionError`: the message says what was done with whom, the code is the
 * reason's (`CERT_HAS_EXPIRED`, `ERR_TLS_CERT_ALTNAME_INVALID`, `ERR_SSL_...`, `ETIMEDOUT`, `ECONNRESET`), which is the cause. So
 * it is where a callback among the options is to blame: what it threw, or returned, is the cause then.
 *
 * TLS that fails after the handshake (a record that the peer did not send, an alert, a client certificate that a server of
 * TLS 1.3 refuses when the client is done already) is a `ConnectionError` of the same kind, for reads and for writes.
 */
import { createSecureContext, type TLSSocket } from 'node:tls';
import { inspect } from 'node:util';
import { isBytes } from '../checks.js';
import { ConnectionError, coded } from '../errors.js';
import { connectionError } from '../system-errors.js';

/** @param error - null when the connection was closed without one */
export function handshakeError(where: string, error: Error | null): ConnectionError {
  if (error === null) return new ConnectionError('ECONNRESET', `${where}: the peer has closed the connection`);
  const { code, errno } = error as NodeJS.ErrnoException;
  if (error instanceof CallbackFailure) {
    const { cause } = error;
    const { code: own } = (cause ?? {}) as { code?: unknown };
    const told = typeof own === 'string' && own !== '' ? own : 'ECONNABORTED';
    return new ConnectionError(told, `${where}: ${error.message}`, { cause });
  }
  // Node makes this one by itself when the end of the connection comes first.
  const ended = code === 'ECONNRESET' && errno === undefined;
  const failure = tlsFailure(error);
  const words = ended
    ? 'the peer has closed the connection'
    : (failure?.words.replace(/^TLS: /, '') ?? connectionError(error).message);
  return new ConnectionError(failure?.code ?? code ?? 'ECONNRESET', `${where}: ${words}`, { cause: error });
}

/** `[...:]error:0A000119:SSL routines:[function]:decryption failed or bad record mac[:file:line:...]` */
const OPENSSL_ERROR = /(?:^|[\s:])error:[\dA-F]+:([^:]*):[^:]*:([^:\n]+)/i;

/** What an error of TLS says, without what OpenSSL says of its own insides; null for any other error. */
export function tlsFailure(error: Error): { code: string; words: string } | null {
  const { code, reason } = error as { code?: unknown; reason?: unknown };
  const found = OPENSSL_ERROR.exec(error.message);
  const known = typeof code === 'string' && /^ERR_(?:O?SSL|TLS)_/.test(code);
  const told = typeof reason === 'string' && (known || found !== null) ? reason : found?.[2];
  if (told === undefined) return known ? { code, words: error.message } : null;
  // Where a write meets it Node calls it EPROTO, and names no reason.
  const named = known ? code : `ERR_SSL_${told.toUpperCase().replace(/\W+/g, '_')}`;
  return { code: named, words: `TLS: ${told}` };
}

/** A callback of the user's is to blame for a handshake that fails. What it threw, or told, is the cause. */
export class CallbackFailure extends Error {
  constructor(what: string, reason: unknown) {
    super(`${what}: ${reason instanceof Error ? reason.message : inspect(reason)}`, { cause: reason });
  }
}

/** A client whose certificate is refused is hung up on, and the reason is only to be found at its socket. */
export function clientError(error: Error, socket: TLSSocket | undefined): Error {
  // It is a code, whatever the types of Node say.
  const refused = socket?.authorizationError as unknown;
  if (typeof refused !== 'string') return error;
  return coded(new Error(`the certificate of the client is refused: ${refused}`), refused);
}

// ---------------------------------------------------------------------------------------------- options

/** What is handed to OpenSSL, which says what it dislikes, but not where it has found that. */
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

/** Options that are refused: `connect: ssl: cert: PEM routines: no start line`. */
export function refused(action: string, options: object, error: unknown, option: string | null = null): Error {
  const { code } = (error ?? {}) as { code?: unknown };
  const raw = error instanceof Error ? error.message : inspect(error);
  const found = OPENSSL_ERROR.exec(raw);
  // Where OpenSSL has left no reason, this is what Node makes of it.
  const reason = found === null ? raw : found[2] === 'reason(0)' ? 'refused by OpenSSL' : `${found[1]}: ${found[2]}`;
  const named = /\boptions\.(\w+)/.test(raw);
  const part = named ? null : (option ?? blamed(options, code, raw));
  const words = named ? reason.replace(/\boptions\./, '') : reason;
  const message = `${action}: ssl: ${part === null ? '' : `${part}: `}${words}`;
  const Class = error instanceof TypeError ? TypeError : error instanceof RangeError ? RangeError : Error;
  return coded(new Class(message, { cause: error }), typeof code === 'string' ? code : 'ERR_INVALID_ARG_VALUE');
}

/** The option that is refused also by itself, or the two that do not go together; null where that cannot be told. */
function blamed(options: object, code: unknown, raw: string): string | null {
  if (code === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH') return 'cert and key do not belong together';
  const given = options as Record<string, unknown>;
  for (const name of PARTS) {
    if (given[name] === undefined || given[name] === null) continue;
    const alone: Record<string, unknown> = { [name]: given[name] };
    const secret = name === 'key' || name === 'pfx';
    if (secret && given.passphrase !== undefined) alone.passphrase = given.passphrase;
    try {
      createSecureContext(alone);
    } catch {
      // What a wrong passphrase, or none, makes of a key may, once in some hundred times, look like one that is damaged.
      const told = /decrypt|mac verify|passphrase|interrupted/i.test(raw);
      const locked = told || given.passphrase !== undefined || isEncrypted(given[name]);
      return secret && locked ? `${name} or its passphrase` : name;
    }
  }
  return null;
}

/** Whether a key, or one of several, says in its PEM that it takes a passphrase. */
function isEncrypted(key: unknown): boolean {
  if (Array.isArray(key)) return key.some(isEncrypted);
  return (typeof key === 'string' || isBytes(key)) && Buffer.from(key as string).includes('ENCRYPTED');
}
