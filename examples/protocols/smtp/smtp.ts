/**
 * SMTP on the side of the receiver, without a socket (RFC 5321, 1870, 2920, 3207, 4954): lines go in, replies come out.
 *
 * {@link SmtpSession} is the dialogue. Each command line has a reply, and may have something to do after it: read the message, change
 * to TLS, check a password, close. {@link MessageReader} is the message itself, with the dots removed that SMTP adds.
 *
 * A line ends with CR LF and nothing else. A message that has a line feed alone is refused, and so is one that has a carriage return alone
 * next to a dot: servers that disagree about where a message ends can be made to accept forged ones ("SMTP smuggling").
 */

/** What the server does after the reply. */
export type Next =
  | { readonly action: 'command' | 'data' | 'tls' | 'close' }
  | { readonly action: 'authenticate'; readonly user: string; readonly password: string };

/** The reply to a line; empty if there is none yet. */
export interface Step {
  readonly reply: string;
  readonly next: Next;
}

export interface Envelope {
  readonly from: string;
  readonly recipients: readonly string[];
  /** Who has logged in, or null. */
  readonly user: string | null;
}

export interface SessionOptions {
  /** The name of this server, for the greeting. */
  readonly hostname: string;
  /** The longest message, in bytes. */
  readonly maxSize: number;
  /** Whether STARTTLS is offered. */
  readonly tls: boolean;
  /** Whether the client may log in, and whether it must before it sends. */
  readonly login: 'none' | 'offered' | 'required';
  /** Returns why an address is refused, or null. */
  readonly refuse?: ((address: string) => string | null) | undefined;
}

const MAX_RECIPIENTS = 100;
/** The session ends after this many commands that were refused. */
const MAX_ERRORS = 20;
/** The longest command line, in bytes. RFC 4954 requires 12,288 for AUTH; all others are shorter. */
export const MAX_COMMAND = 12_288;

const COMMAND: Next = { action: 'command' };

export class SmtpSession {
  readonly #options: SessionOptions;
  #secure: boolean;
  #greeted = false;
  #user: string | null = null;
  /** Null before MAIL. */
  #from: string | null = null;
  #recipients: string[] = [];
  /** The answer that AUTH waits for, and for LOGIN the name that has come before. */
  #awaits: 'plain' | 'name' | { name: string } | null = null;
  #errors = 0;

  constructor(options: SessionOptions, secure = false) {
    this.#options = options;
    this.#secure = secure;
  }

  get greeting(): string {
    return `220 ${this.#options.hostname} ESMTP\r\n`;
  }

