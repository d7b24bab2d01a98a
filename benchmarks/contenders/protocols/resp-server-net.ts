/**
 * `net`, `'data'` and redis-parser: a server with the commands that are measured, and with the checks of `resp-server-sluice`: the name in
 * either case, the number of words, the type of the value, and a client that does not read. It parses into strings, which is faster than
 * into `Buffer`s but limits it to text, and writes all replies to a chunk at once. Prints its port.
 */
import { createServer, type AddressInfo } from 'node:net';
import Parser from 'redis-parser';

/** How many words a command has, at least and at most, and its reply. */
interface Command {
  readonly least: number;
  readonly most: number;
  readonly run: (words: readonly string[]) => string;
}

/** A list has its first item at the end. */
const entries = new Map<string, string | string[]>();
const NULL = '$-1\r\n';
const WRONG_TYPE = '-WRONGTYPE Operation against a key holding the wrong kind of value\r\n';

const commands = new Map<string, Command>([
  ['PING', { least: 1, most: 1, run: () => '+PONG\r\n' }],
  ['SET', { least: 3, most: 4, run: set }],
  ['GET', { least: 2, most: 2, run: get }],
  ['MSET', { least: 3, most: Infinity, run: mset }],
  ['LPUSH', { least: 3, most: Infinity, run: lpush }],
  ['DEL', { least: 2, most: Infinity, run: del }],
  ['CONFIG', { least: 3, most: 3, run: (words) => `*2\r\n${bulk(words[2]!)}${bulk('')}` }],
]);

function set(words: readonly string[]): string {
  const key = words[1]!;
  if (words.length === 4) {
    const condition = words[3]!.toUpperCase();
    if (condition !== 'NX' && condition !== 'XX') return '-ERR syntax error\r\n';
    if (entries.has(key) !== (condition === 'XX')) return NULL;
  }
  entries.set(key, words[2]!);
  return '+OK\r\n';
}

function get(words: readonly string[]): string {
  const value = entries.get(words[1]!);
  if (value === undefined) return NULL;
  return typeof value === 'string' ? bulk(value) : WRONG_TYPE;
}

function mset(words: readonly string[]): string {
  if (words.length % 2 === 0) return wrongNumber('mset');
  for (let i = 1; i < words.length; i += 2) entries.set(words[i]!, words[i + 1]!);
  return '+OK\r\n';
}

function lpush(words: readonly string[]): string {
  const key = words[1]!;
  let list = entries.get(key);
  if (list === undefined) entries.set(key, (list = []));
  if (typeof list === 'string') return WRONG_TYPE;
  for (let i = 2; i < words.length; i++) list.push(words[i]!);
  return `:${list.length}\r\n`;
}

function del(words: readonly string[]): string {
  let deleted = 0;
  for (let i = 1; i < words.length; i++) if (entries.delete(words[i]!)) deleted++;
  return `:${deleted}\r\n`;
}

function bulk(value: string): string {
  return `$${Buffer.byteLength(value)}\r\n${value}\r\n`;
}

function wrongNumber(name: string): string {
  return `-ERR wrong number of arguments for '${name}' command\r\n`;
}

function answer(words: readonly string[]): string {
  const name = words[0]!;
  const command = commands.get(name.toUpperCase());
  if (command === undefined) return `-ERR unknown command '${name.slice(0, 64)}'\r\n`;
  if (words.length < command.least || words.length > command.most) return wrongNumber(name.toLowerCase());
  return command.run(words);
}

const server = createServer({ noDelay: true }, (socket) => {
  let replies = '';
  const fail = (error: Error): void => void socket.destroy(error);
  const parser = new Parser({
    returnError: fail,
    returnFatalError: fail,
    returnReply: (words) => {
      // A request is an array of strings; anything else is a reply, which no client sends.
      if (Array.isArray(words) && words.length > 0) replies += answer(words as string[]);
    },
  });
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    parser.execute(chunk);
    if (replies !== '' && !socket.write(replies)) socket.pause().once('drain', () => socket.resume());
    replies = '';
  });
});
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
