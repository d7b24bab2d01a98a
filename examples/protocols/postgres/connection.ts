/** Opens a connection to a Postgres server: TCP or a Unix socket, TLS if wanted, and the login. */
import { connect, connectUnix, type ClientSsl, type Stream } from 'sluice';
import { Login } from './login.js';
import { Body, HEADER, PostgresError, ProtocolError, errorFields, messages } from './postgres.js';
import { unsolicited, type OnNotice, type Session } from './reply.js';
import { sslRequest, startup } from './requests.js';

export interface Options {
  /** A name, an address, or the folder of a Unix socket. Default 127.0.0.1. */
  readonly host?: string | undefined;
  /** Default 5432. */
  readonly port?: number | undefined;
  readonly user: string;
  readonly password?: string | undefined;
  /** Default: the name of the user. */
  readonly database?: string | undefined;
  /** Encrypts the connection: `true`, or options of `tls.connect`. The server's certificate is verified unless they say otherwise. */
  readonly ssl?: ClientSsl | undefined;
  /** The name in the server's certificate. Default: the host. */
  readonly serverHostname?: string | undefined;
  /** The most milliseconds that each step of connecting may take. Default 10000. */
  readonly timeout?: number | undefined;
  /** The longest message, and so the longest row, in bytes. Default 64 MiB. */
  readonly maxMessage?: number | undefined;
  /** The most bytes that the rows of one `query` may have. Default 1 GiB. Rows that are read in batches have no bound. */
  readonly maxResult?: number | undefined;
  /** Is called with each notice of the server, such as that of `RAISE NOTICE`: M is the message. */
  readonly onNotice?: OnNotice | undefined;
  /** Receives what `onNotice` throws or rejects with. The connection goes on. Default `console.error`. */
  readonly onError?: ((error: unknown) => void | PromiseLike<void>) | undefined;
}

/** A connection that the server has accepted, and what identifies it for a request to cancel. */
export interface Connection {
  readonly stream: Stream;
  readonly session: Session;
  readonly pid: number;
  readonly key: number;
}

/** The longest message before the login is complete. */
const STARTUP = messages(65536);
export const DEFAULT_TIMEOUT_MS = 10_000;

/** `postgres://user:password@host:port/database?sslmode=disable|require|verify-full`; everything but the user may be missing. */
export function fromUrl(url: string): Options {
  const { protocol, username, password, hostname, port, pathname, searchParams } = new URL(url);
  if (!/^postgres(ql)?:$/.test(protocol)) throw new TypeError(`not a URL of Postgres: ${protocol}`);
  const mode = searchParams.get('sslmode') ?? 'disable';
  const modes: Record<string, ClientSsl | undefined> = { 'verify-full': true, require: { rejectUnauthorized: false } };
  if (mode !== 'disable' && modes[mode] === undefined) throw new TypeError(`sslmode=${mode} is not supported`);
  return {
    user: decodeURIComponent(username),
    password: password === '' ? undefined : decodeURIComponent(password),
    host: searchParams.get('host') ?? (hostname === '' ? undefined : hostname.replace(/^\[|\]$/g, '')),
    port: port === '' ? undefined : Number(port),
    database: pathname.length > 1 ? decodeURIComponent(pathname.slice(1)) : undefined,
    ssl: modes[mode],
  };
}

/** Connects, without the login; also for a request to cancel. */
export async function open(options: Options): Promise<Stream> {
  const { host = '127.0.0.1', port = 5432, ssl, timeout = DEFAULT_TIMEOUT_MS } = options;
  const unix = host.startsWith('/');
  const stream = await (unix ? connectUnix(`${host}/.s.PGSQL.${port}`, { timeout }) : connect(host, port, { timeout }));
  if (ssl === undefined) return stream;
  try {
    void stream.write(sslRequest());
    const answer = (await stream.readexactly(1, { timeout })).toString('latin1');
    // What an attacker might have sent after the answer is refused by startTls.
    if (answer !== 'S')
      throw new Error(`postgres: the server does not support TLS: it answered ${JSON.stringify(answer)}`);
    await stream.startTls(ssl, { timeout, serverHostname: options.serverHostname ?? (unix ? 'localhost' : host) });
    return stream;
  } catch (error) {
    await stream.abort();
    throw error;
  }
}

/** Connects and logs in. */
export async function openSession(options: Options): Promise<Connection> {
  const stream = await open(options);
  try {
    return await logIn(stream, options);
  } catch (error) {
    await stream.abort();
    throw error;
  }
}

async function logIn(stream: Stream, options: Options): Promise<Connection> {
  const { user, database = user, ssl, timeout = DEFAULT_TIMEOUT_MS, onNotice, onError } = options;
  const session: Session = { parameters: new Map(), transaction: 'I', onNotice, onError };
  const login = new Login(options, ssl !== undefined);
  let [pid, key] = [0, 0];
  void stream.write(startup({ user, database, client_encoding: 'UTF8' }));
  // A server may send notices and parameters for ever: the timeout is one for all messages.
  const until = Date.now() + timeout;
  const next = (): Promise<Buffer | null> => stream.readframe(STARTUP, { timeout: Math.max(0, until - Date.now()) });
  for (let frame; (frame = await next()) !== null;) {
    const type = String.fromCharCode(frame[0]!);
    const body = new Body(`message ${JSON.stringify(type)}`, frame, HEADER, frame.length);
    if (type === 'E') throw new PostgresError(errorFields(body));
    if (type === 'R' && !login.done) {
      const answer = await login.answer(body);
      if (answer !== null) void stream.write(answer);
    } else if (type === 'K' && login.done) {
      [pid, key] = [body.int32(), body.int32()];
      body.end();
    } else if (type === 'Z' && login.done) {
      if (body.byte() !== 0x49) throw body.malformed('a transaction is open');
      body.end();
      return { stream, session, pid, key };
    } else if (type !== 'v' && !unsolicited(type, body, session)) {
      // 'v' lists options of the protocol that the server does not know. None was sent.
      throw new ProtocolError(`unexpected message ${JSON.stringify(type)} during the login`);
    }
  }
  throw new Error('postgres: the server closed the connection during the login');
}