  get envelope(): Envelope {
    return { from: this.#from ?? '', recipients: this.#recipients, user: this.#user };
  }

  /** Takes one line, without its CR LF. */
  line(bytes: Uint8Array): Step {
    if (bytes.length > MAX_COMMAND) return this.#refuse('500 5.5.2 The line is too long');
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
    // Addresses are shown to people, and U+2028 and U+2029 are line ends for some programs.
    if (/[\p{Cc}\p{Zl}\p{Zp}]/u.test(text))
      return this.#refuse('500 5.5.2 A command must not contain control characters');
    if (this.#awaits !== null) return this.#credentials(text);
    const space = text.indexOf(' ');
    const verb = space === -1 ? text : text.slice(0, space);
    const argument = space === -1 ? '' : text.slice(space).trim();
    switch (verb.toUpperCase()) {
      case 'EHLO':
      case 'HELO':
        return this.#hello(verb.toUpperCase() === 'EHLO', argument);
      case 'STARTTLS':
        return this.#startTls(argument);
      case 'AUTH':
        return this.#auth(argument);
      case 'MAIL':
        return this.#mail(argument);
      case 'RCPT':
        return this.#recipient(argument);
      case 'DATA':
        if (argument !== '') return this.#refuse('501 5.5.4 DATA has no argument');
        if (this.#recipients.length === 0) return this.#refuse('503 5.5.1 RCPT first');
        return { reply: '354 End with a line that has only a dot\r\n', next: { action: 'data' } };
      case 'RSET':
        this.#reset();
        return ok('250 2.0.0 Reset');
      case 'NOOP':
        return ok('250 2.0.0 Nothing done');
      case 'VRFY':
        return ok('252 2.1.5 Send a message to find out');
      case 'QUIT':
        return { reply: `221 2.0.0 ${this.#options.hostname} closes\r\n`, next: { action: 'close' } };
      default:
        return this.#refuse('500 5.5.1 Unknown command');
    }
  }

  /** The connection is encrypted now: everything said before is forgotten. */
  secured(): void {
    this.#secure = true;
    this.#greeted = false;
    this.#user = null;
    this.#reset();
  }

  /** The answer to the action `authenticate`; undefined if the password could not be checked. */
  authenticated(user: string | null | undefined): Step {
    if (user === undefined) return ok('454 4.7.0 The password cannot be checked now');
    this.#user = user;
    return user === null ? this.#refuse('535 5.7.8 Wrong name or password') : ok('235 2.7.0 Logged in');
  }

  /** The answer to a message: `refusal` is the reply without its line end, or null if the message is accepted. */
  received(refusal: string | null): Step {
    this.#reset();
    return refusal === null ? ok('250 2.0.0 Accepted') : this.#refuse(refusal);
  }

  #hello(extended: boolean, name: string): Step {
    if (name === '') return this.#refuse('501 5.5.4 The name of the client is missing');
    this.#reset();
    this.#greeted = true;
    const { hostname, maxSize, tls } = this.#options;
    if (!extended) return ok(`250 ${hostname}`);
    const lines = [hostname, 'PIPELINING', `SIZE ${maxSize}`, '8BITMIME', 'SMTPUTF8', 'ENHANCEDSTATUSCODES'];
    if (tls && !this.#secure) lines.push('STARTTLS');
    if (this.#offersLogin) lines.push('AUTH PLAIN LOGIN');
    const last = lines.pop() as string;
    return ok([...lines.map((line) => `250-${line}`), `250 ${last}`].join('\r\n'));
  }

  /** Passwords are accepted only over TLS, where this server has it. */
  get #offersLogin(): boolean {
    return this.#options.login !== 'none' && (this.#secure || !this.#options.tls);
  }

  #startTls(argument: string): Step {
    if (!this.#options.tls || this.#secure) return this.#refuse('503 5.5.1 TLS is not available');
    if (argument !== '') return this.#refuse('501 5.5.4 STARTTLS has no argument');
    return { reply: '220 2.0.0 Begin TLS\r\n', next: { action: 'tls' } };
  }

  #auth(argument: string): Step {
    if (!this.#greeted) return this.#refuse('503 5.5.1 EHLO first');
    if (!this.#offersLogin) return this.#refuse('503 5.5.1 AUTH is not available');
    if (this.#user !== null || this.#from !== null) return this.#refuse('503 5.5.1 AUTH is not possible now');
    const [method = '', initial] = argument.split(/\s+/);
    switch (method.toUpperCase()) {
      case 'PLAIN':
        this.#awaits = 'plain';
        return initial === undefined ? challenge('') : this.#credentials(initial);
      case 'LOGIN':
        this.#awaits = 'name';
        return initial === undefined ? challenge('Username:') : this.#credentials(initial);
      default:
        return this.#refuse('504 5.5.4 Unknown method');
    }
  }

  #credentials(answer: string): Step {
    const awaits = this.#awaits;
    this.#awaits = null;
    if (answer === '*') return this.#refuse('501 5.7.0 Cancelled');
    if (!/^(=|[A-Za-z0-9+/]*={0,2})$/.test(answer)) return this.#refuse('501 5.5.2 That is not Base64');
    const decoded = Buffer.from(answer, 'base64').toString('utf8');
    if (awaits === 'name') {
      this.#awaits = { name: decoded };
      return challenge('Password:');
    }
    if (awaits !== 'plain') return credentials((awaits as { name: string }).name, decoded);
    const [, user, password, ...rest] = decoded.split('\0');
    if (user === undefined || password === undefined || rest.length > 0) {
      return this.#refuse('501 5.5.2 AUTH PLAIN needs a name and a password');
    }
    return credentials(user, password);
  }

  #mail(argument: string): Step {
    if (!this.#greeted) return this.#refuse('503 5.5.1 EHLO first');
    if (this.#from !== null) return this.#refuse('503 5.5.1 There is a sender already');
    if (this.#options.login === 'required' && this.#user === null) return this.#refuse('530 5.7.0 AUTH first');
    const path = parsePath('FROM', argument);
    if (path === null) return this.#refuse('501 5.5.4 Expected MAIL FROM:<address>');
    for (const parameter of path.parameters) {
      const [, size] = /^SIZE=(\d{1,20})$/i.exec(parameter) ?? [];
      if (size !== undefined && Number(size) > this.#options.maxSize)
        return this.#refuse(tooLarge(this.#options.maxSize));
      if (size === undefined && !/^(BODY=(7BIT|8BITMIME)|SMTPUTF8|AUTH=\S+)$/i.test(parameter)) {
        return this.#refuse('555 5.5.4 Unknown parameter');
      }
    }
    this.#from = path.address;
    return ok('250 2.1.0 Sender accepted');
  }

  #recipient(argument: string): Step {
    if (this.#from === null) return this.#refuse('503 5.5.1 MAIL first');
    const path = parsePath('TO', argument);
    if (path === null || path.address === '') return this.#refuse('501 5.5.4 Expected RCPT TO:<address>');
    if (path.parameters.length > 0) return this.#refuse('555 5.5.4 Unknown parameter');
    if (this.#recipients.length === MAX_RECIPIENTS) return this.#refuse('452 4.5.3 Too many recipients');
    const refusal = this.#options.refuse?.(path.address) ?? null;
    if (refusal !== null) return this.#refuse(`550 5.1.1 ${refusal}`);
    this.#recipients.push(path.address);
    return ok('250 2.1.5 Recipient accepted');
  }

  #reset(): void {
    this.#from = null;
    this.#recipients = [];
  }

  #refuse(reply: string): Step {
    if (++this.#errors < MAX_ERRORS) return ok(reply);
    return { reply: `${reply}\r\n421 4.7.0 Too many errors\r\n`, next: { action: 'close' } };
  }
}

function ok(reply: string): Step {
  return { reply: `${reply}\r\n`, next: COMMAND };
}

function challenge(text: string): Step {
  return { reply: `334 ${Buffer.from(text).toString('base64')}\r\n`, next: COMMAND };
}

function credentials(user: string, password: string): Step {
  return { reply: '', next: { action: 'authenticate', user, password } };
}

export function tooLarge(maxSize: number): string {
  return `552 5.3.4 A message may have ${maxSize} bytes at most`;
}

/** Parses `FROM:<address> parameters` and `TO:<address> parameters`. A source route before the address is ignored, as RFC 5321 asks. */
function parsePath(keyword: string, argument: string): { address: string; parameters: string[] } | null {
  const path = /^(\w+):\s?<(?:@[^\s<>:]+:)?((?:"[^"<>]*"|[^\s<>"])*)>(?:\s+(.*))?$/.exec(argument);
  if (path === null || path[1]?.toUpperCase() !== keyword) return null;
  const [, , address = '', rest = ''] = path;
  return { address, parameters: rest.split(/\s+/).filter((word) => word !== '') };
}
