/** The commands of a server, found by their name in place: no string is made of it. */
import { MAX_MESSAGE, type Output, OverflowError } from './output.js';
import type { RequestParser } from './requests.js';

/** Executes a request, and adds the reply to the output. `client` is what the server knows about the connection. */
export type Run<Client> = (request: RequestParser, output: Output, client: Client) => void;

/** Something that the client has done wrong; the message begins with the code of the error, such as `ERR`. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

interface Command<Client> {
  readonly name: string;
  readonly letters: Uint8Array;
  /** How many words a request has, at least and at most. */
  readonly least: number;
  readonly most: number;
  readonly run: Run<Client>;
}

/** Of a letter in either case. */
const UPPER_CASE = 0xdf;
const SLOTS = 1024;

export class Commands<Client> {
  readonly #slots: Command<Client>[][] = Array.from({ length: SLOTS }, () => []);
  readonly #check: (name: string, client: Client) => void;

  /** @param check - throws a {@link CommandError} if the client may not call the command now */
  constructor(check: (name: string, client: Client) => void) {
    this.#check = check;
  }

  /** Adds a command. `least` and `most` are how many words a request has, its name included. */
  add(name: string, least: number, most: number, run: Run<Client>): void {
    const letters = Buffer.from(name);
    this.#slot(letters, 0, letters.length).push({ name, letters, least, most, run });
  }

  /** Executes a request. The client may have got it wrong; then the reply is an error. */
  execute(request: RequestParser, output: Output, client: Client): void {
    const command = this.#find(request.bytes, request.begin(0), request.end(0));
    const { count } = request;
    if (command === null) output.simple('-', `ERR unknown command '${request.text(0).slice(0, 64)}'`);
    else if (count < command.least || count > command.most)
      output.simple('-', `ERR wrong number of arguments for '${command.name.toLowerCase()}' command`);
    else {
      const before = output.begin();
      try {
        this.#check(command.name, client);
        command.run(request, output, client);
      } catch (error) {
        if (!(error instanceof CommandError || error instanceof OverflowError)) throw error;
        output.truncate(before);
        const tooLong = `ERR the reply is longer than ${MAX_MESSAGE} bytes`;
        output.simple('-', error instanceof CommandError ? error.message : tooLong);
      }
    }
  }

  #find(bytes: Buffer, begin: number, end: number): Command<Client> | null {
    const length = end - begin;
    if (length === 0) return null;
    search: for (const command of this.#slot(bytes, begin, end)) {
      const { letters } = command;
      if (letters.length !== length) continue;
      for (let i = 0; i < length; i++) if ((bytes[begin + i]! & UPPER_CASE) !== letters[i]) continue search;
      return command;
    }
    return null;
  }

  /** Commands with the same first and last letter share a slot. */
  #slot(bytes: Uint8Array, begin: number, end: number): Command<Client>[] {
    return this.#slots[((bytes[begin]! & 31) << 5) | (bytes[end - 1]! & 31)]!;
  }
}
