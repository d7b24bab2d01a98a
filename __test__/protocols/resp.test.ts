// Runs once: the parsers receive bytes in memory, and no stream is involved.
import test, { type ExecutionContext } from 'ava';
import { List } from '../../examples/protocols/resp/list.js';
import { Output } from '../../examples/protocols/resp/output.js';
import { type Reply, ReplyError, ReplyParser } from '../../examples/protocols/resp/replies.js';
import { RequestParser } from '../../examples/protocols/resp/requests.js';
import { MAX_BYTES, MAX_ITEMS, ProtocolError } from '../../examples/protocols/resp/resp.js';
import type { Stream } from 'sluice';
import { seed } from '../seed.js';

/** A generator of pseudo-random numbers from 0 to 1: mulberry32. */
function random(t: ExecutionContext): () => number {
  let state = seed(t);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What a program does around a parser: it keeps what is not consumed, and does not call the parser before it has what it needs. */
class Window {
  #bytes: Buffer = Buffer.alloc(0);

  feed(piece: Uint8Array, need: () => number, parse: (bytes: Buffer) => number): void {
    this.#bytes = Buffer.concat([this.#bytes, piece]);
    while (this.#bytes.length >= need()) this.#bytes = Buffer.from(this.#bytes.subarray(parse(this.#bytes)));
  }

  get left(): number {
    return this.#bytes.length;
  }
}

function requests(pieces: readonly Uint8Array[]): { words: string[][]; left: number } {
  const parser = new RequestParser();
  const window = new Window();
  const words: string[][] = [];
  const parse = (bytes: Buffer): number => {
    let end = 0;
    for (let next; (next = parser.next(bytes, end)) !== -1; end = next) {
      const request = Array.from({ length: parser.count }, (_, i) => parser.text(i, 'latin1'));
      words.push(request);
      for (let i = 1; i < parser.count; i++) {
        const encoded = parser.bytes.toString('latin1', parser.encoded(i), parser.end(i) + 2);
        if (encoded !== `$${request[i]!.length}\r\n${request[i]!}\r\n`) throw new Error(`encoded: ${encoded}`);
      }
    }
    return end;
  };
  for (const piece of pieces) window.feed(piece, () => parser.need, parse);
  return { words, left: window.left };
}

interface Received {
  readonly values: (Reply | { push: Reply[] })[];
  readonly left: number;
  readonly idle: boolean;
}

function replies(pieces: readonly Uint8Array[], buffers = false): Received {
  const values: Received['values'] = [];
  const parser = new ReplyParser(
    (reply) => values.push(reply),
    (push) => values.push({ push }),
    { buffers },
  );
  const window = new Window();
  for (const piece of pieces)
    window.feed(
      piece,
      () => parser.need,
      (bytes) => parser.parse(bytes),
    );
  return { values, left: window.left, idle: parser.idle };
}

/** Calls `check` with the bytes whole, byte by byte, cut at each position, and cut at random. */
function everyCut(bytes: Buffer, next: () => number, check: (pieces: Buffer[]) => void): void {
  check([bytes]);
  check(Array.from(bytes, (byte) => Buffer.of(byte)));
  for (let cut = 1; cut < bytes.length; cut++) check([bytes.subarray(0, cut), bytes.subarray(cut)]);
  for (let round = 0; round < 50; round++) {
    const pieces = [];
    for (let at = 0; at < bytes.length;) {
      const end = at + 1 + Math.floor(next() * 20);
      pieces.push(bytes.subarray(at, end));
      at = end;
    }
    check(pieces);
  }
}

const REQUESTS =
  '*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\na\r\n$1\r\n*1\r\n\xff\r\n*1\r\n$4\r\nPING\r\n*0\r\n*-1\r\nset k  v \r\n\r\nPING\n*2\r\n$0\r\n\r\n$0\r\n\r\n';
const REQUEST_WORDS = [
  ['SET', 'k', 'a\r\n$1\r\n*1\r\n\xff'],
  ['PING'],
  [],
  [],
  ['set', 'k', 'v'],
  [],
  ['PING'],
  ['', ''],
];

test('requests are the same however their bytes arrive', (t) => {
  everyCut(Buffer.from(REQUESTS, 'latin1'), random(t), (pieces) => {
    t.deepEqual(requests(pieces), { words: REQUEST_WORDS, left: 0 });
  });
});

test('an incomplete request is left in the window, after all complete ones', (t) => {
  const bytes = Buffer.from('*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n');
  for (let cut = 1; cut < bytes.length; cut++) {
    t.deepEqual(requests([Buffer.concat([bytes, bytes.subarray(0, cut)])]), { words: [['GET', 'key']], left: cut });
  }
});

test('a request parser asks for all bytes of a word at once', (t) => {
  const parser = new RequestParser();
  const header = Buffer.from('PING\r\n*2\r\n$3\r\nGET\r\n$1000000\r\n');
  t.is(parser.next(header, 0), 6);
  t.is(parser.next(header, 6), -1);
  t.is(parser.need, header.length - 6 + 1_000_002);
});

test('a request of many words is parsed once, also if it arrives in many pieces', (t) => {
  const count = 100_000;
  const bytes = Buffer.from(`*${count}\r\n${'$1\r\nx\r\n'.repeat(count)}`);
  const parser = new RequestParser();
  let asked = 0;
  for (let end = 1000; end < bytes.length; end += 1000) {
    if (parser.need > end) continue;
    asked++;
    t.is(parser.next(bytes.subarray(0, end), 0), -1);
    if (parser.need > end + 9) t.fail(`${parser.need} bytes are needed, and there are ${end}`);
  }
  t.true(asked > 600);
  t.is(parser.next(bytes, 0), bytes.length);
  t.is(parser.count, count);
});

const REPLIES =
  '+OK\r\n-ERR no\r\n:42\r\n:-7\r\n$5\r\nh\r\nlo\r\n$-1\r\n*-1\r\n*0\r\n*2\r\n*1\r\n$1\r\na\r\n:1\r\n' +
  '_\r\n#t\r\n#f\r\n,1.5\r\n,-inf\r\n(123456789012345678901234567890\r\n!5\r\nERR x\r\n=8\r\ntxt:text\r\n' +
  '%2\r\n+a\r\n:1\r\n$1\r\nb\r\n*1\r\n_\r\n~2\r\n:1\r\n:2\r\n>2\r\n+message\r\n$2\r\n\xc3\xa9\r\n|1\r\n+ttl\r\n:9\r\n' +
  ':9223372036854775807\r\n%0\r\n+\r\n$0\r\n\r\n';
const REPLY_VALUES = [
  'OK',
  new ReplyError('ERR no'),
  42,
  -7,
  'h\r\nlo',
  null,
  null,
  [],
  [['a'], 1],
  null,
  true,
  false,
  1.5,
  -Infinity,
  123456789012345678901234567890n,
  new ReplyError('ERR x'),
  'text',
  new Map<Reply, Reply>([
    ['a', 1],
    ['b', [null]],
  ]),
  [1, 2],
  { push: ['message', 'é'] },
  9223372036854775807n,
  new Map(),
  '',
  '',
];

test('replies of every type are the same however their bytes arrive', (t) => {
  everyCut(Buffer.from(REPLIES, 'latin1'), random(t), (pieces) => {
    t.deepEqual(replies(pieces), { values: REPLY_VALUES, left: 0, idle: true });
  });
});

test('the items of one reply do not count for the next', (t) => {
  const bytes = Buffer.from(`*${MAX_ITEMS}\r\n${':1\r\n'.repeat(MAX_ITEMS)}`);
  const { values, idle } = replies([bytes, bytes, Buffer.from('%1\r\n+a\r\n*1\r\n:1\r\n')]);
  t.deepEqual(
    values.map((value) => (Array.isArray(value) ? value.length : value)),
    [MAX_ITEMS, MAX_ITEMS, new Map<Reply, Reply>([['a', [1]]])],
  );
  t.true(idle);
});

test('a reply that is cut short leaves bytes, or the parser is not idle', (t) => {
  const bytes = Buffer.from('*2\r\n$3\r\nabc\r\n*2\r\n:1\r\n:2\r\n');
  for (let cut = 1; cut < bytes.length; cut++) {
    const { values, left, idle } = replies([bytes.subarray(0, cut)]);
    t.deepEqual(values, []);
    t.true(left > 0 || !idle, `${cut} bytes`);
  }
});

test('strings of large replies are decoded correctly, whatever they contain', (t) => {
  const next = random(t);
  const letters = ['a', 'b', 'é', '€', '🙂', '\r\n', '$1'];
  const strings = Array.from({ length: 2000 }, (_, i) =>
    Array.from({ length: Math.floor(next() * 40) }, () => letters[Math.floor(next() * (i < 1000 ? 2 : 7))]!).join(''),
  );
  const encoded = strings.map((text) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`).join('');
  const bytes = Buffer.from(`*${strings.length}\r\n${encoded}`);
  t.deepEqual(replies([bytes]).values, [strings]);
  t.deepEqual(replies([bytes.subarray(0, 30_001), bytes.subarray(30_001)]).values, [strings]);
  const asBuffers = replies([bytes], true).values[0] as Buffer[];
  t.deepEqual(
    asBuffers.map((buffer) => buffer.toString()),
    strings,
  );
});

for (const [name, text] of [
  ['a negative length', '*1\r\n$-2\r\n'],
  ['a null as word', '*1\r\n$-1\r\n'],
  ['a word that is not a bulk string', '*1\r\n:1\r\n'],
  ['letters in a length', '*1\r\n$1x\r\n'],
  ['a leading zero', '*1\r\n$01\r\na\r\n'],
  ['no line feed after a length', '*1\r\n$1\rxa\r\n'],
  ['no CR LF after a word', '*1\r\n$1\r\nabc'],
  ['an empty length', '*\r\n'],
  ['too many words', `*${MAX_ITEMS + 1}\r\n`],
  ['a word that is too long', `*1\r\n$${MAX_BYTES + 1}\r\n`],
  ['a length without end', `*1\r\n$${'9'.repeat(20)}`],
  ['a line without end', 'x'.repeat(100_000)],
  ['the method of HTTP that carries a body', 'POST / HTTP/1.1\r\n'],
  ['the header that every method of HTTP has', 'host: example\r\n'],
] as const) {
  test(`${name} in a request is a protocol error, as soon as it has arrived`, (t) => {
    t.throws(() => requests([Buffer.from(text)]), { instanceOf: ProtocolError });
    const size = text.length > 1000 ? 1000 : 1;
    const pieces = text.match(new RegExp(`[^]{1,${size}}`, 'g'))!.map((piece) => Buffer.from(piece));
    t.throws(() => requests(pieces), { instanceOf: ProtocolError });
  });
}

for (const [name, text] of [
  ['an unknown type', '?\r\n'],
  ['a request that was typed by hand', 'PING\r\n'],
  ['a length that is not a number', '$x\r\n'],
  ['a string that is too long', `$${MAX_BYTES + 1}\r\n`],
  ['too many items', `*${MAX_ITEMS + 1}\r\n`],
  ['too many nested items', `*2\r\n*${MAX_ITEMS / 2}\r\n${'%0\r\n'.repeat(MAX_ITEMS / 2)}*${MAX_ITEMS / 2}\r\n`],
  ['too many pairs', `%${MAX_ITEMS}\r\n`],
  ['a null map', '%-1\r\n'],
  ['no CR LF after a string', '$1\r\nabc'],
  ['a line without CR', '+OK\n'],
  ['a line without end', `+${'x'.repeat(100_000)}`],
  ['an integer with letters', ':1x\r\n'],
  ['an empty integer', ':\r\n'],
  ['a boolean that is neither', '#x\r\n'],
  ['a double with letters', ',1x\r\n'],
  ['a push in an array', '*1\r\n>1\r\n:1\r\n'],
  ['too deep an array', '*1\r\n'.repeat(100)],
  ['strings that are too large together', `*3\r\n${`$${MAX_BYTES / 2}\r\n${'x'.repeat(MAX_BYTES / 2)}\r\n`.repeat(2)}`],
] as const) {
  test(`${name} in a reply is a protocol error`, (t) => {
    t.throws(() => replies([Buffer.from(text)]), { instanceOf: ProtocolError });
  });
}

test('whichever byte is damaged, a parser continues, waits, or reports a protocol error', (t) => {
  const next = random(t);
  const outcomes = { fine: 0, refused: 0 };
  for (const [text, parse] of [
    [REQUESTS, requests],
    [REPLIES, replies],
  ] as const) {
    const bytes = Buffer.from(text, 'latin1');
    for (let i = 0; i < bytes.length; i++) {
      for (const value of [0, 0x0a, 0x0d, 0x24, 0x2a, 0x2d, 0x39, 0xff, Math.floor(next() * 256)]) {
        const damaged = Buffer.from(bytes);
        damaged[i] = value;
        try {
          parse([damaged]);
          outcomes.fine++;
        } catch (error) {
          if (!(error instanceof ProtocolError)) throw error;
          outcomes.refused++;
        }
      }
    }
  }
  t.true(outcomes.fine > 100 && outcomes.refused > 100, JSON.stringify(outcomes));
});

// ------------------------------------------------------------------------------------------------ output

/** A stream that keeps what it is given in its own memory, or lends it. */
function sink(kept: Buffer[], writeBufferSize: number): Stream {
  const write = (piece: Uint8Array): Promise<void> => {
    kept.push(Buffer.from(piece));
    return Promise.resolve();
  };
  const writelines = (pieces: Iterable<Uint8Array>): Promise<void> => {
    for (const piece of pieces) void write(piece);
    return Promise.resolve();
  };
  return { write, writelines, writeBufferSize } as unknown as Stream;
}

test('an output encodes what a parser reads', async (t) => {
  const next = random(t);
  const kept: Buffer[] = [];
  const output = new Output();
  const words: string[][] = [];
  for (let i = 0; i < 300; i++) {
    const long = i % 50 === 0 ? 30_000 : 100;
    const word = (letter: string): string => letter.repeat(Math.floor(next() * long));
    const request = [word('x'), word('é'), word('y')];
    output.line('*', 3);
    output.bulk(request[0]!);
    output.bulk(request[1]!);
    output.bulk(Buffer.from(request[2]!));
    words.push(request);
    if (i % 100 === 99) await output.send(sink(kept, i === 199 ? 1 : 0));
  }
  const utf8 = requests([Buffer.concat(kept)]).words.map((list) =>
    list.map((w) => Buffer.from(w, 'latin1').toString()),
  );
  t.deepEqual(utf8, words);
  t.is(output.length, 0);
});

test('an output is truncated at any length', async (t) => {
  const parts = [10, 40_000, 20_000, 30_000, 10, 12_000, 12_000, 12_000, 12_000, 12_000, 12_000].map((n, i) =>
    Buffer.alloc(n, 97 + i),
  );
  const all = Buffer.concat(parts);
  for (const length of [0, 1, 10, 11, 40_010, 40_011, 60_010, 75_000, 90_015, 140_000, all.length - 1, all.length]) {
    const kept: Buffer[] = [];
    const output = new Output();
    for (const part of parts) output.bytes(part);
    output.truncate(length);
    t.is(output.length, length);
    output.latin1('end');
    await output.send(sink(kept, 0));
    t.true(Buffer.concat(kept).equals(Buffer.concat([all.subarray(0, length), Buffer.from('end')])), `${length} bytes`);
  }
});

test('an output writes numbers, and keeps errors in one line', async (t) => {
  const kept: Buffer[] = [];
  const output = new Output();
  const numbers = [0, 9, 10, 99, 100, 999_999_999, 1_000_000_000, Number.MAX_SAFE_INTEGER, -1, -1234];
  for (const number of numbers) output.line(':', number);
  output.simple('-', 'ERR a\r\nb');
  await output.send(sink(kept, 0));
  t.deepEqual(replies([Buffer.concat(kept)]).values, [...numbers, new ReplyError('ERR a  b')]);
});

test('a block that the stream has not sent yet is not used again', (t) => {
  const lent: Uint8Array[] = [];
  const stream = { write: (piece: Uint8Array) => lent.push(piece), writeBufferSize: 1 } as unknown as Stream;
  const output = new Output();
  for (const letter of ['a', 'b']) {
    output.bytes(Buffer.alloc(8000, letter));
    void output.send(stream);
  }
  t.deepEqual(
    lent.map((piece) => [piece.length, piece[0], piece[7999]]),
    [
      [8000, 0x61, 0x61],
      [8000, 0x62, 0x62],
    ],
  );
});

test('a list grows and shrinks at both ends', (t) => {
  const next = random(t);
  const list = new List<number>();
  const model: number[] = [];
  for (let i = 0; i < 5000; i++) {
    const action = Math.floor(next() * 4);
    if (action === 0) {
      model.unshift(i);
      list.unshift(i);
    } else if (action === 1) {
      model.push(i);
      list.push(i);
    } else if (action === 2) t.is(list.shift(), model.shift());
    else t.is(list.pop(), model.pop());
    t.is(list.length, model.length);
    const at = Math.floor(next() * model.length);
    t.is(list.at(at), model[at]);
  }
});
