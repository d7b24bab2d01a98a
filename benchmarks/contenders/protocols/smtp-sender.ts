/** A client of SMTP that costs less than any server: it writes prepared bytes, and looks only at the codes of the replies. */
import { createHash, type Hash } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** A message as it is sent, and the address of its sender, from which the server knows what it must receive. */
export interface Mail {
  readonly from: string;
  /** With the dots that SMTP adds, and the line that ends the message. */
  readonly data: Buffer;
}

/**
 * @param text - lines that end with CR LF
 * @param hashed - whether the server also compares a hash
 */
export function mail(text: string, hashed = false): Mail {
  const hash = hashed ? `-${sha1(Buffer.from(text))}` : '';
  return {
    from: `${Buffer.byteLength(text)}${hash}@example.com`,
    data: Buffer.from(`${text.replace(/^\./gm, '..')}.\r\n`),
  };
}

function sha1(bytes: Buffer): string {
  return createHash('sha1').update(bytes).digest('hex');
}

/** What a server does with each message: counts its bytes, and compares the hash if the address of the sender has one. */
export class Receipt {
  #size = 0;
  readonly #expected: number;
  readonly #expectedHash: string | undefined;
  readonly #hash: Hash | null;

  constructor(from: string) {
    const [, size, hash] = /^(\d+)(?:-([\da-f]+))?@/.exec(from) ?? [];
    this.#expected = Number(size);
    this.#expectedHash = hash;
    this.#hash = hash === undefined ? null : createHash('sha1');
  }

  add(piece: Buffer): void {
    this.#size += piece.length;
    this.#hash?.update(piece);
  }

  /** Throws unless the message is the one that the address announces. */
  check(): void {
    if (this.#size !== this.#expected) throw new Error(`${this.#size} bytes, expected ${this.#expected}`);
    if (this.#hash?.digest('hex') !== this.#expectedHash) throw new Error('the message is not what was sent');
  }
}

/** A session that sends one message after another. */
export class Sender {
  readonly #socket: Socket;
  /** The codes of the replies that have arrived. */
  readonly #codes: string[] = [];
  #line = '';
  #wake = (): void => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1').on('data', (text: string) => {
      const lines = (this.#line + text).split('\r\n');
      this.#line = lines.pop()!;
      for (const line of lines) if (line[3] !== '-') this.#codes.push(line.slice(0, 3));
      this.#wake();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#codes.push('none, the connection is closed');
      this.#wake();
    });
  }

  /** Connects, and waits for the greeting. */
  static async connect(port: number): Promise<Sender> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    const sender = new Sender(socket);
    await sender.#expect('220');
    socket.write('EHLO example.com\r\n');
    await sender.#expect('250');
    return sender;
  }

  /** Sends a message, and resolves with the code of its reply. */
  async send({ from, data }: Mail): Promise<string> {
    this.#socket.write(`MAIL FROM:<${from}>\r\nRCPT TO:<you@example.com>\r\nDATA\r\n`);
    await this.#expect('250', '250', '354');
    this.#socket.write(data);
    return this.#code();
  }

  close(): void {
    this.#socket.destroy();
  }

  async #expect(...codes: readonly string[]): Promise<void> {
    for (const expected of codes) {
      const code = await this.#code();
      if (code !== expected) throw new Error(`the reply is ${code}, expected ${expected}`);
    }
  }

  async #code(): Promise<string> {
    while (this.#codes.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.#codes.shift()!;
  }
}
