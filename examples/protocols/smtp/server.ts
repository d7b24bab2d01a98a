/**
 * A server that receives mail: ESMTP with pipelining, STARTTLS, AUTH, SIZE, and limits.
 *
 *     node out/examples/protocols/smtp/server.js [PORT [HOST [CERT_FILE KEY_FILE]]]
 *
 *     swaks --server 127.0.0.1:2525 --from me@example.com --to you@example.com
 *
 * Prints a line for each message. It delivers nothing: `onMessage` is where that begins. It receives the message while it arrives, for
 * example to write it to a file, so a connection needs little memory however long its messages are.
 */
import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import {
  IncompleteReadError,
  LimitOverrunError,
  StreamServer,
  TimeoutError,
  type Frames,
  type ServerErrorHandler,
  type Stream,
} from 'sluice';
import { IncomingMessage, LINES } from './incoming.js';
import { SmtpSession, tooLarge, type Envelope, type Step } from './smtp.js';

export interface SmtpOptions {
  readonly hostname?: string;
  /** The longest message, in bytes; default 32 MiB. */
  readonly maxSize?: number;
  /** For STARTTLS. Without it, it is not offered. */
  readonly ssl?: { readonly cert: string | Buffer; readonly key: string | Buffer };
  /**
   * Checks a password; resolves with the name of the user, or null. If it rejects, the client is asked to try again later. Without it, AUTH
   * is not offered.
   */
  readonly authenticate?: (user: string, password: string) => PromiseLike<string | null>;
  /** Whether a client must log in before it sends. */
  readonly loginRequired?: boolean;
  /** Why an address gets no mail here, or null. */
  readonly refuse?: (address: string) => string | null;
  /** How long a client may take for a line, in ms; default 5 minutes, as RFC 5321 asks. */
  readonly timeout?: number;
  /**
   * Receives a message while it arrives. If this resolves, and the message is valid, it counts as accepted. If it throws or rejects, the
   * client is asked to try again later.
   */
  readonly onMessage: (envelope: Envelope, message: IncomingMessage) => PromiseLike<void> | void;
  /**
   * Receives what `onMessage` and `authenticate` throw or reject with; the session goes on. Default: `console.error`. A server of
   * {@link smtpServer} also passes it all that `onError` of `StreamServer` receives: why a session has ended early, for example.
   */
  readonly onError?: ServerErrorHandler;
}

const CR = 0x0d;
const TIMEOUT_MS = 300_000;

/** One client. */
class Connection {
  readonly #stream: Stream;
  readonly #options: SmtpOptions;
  readonly #session: SmtpSession;
  readonly #maxSize: number;
  readonly #wait: { timeout: number };

  constructor(stream: Stream, options: SmtpOptions) {
    const {
      hostname = 'localhost',
      maxSize = 32 * 2 ** 20,
      timeout = TIMEOUT_MS,
      ssl,
      authenticate,
      loginRequired,
      refuse,
    } = options;
    this.#stream = stream;
    this.#options = options;
    this.#maxSize = maxSize;
    this.#wait = { timeout };
    const login = authenticate === undefined ? 'none' : loginRequired === true ? 'required' : 'offered';
    this.#session = new SmtpSession({ hostname, maxSize, tls: ssl !== undefined, login, refuse });
  }

