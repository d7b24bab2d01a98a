/**
 * How a client of Postgres logs in, without sockets: MD5, SCRAM-SHA-256 (RFC 5802, RFC 7677), and a password in clear text if the
 * connection is encrypted. Leaves out channel binding (SCRAM-SHA-256-PLUS), GSSAPI and SSPI. Client certificates belong to TLS.
 */
import { Buffer } from 'node:buffer';
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { ProtocolError, type Body } from './postgres.js';
import { message, password, saslInitial } from './requests.js';

const [OK, CLEAR_TEXT, MD5, SASL, SASL_CONTINUE, SASL_FINAL] = [0, 3, 5, 10, 11, 12];

/** A server could keep this process busy for hours. Postgres itself uses 4096 by default. */
const MAX_ITERATIONS = 1_000_000;

export interface Credentials {
  readonly user: string;
  readonly password?: string | undefined;
}

/** Answers the server's Authentication messages, in the order in which they may come. */
export class Login {
  readonly #credentials: Credentials;
  readonly #encrypted: boolean;
  #scram: Scram | null = null;
  /** The message that must come next; any: the server has not chosen a method yet. */
  #expected: number | 'any' | 'none' = 'any';

  constructor(credentials: Credentials, encrypted: boolean) {
    this.#credentials = credentials;
    this.#encrypted = encrypted;
  }

  /** Whether the server has accepted the client. */
  get done(): boolean {
    return this.#expected === 'none';
  }

  /** The answer to an Authentication message; null: it needs none. */
  async answer(body: Body): Promise<Buffer | null> {
    const type = body.int32();
    if (this.#expected !== 'any' && type !== this.#expected) {
      throw new ProtocolError(`Authentication message ${type} at the wrong time`);
    }
    switch (type) {
      case OK:
        body.end();
        this.#expected = 'none';
        return null;
      case CLEAR_TEXT:
        body.end();
        if (!this.#encrypted) throw new Error('postgres: the server asks for a clear text password without TLS');
        this.#expected = OK;
        return password(this.#password());
      case MD5: {
        const salt = body.bytes(4);
        body.end();
        this.#expected = OK;
        return password(md5Password(this.#credentials.user, this.#password(), salt));
      }
      case SASL: {
        const mechanisms: string[] = [];
        for (let name; (name = body.string()) !== '';) mechanisms.push(name);
        body.end();
        if (!mechanisms.includes('SCRAM-SHA-256')) {
          throw new Error(`postgres: the server supports none of our login methods, only ${mechanisms.join(', ')}`);
        }
        this.#scram = new Scram(this.#password());
        this.#expected = SASL_CONTINUE;
        return saslInitial('SCRAM-SHA-256', this.#scram.first);
      }
      case SASL_CONTINUE:
        if (this.#scram === null) break;
        this.#expected = SASL_FINAL;
        return message('p', await this.#scram.respond(body.bytes().toString()));
      case SASL_FINAL:
        if (this.#scram === null) break;
        this.#scram.verify(body.bytes().toString());
        this.#expected = OK;
        return null;
      default:
        throw new Error(`postgres: the server asks for login method ${type}, which is not supported`);
    }
    throw new ProtocolError(`Authentication message ${type} at the wrong time`);
  }

  #password(): string {
    if (this.#credentials.password === undefined) throw new TypeError('postgres: the server asks for a password');
    return this.#credentials.password;
  }
}

/** `md5`, and the hash of the salt and the hash that the server has stored. */
export function md5Password(user: string, password: string, salt: Uint8Array): string {
  const md5 = (...pieces: (string | Uint8Array)[]): string => {
    const hash = createHash('md5');
    for (const piece of pieces) hash.update(piece);
    return hash.digest('hex');
  };
  return `md5${md5(md5(password, user), salt)}`;
}

const deriveKey = promisify(pbkdf2);

/** The client's side of SCRAM-SHA-256. It also verifies that the server knows the password. */
export class Scram {
  /** The first message to the server. */
  readonly first: string;
  readonly #password: string;
  readonly #nonce: string;
  #signature: Buffer | null = null;

  /** @param user - Postgres ignores it, and uses the name in the first message of the connection. */
  constructor(password: string, user = '', nonce = randomBytes(18).toString('base64')) {
    this.#password = password.normalize('NFKC');
    this.#nonce = nonce;
    this.first = `n,,n=${user},r=${nonce}`; // without channel binding
  }

  /** The answer to the server's first message. */
  async respond(challenge: string): Promise<string> {
    const found = /^r=([^,]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9]\d{0,8})$/.exec(challenge);
    if (found === null) throw new ProtocolError('malformed challenge of SCRAM-SHA-256');
    const [, nonce, salt, iterations] = found as unknown as [string, string, string, string];
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length) {
      throw new ProtocolError('the challenge of SCRAM-SHA-256 does not continue our nonce');
    }
    if (Number(iterations) > MAX_ITERATIONS) {
      throw new ProtocolError(`SCRAM-SHA-256 with ${iterations} iterations, the maximum is ${MAX_ITERATIONS}`);
    }
    const salted = await deriveKey(this.#password, Buffer.from(salt, 'base64'), Number(iterations), 32, 'sha256');
    const clientKey = hmac(salted, 'Client Key');
    const storedKey = createHash('sha256').update(clientKey).digest();
    const withoutProof = `c=${Buffer.from('n,,').toString('base64')},r=${nonce}`;
    const signed = `${this.first.slice('n,,'.length)},${challenge},${withoutProof}`;
    const proof = hmac(storedKey, signed);
    for (let i = 0; i < proof.length; i++) proof[i]! ^= clientKey[i]!;
    this.#signature = hmac(hmac(salted, 'Server Key'), signed);
    return `${withoutProof},p=${proof.toString('base64')}`;
  }

  /** Checks the server's last message. */
  verify(final: string): void {
    if (final.startsWith('e=')) throw new Error(`postgres: SCRAM-SHA-256 failed: ${final.slice(2)}`);
    const found = /^v=([A-Za-z0-9+/]{43}=)$/.exec(final);
    const signature = Buffer.from(found?.[1] ?? '', 'base64');
    const expected = this.#signature ?? Buffer.of();
    if (signature.length !== 32 || expected.length !== 32 || !timingSafeEqual(signature, expected)) {
      throw new Error('postgres: the server does not know the password');
    }
  }
}

function hmac(key: Uint8Array, data: string): Buffer {
  return createHmac('sha256', key).update(data).digest();
}
