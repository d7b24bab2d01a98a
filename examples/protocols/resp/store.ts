/**
 * The data of a server: strings and lists, and the commands on them.
 *
 * A value is kept as it arrives and as it is sent, `$3\r\nabc\r\n`: `GET` and `LRANGE` copy it to the output without a look at it.
 */
import { CommandError, type Commands } from './commands.js';
import { List } from './list.js';
import { LENT_BYTES, copy, type Output } from './output.js';
import type { RequestParser } from './requests.js';
import { Texts } from './texts.js';

/** An encoded string: as a string if it is short, with one character for each byte, because that takes a tenth of the memory of a `Buffer`. */
type Value = string | Buffer;

const SHORT = 64;
const OK = '+OK\r\n';
const NULL = { 2: '$-1\r\n', 3: '_\r\n' } as const;

/** What the replies of a client depend on. */
export interface Protocol {
  readonly protocol: 2 | 3;
}

export class Store {
  readonly #entries = new Map<string, Value | List<Value>>();
  readonly #keys = new Texts();
  readonly #values = new Texts();

  /** Adds the commands on this data to those of a server. */
  addTo<Client extends Protocol>(commands: Commands<Client>): void {
    const any = Infinity;
    commands.add('GET', 2, 2, (request, output, client) =>
      this.#reply(output, this.#string(this.#key(request, 1)), client),
    );
    commands.add('SET', 3, 4, (request, output, client) => this.#setIf(request, output, client));
    commands.add('MSET', 3, any, (request, output) => {
      if (request.count % 2 === 0) throw new CommandError("ERR wrong number of arguments for 'mset' command");
      for (let i = 1; i < request.count; i += 2) this.#set(this.#key(request, i), request, i + 1);
      output.latin1(OK);
    });
    commands.add('MGET', 2, any, (request, output, client) => {
      output.line('*', request.count - 1);
      for (let i = 1; i < request.count; i++) {
        const found = this.#entries.get(this.#key(request, i));
        this.#reply(output, found instanceof List ? undefined : found, client);
      }
    });
    commands.add('STRLEN', 2, 2, (request, output) => {
      const found = this.#string(this.#key(request, 1));
      output.line(':', found === undefined ? 0 : contentOf(found).length);
    });
    commands.add('INCR', 2, 2, (request, output) => this.#increase(request, output, 1));
    commands.add('DECR', 2, 2, (request, output) => this.#increase(request, output, -1));
    commands.add('INCRBY', 3, 3, (request, output) => this.#increase(request, output, integer(request, 2)));
    commands.add('LPUSH', 3, any, (request, output) => this.#push(request, output, true));
    commands.add('RPUSH', 3, any, (request, output) => this.#push(request, output, false));
    commands.add('LPOP', 2, 2, (request, output, client) => this.#pop(request, output, client, true));
    commands.add('RPOP', 2, 2, (request, output, client) => this.#pop(request, output, client, false));
    commands.add('LLEN', 2, 2, (request, output) => output.line(':', this.#list(this.#key(request, 1))?.length ?? 0));
    commands.add('LRANGE', 4, 4, (request, output) => this.#range(request, output));
    commands.add('TYPE', 2, 2, (request, output) => {
      const found = this.#entries.get(this.#key(request, 1));
      output.simple('+', found === undefined ? 'none' : found instanceof List ? 'list' : 'string');
    });
    commands.add('DEL', 2, any, (request, output) =>
      this.#count(request, output, (name) => this.#entries.delete(name)),
    );
    commands.add('EXISTS', 2, any, (request, output) =>
      this.#count(request, output, (name) => this.#entries.has(name)),
    );
    commands.add('DBSIZE', 1, 1, (_request, output) => output.line(':', this.#entries.size));
    for (const name of ['FLUSHALL', 'FLUSHDB']) {
      commands.add(name, 1, 2, (_request, output) => {
        this.#entries.clear();
        output.latin1(OK);
      });
    }
  }

  #string(name: string): Value | undefined {
    const found = this.#entries.get(name);
    if (found instanceof List) throw wrongType();
    return found;
  }

  #list(name: string): List<Value> | undefined {
    const found = this.#entries.get(name);
    if (found !== undefined && !(found instanceof List)) throw wrongType();
    return found;
  }

  #reply(output: Output, value: Value | undefined, { protocol }: Protocol): void {
    if (value === undefined) output.latin1(NULL[protocol]);
    else put(output, value);
  }

  #setIf(request: RequestParser, output: Output, client: Protocol): void {
    const name = this.#key(request, 1);
    if (request.count === 4) {
      const condition = request.text(3).toUpperCase();
      if (condition !== 'NX' && condition !== 'XX') throw new CommandError('ERR syntax error');
      if (this.#entries.has(name) !== (condition === 'XX')) {
        this.#reply(output, undefined, client);
        return;
      }
    }
    this.#set(name, request, 2);
    output.latin1(OK);
  }

  #set(name: string, request: RequestParser, i: number): void {
    const begin = request.encoded(i);
    const end = request.end(i) + 2;
    const old = this.#entries.get(name);
    // Another value of the same length uses the same memory, unless a reply that is being sent may refer to it.
    if (old instanceof Buffer && old.length === end - begin && old.length <= LENT_BYTES) {
      copy(request.bytes, begin, end, old, 0);
      return;
    }
    const value = this.#value(request, i);
    if (value !== old) this.#entries.set(name, value);
  }

  #increase(request: RequestParser, output: Output, by: number): void {
    const name = this.#key(request, 1);
    const old = this.#string(name);
    const sum = (old === undefined ? 0 : safeInteger(contentOf(old).toString('latin1'))) + by;
    if (!Number.isSafeInteger(sum)) throw new CommandError('ERR increment or decrement would overflow');
    const text = String(sum);
    this.#entries.set(name, `$${text.length}\r\n${text}\r\n`);
    output.line(':', sum);
  }

  #push(request: RequestParser, output: Output, left: boolean): void {
    const name = this.#key(request, 1);
    let list = this.#list(name);
    if (list === undefined) this.#entries.set(name, (list = new List()));
    for (let i = 2; i < request.count; i++) {
      const value = this.#value(request, i);
      if (left) list.unshift(value);
      else list.push(value);
    }
    output.line(':', list.length);
  }

  #pop(request: RequestParser, output: Output, client: Protocol, left: boolean): void {
    const name = this.#key(request, 1);
    const list = this.#list(name);
    this.#reply(output, left ? list?.shift() : list?.pop(), client);
    if (list?.length === 0) this.#entries.delete(name);
  }

  #range(request: RequestParser, output: Output): void {
    const list = this.#list(this.#key(request, 1));
    const length = list?.length ?? 0;
    const from = (index: number): number => (index < 0 ? length + index : index);
    const first = Math.max(from(integer(request, 2)), 0);
    const last = Math.min(from(integer(request, 3)), length - 1);
    output.line('*', Math.max(last - first + 1, 0));
    for (let i = first; i <= last; i++) put(output, list!.at(i)!);
  }

  #count(request: RequestParser, output: Output, counts: (name: string) => boolean): void {
    let count = 0;
    for (let i = 1; i < request.count; i++) if (counts(this.#key(request, i))) count++;
    output.line(':', count);
  }

  /** Keys may be any bytes: one character for each. */
  #key(request: RequestParser, i: number): string {
    return this.#keys.get(request.bytes, request.begin(i), request.end(i));
  }

  /** Word `i`, encoded, in memory of its own. */
  #value(request: RequestParser, i: number): Value {
    const begin = request.encoded(i);
    const end = request.end(i) + 2;
    if (end - begin <= SHORT) return this.#values.get(request.bytes, begin, end);
    const value = Buffer.allocUnsafeSlow(end - begin);
    copy(request.bytes, begin, end, value, 0);
    return value;
  }
}

function put(output: Output, value: Value): void {
  if (typeof value === 'string') output.latin1(value);
  else output.bytes(value);
}

/** The bytes of an encoded string. */
function contentOf(value: Value): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'latin1') : value;
  return bytes.subarray(bytes.indexOf('\n') + 1, -2);
}

function integer(request: RequestParser, i: number): number {
  return safeInteger(request.text(i, 'latin1'));
}

function safeInteger(text: string): number {
  const number = /^(?:0|-?[1-9]\d{0,15})$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(number)) throw new CommandError('ERR value is not an integer or out of range');
  return number;
}

function wrongType(): CommandError {
  return new CommandError('WRONGTYPE Operation against a key holding the wrong kind of value');
}