  async serve(): Promise<void> {
    const stream = this.#stream;
    void stream.write(this.#session.greeting);
    for (let frames; (frames = await stream.readframes(LINES, this.#wait)).length > 0;) {
      // A client that pipelines sends many commands at once. Their replies leave together, when this function waits.
      if (!(await this.#commands(frames))) return;
      await stream.drain(this.#wait);
    }
  }

  /** Answers commands that have arrived together. Returns whether more are expected. */
  async #commands(frames: Frames): Promise<boolean> {
    const { bytes, ends } = frames;
    let start = 0;
    for (let i = 0; i < ends.length; i++) {
      const end = ends[i] as number;
      if (bytes[end - 2] !== CR) {
        void this.#stream.write('521 5.5.2 Lines end with CR LF\r\n');
        return false;
      }
      const step = this.#session.line(bytes.subarray(start, end - 2));
      void this.#stream.write(step.reply);
      start = end;
      const { action } = step.next;
      if (action === 'close') return false;
      if (action === 'command') continue;
      // What follows needs the stream: the commands after this one are read again afterwards.
      frames.unread(i + 1);
      return this.#perform(step);
    }
    return true;
  }

  async #perform({ next }: Step): Promise<boolean> {
    switch (next.action) {
      case 'data':
        return this.#message();
      case 'tls':
        // Rejects, and closes the stream, if the client has sent more: it was not encrypted, and could be from anybody.
        await this.#stream.startTls(this.#options.ssl!);
        this.#session.secured();
        return true;
      case 'authenticate': {
        let user: string | null | undefined;
        try {
          user = await this.#options.authenticate!(next.user, next.password);
        } catch (error) {
          // Not an error of this connection, although it may look like one.
          void this.#report(error);
        }
        return this.#answer(this.#session.authenticated(user));
      }
      default:
        return next.action === 'command';
    }
  }

  async #message(): Promise<boolean> {
    const message = new IncomingMessage(this.#stream, this.#maxSize, this.#wait);
    let refusal: string | null = null;
    try {
      await this.#options.onMessage(this.#session.envelope, message);
    } catch (error) {
      refusal = '451 4.3.0 The message could not be stored';
      if (!message.hasThrown(error)) void this.#report(error);
    }
    const problem = await message.end();
    if (problem === 'bare line end') {
      // What follows may be a part of the message, and must not be taken for commands.
      void this.#stream.write('521 5.5.2 Lines end with CR LF\r\n');
      return false;
    }
    if (problem === 'too large') refusal = tooLarge(this.#maxSize);
    const answered = this.#answer(this.#session.received(refusal));
    return answered && message.complete;
  }

  async #report(error: unknown): Promise<void> {
    const { onError = (): void => console.error(error) } = this.#options;
    try {
      await onError(error, this.#stream);
    } catch (failure) {
      console.error(failure, error);
    }
  }

  #answer({ reply, next }: Step): boolean {
    void this.#stream.write(reply);
    return next.action !== 'close';
  }
}

/** The handler of a server that receives mail. It rejects with the error that has ended the session, once the client has its answer. */
export function receiver(options: SmtpOptions): (stream: Stream) => Promise<void> {
  return async (stream) => {
    try {
      await new Connection(stream, options).serve();
    } catch (error) {
      if (error instanceof LimitOverrunError) void stream.write('500 5.5.2 The line is too long\r\n');
      else if (error instanceof TimeoutError) {
        if (stream.writeBufferSize === 0) void stream.write('421 4.4.2 Nothing was received for too long\r\n');
        else void stream.abort(); // the client reads no answers
      } else if (!(error instanceof IncompleteReadError)) throw error;
      await stream.close().catch(() => {}); // what was written is sent, although the handler fails
      throw error;
    }
  };
}

/** A server that receives mail, not started yet. */
export function smtpServer(options: SmtpOptions, host: string, port: number): StreamServer {
  const limits = { maxConnections: 1000, maxConnectionsPerAddress: 100, writeTimeout: options.timeout ?? TIMEOUT_MS };
  return new StreamServer(receiver(options), host, port, { ...limits, onError: options.onError });
}

async function main([port = '2525', host = '127.0.0.1', certFile, keyFile]: readonly string[]): Promise<void> {
  const ssl =
    certFile === undefined || keyFile === undefined
      ? undefined
      : { cert: await readFile(certFile), key: await readFile(keyFile) };
  const onMessage: SmtpOptions['onMessage'] = async ({ from, recipients }, message) => {
    let size = 0;
    for await (const piece of message) size += piece.length;
    console.log(`${size} bytes from <${from}> to ${recipients.map((address) => `<${address}>`).join(', ')}`);
  };
  const onError = (error: unknown): void => console.error(String(error));
  await using server = smtpServer({ ...(ssl && { ssl }), onMessage, onError }, host, Number(port));
  await server.startServing();
  console.log(`Receiving on ${host}:${server.address()!.port}`);
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  await server.serveForever({ signal: stop.signal, drain: 10_000 }).catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main(process.argv.slice(2));
