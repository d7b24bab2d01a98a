/**
 * `net`, `'data'` and redis-parser: a server with the commands that are measured. It parses into strings, which is faster than into
 * `Buffer`s but limits it to text, and writes all replies to a chunk at once. Prints its port.
 */
import { createServer, type AddressInfo } from 'node:net';
import Parser from 'redis-parser';

const strings = new Map<string, string>();
const lists = new Map<string, string[]>();

function bulk(value: string | undefined): string {
  return value === undefined ? '$-1\r\n' : `$${Buffer.byteLength(value)}\r\n${value}\r\n`;
}

function answer(words: readonly string[]): string {
  switch (words[0]!.toUpperCase()) {
    case 'PING':
      return '+PONG\r\n';
    case 'SET':
      strings.set(words[1]!, words[2]!);
      return '+OK\r\n';
    case 'GET':
      return bulk(strings.get(words[1]!));
    case 'MSET':
      for (let i = 1; i < words.length; i += 2) strings.set(words[i]!, words[i + 1]!);
      return '+OK\r\n';
    case 'LPUSH': {
      // The last item is the first of the list.
      let list = lists.get(words[1]!);
      if (list === undefined) lists.set(words[1]!, (list = []));
      for (let i = 2; i < words.length; i++) list.push(words[i]!);
      return `:${list.length}\r\n`;
    }
    case 'DEL':
      return `:${Number(strings.delete(words[1]!)) + Number(lists.delete(words[1]!))}\r\n`;
    case 'CONFIG':
      return `*2\r\n${bulk(words[2])}${bulk('')}`;
    default:
      return '-ERR unknown command\r\n';
  }
}

const server = createServer({ noDelay: true }, (socket) => {
  let replies = '';
  const fail = (error: Error): void => void socket.destroy(error);
  const parser = new Parser({
    returnError: fail,
    returnFatalError: fail,
    returnReply: (words) => (replies += answer(words as string[])),
  });
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    parser.execute(chunk);
    if (replies !== '') socket.write(replies);
    replies = '';
  });
});
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
