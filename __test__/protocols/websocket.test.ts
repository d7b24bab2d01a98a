/** The frames of the WebSocket example, without a connection: any cut, and bytes that are not valid. */
// Runs once: it reads from no stream.
import { Buffer } from 'node:buffer';
import test from 'ava';
import { mask, randomKey, unmasked } from '../../examples/protocols/websocket/mask.js';
import {
  CloseCode,
  type Control,
  FrameParser,
  Opcode,
  WebSocketError,
  encodeFrame,
  type Message,
  type Role,
} from '../../examples/protocols/websocket/websocket.js';
import { seed } from '../seed.js';
import { BAD_TEXTS, GOOD_TEXTS, binary, close, continuation, frame, ping, pong, text } from './websocket-frames.js';

const MOST = 1024 * 1024;

/** Parses bytes that arrive in pieces, as a connection does. */
class Receiver {
  readonly items: string[] = [];
  readonly parser: FrameParser;
  #rest = Buffer.alloc(0);

  constructor(role: Role = 'server', most = MOST) {
    this.parser = new FrameParser(role, most);
  }

  /** The number of bytes that belong to no item yet. */
  get left(): number {
    return this.#rest.length;
  }

  add(piece: Uint8Array): this {
    const { parser } = this;
    this.#rest = Buffer.concat([this.#rest, piece]);
    for (;;) {
      let result: Message | Control | undefined;
      if (parser.missing > 0) {
        if (this.#rest.length < parser.missing) return this;
        const payload = Buffer.from(this.#rest.subarray(0, parser.missing));
        this.#rest = this.#rest.subarray(payload.length);
        result = parser.supply(payload);
      } else {
        result = parser.next(this.#rest);
        this.#rest = this.#rest.subarray(parser.at);
        parser.at = 0;
        if (result === undefined && parser.missing === 0) {
          if (this.#rest.length >= parser.need) throw new Error('the parser has what it needs');
          return this;
        }
      }
      if (result !== undefined) this.items.push(described(result));
    }
  }
}

function described(item: Message | Control): string {
  if (typeof item === 'string') return `text ${item}`;
  if (Buffer.isBuffer(item)) return `binary ${item.toString('hex')}`;
  if (item.opcode === Opcode.CLOSE) return `close ${item.closeCode} ${item.closeReason}`;
  return `${item.opcode === Opcode.PING ? 'ping' : 'pong'} ${item.data.toString()}`;
}

function parse(bytes: Uint8Array, role: Role = 'server', most = MOST): string[] {
  return new Receiver(role, most).add(bytes).items;
}

/** Everything that a peer may send, and what it means. */
const CONVERSATION = Buffer.concat([
  text('Hello'),
  binary(Buffer.from([0, 1, 0xfe, 0xff])),
  text('κό', { fin: false }),
  ping('are you there?'),
  continuation(Buffer.from('σμ€').subarray(0, 6), { fin: false }),
  pong(''),
  continuation(Buffer.from('σμ€').subarray(6)),
  binary('', { fin: false }),
  continuation(''),
  binary(Buffer.alloc(300, 'b')),
  text(''),
  close(1000, 'ađieu'),
]);
const ITEMS = [
  'text Hello',
  'binary 0001feff',
  'ping are you there?',
  'pong ',
  'text κόσμ€',
  'binary ',
  `binary ${'62'.repeat(300)}`,
  'text ',
  'close 1000 ađieu',
];

test('messages and control frames are the same for every cut of the bytes', (t) => {
  t.deepEqual(parse(CONVERSATION), ITEMS);
  for (let cut = 1; cut < CONVERSATION.length; cut++) {
    const receiver = new Receiver();
    receiver.add(CONVERSATION.subarray(0, cut)).add(CONVERSATION.subarray(cut));
    t.deepEqual(receiver.items, ITEMS, `cut at ${cut}`);
    t.is(receiver.left, 0);
  }
});

test('messages and control frames are the same byte by byte', (t) => {
  const receiver = new Receiver();
  for (const byte of CONVERSATION) receiver.add(Uint8Array.of(byte));
  t.deepEqual(receiver.items, ITEMS);
});

test('messages and control frames are the same in random pieces, also large ones', (t) => {
  const random = randomNumbers(seed(t));
  for (let round = 0; round < 30; round++) {
    const frames: Buffer[] = [];
    const expected: string[] = [];
    for (let i = 0; i < 20; i++) {
      const payload = Buffer.alloc(Math.floor(random() ** 6 * 200_000), i);
      const cut = Math.floor(random() * payload.length);
      frames.push(binary(payload.subarray(0, cut), { fin: false, key: keyOf(random) }), ping(String(i)));
      frames.push(continuation(payload.subarray(cut), { key: keyOf(random) }));
      expected.push(`ping ${i}`, `binary ${payload.toString('hex')}`);
    }
    const bytes = Buffer.concat(frames);
    const receiver = new Receiver();
    for (let at = 0; at < bytes.length;) {
      const end = at + 1 + Math.floor(random() ** 4 * 100_000);
      receiver.add(bytes.subarray(at, end));
      at = end;
    }
    t.true(receiver.items.length === expected.length && receiver.items.every((item, i) => item === expected[i]));
  }
});

test('bytes that follow a message stay for the next one', (t) => {
  const receiver = new Receiver().add(Buffer.concat([text('a'), text('longer').subarray(0, 8)]));
  t.deepEqual(receiver.items, ['text a']);
  t.is(receiver.left, 8);
  t.is(receiver.parser.need, text('longer').length);
});

test('what is cut short gives the items before it, and asks for more', (t) => {
  for (let end = 0; end < CONVERSATION.length; end++) {
    const { items, parser, left } = new Receiver().add(CONVERSATION.subarray(0, end));
    t.deepEqual(items, ITEMS.slice(0, items.length));
    t.true(items.length < ITEMS.length);
    t.true(parser.need > left && end + parser.need - left <= CONVERSATION.length, `need at ${end}`);
  }
});

test('a bit that is flipped anywhere gives items or one WebSocketError, and never changes an earlier item', (t) => {
  const errors = new Set<number>();
  for (let bit = 0; bit < CONVERSATION.length * 8; bit++) {
    const bytes = Buffer.from(CONVERSATION);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    const before = parse(CONVERSATION.subarray(0, bit >> 3));
    const receiver = new Receiver();
    try {
      receiver.add(bytes);
    } catch (error) {
      if (!(error instanceof WebSocketError)) throw error;
      errors.add(error.code);
    }
    if (before.some((item, i) => receiver.items[i] !== item)) t.fail(`an earlier item changed with bit ${bit}`);
  }
  t.deepEqual([...errors].sort(), [CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA, CloseCode.TOO_BIG]);
});

test('random bytes give items or one WebSocketError, for both roles', (t) => {
  const random = randomNumbers(seed(t));
  let refused = 0;
  for (let round = 0; round < 20_000; round++) {
    const bytes = Buffer.from(Array.from({ length: 40 }, () => random() * 256));
    if (round % 2 === 0) bytes[0] = 0x80 | [0, 1, 2, 8, 9, 10][round % 6]!;
    const receiver = new Receiver(round % 3 === 0 ? 'client' : 'server');
    try {
      receiver.add(bytes);
    } catch (error) {
      if (!(error instanceof WebSocketError)) throw error;
      refused++;
    }
  }
  t.true(refused > 10_000);
});

test('a message may have the maximum length, in one frame or in several, and not a byte more', (t) => {
  for (const most of [0, 1, 125, 126, 1000, 70_000]) {
    const payload = Buffer.alloc(most, 'x');
    t.deepEqual(parse(binary(payload), 'server', most), [`binary ${payload.toString('hex')}`]);
    const half = most >> 1;
    const parts = [binary(payload.subarray(0, half), { fin: false }), continuation(payload.subarray(half))];
    t.deepEqual(parse(Buffer.concat(parts), 'server', most), [`binary ${payload.toString('hex')}`]);

    const over = { code: CloseCode.TOO_BIG, message: new RegExp(`${most + 1} bytes, the maximum is ${most}`) };
    // The header is enough: nothing is kept for the payload.
    t.throws(() => parse(binary('', { length: most + 1 }), 'server', most), { instanceOf: WebSocketError, ...over });
    const tooMany = [parts[0]!, continuation('', { length: most - half + 1 })];
    t.throws(() => parse(Buffer.concat(tooMany), 'server', most), { instanceOf: WebSocketError, ...over });
  }
});

test('control frames do not count towards the maximum of a message', (t) => {
  t.deepEqual(parse(Buffer.concat([ping('12345678'), close(1000, 'abc')]), 'server', 4), [
    'ping 12345678',
    'close 1000 abc',
  ]);
});

test('many short fragments need little more memory than their message', (t) => {
  const piece = Buffer.concat(Array.from({ length: 1000 }, () => continuation('y', { fin: false })));
  const receiver = new Receiver();
  receiver.add(binary('', { fin: false }));
  const before = process.memoryUsage();
  for (let i = 0; i < 300; i++) receiver.add(piece);
  const { heapUsed, external } = process.memoryUsage();
  receiver.add(continuation('z'));
  t.is(receiver.items[0]!.length, 'binary '.length + 2 * 300_001);
  // A `Buffer` for each of them would be more than 24 MB.
  t.true(heapUsed + external - before.heapUsed - before.external < 20e6);
});

test('a text is checked across fragments, wherever it is cut', (t) => {
  for (const bytes of GOOD_TEXTS) {
    for (let a = 0; a <= bytes.length; a++) {
      for (let b = a; b <= bytes.length; b++) {
        const parts = [text(bytes.subarray(0, a), { fin: false }), continuation(bytes.subarray(a, b), { fin: false })];
        t.deepEqual(parse(Buffer.concat([...parts, continuation(bytes.subarray(b))])), [`text ${bytes.toString()}`]);
      }
    }
  }
});

test('a text that is not UTF-8 fails with the frame that has the first wrong byte, wherever it is cut', (t) => {
  const wrong = { instanceOf: WebSocketError, code: CloseCode.INVALID_DATA };
  for (const [bytes, at] of BAD_TEXTS) {
    t.throws(() => parse(text(bytes)), wrong);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const first = text(bytes.subarray(0, cut), { fin: false });
      if (cut > at) t.throws(() => parse(first), wrong, `${bytes.toString('hex')} cut at ${cut}`);
      else {
        const second = continuation(bytes.subarray(cut), { fin: false });
        t.throws(() => parse(Buffer.concat([first, second])), wrong, `${bytes.toString('hex')} cut at ${cut}`);
      }
    }
    const single = Array.from(bytes.subarray(0, at), (byte, i) =>
      frame({ opcode: i === 0 ? 1 : 0, payload: Uint8Array.of(byte), fin: false }),
    );
    t.deepEqual(parse(Buffer.concat(single)), [], 'what comes before the wrong byte is accepted');
  }
});

test('a text that ends within a character is not UTF-8', (t) => {
  const bytes = Buffer.from('a€');
  for (const end of [2, 3]) {
    t.throws(() => parse(text(bytes.subarray(0, end))), { code: CloseCode.INVALID_DATA });
    t.deepEqual(parse(text(bytes.subarray(0, end), { fin: false })), []);
    const parts = [text(bytes.subarray(0, end), { fin: false }), continuation('')];
    t.throws(() => parse(Buffer.concat(parts)), { code: CloseCode.INVALID_DATA });
  }
});

test('frames are encoded with the shortest length, masked only by a client, and parsed by the other side', (t) => {
  for (const length of [0, 1, 125, 126, 127, 4000, 4001, 65_535, 65_536, 100_000]) {
    for (const payload of [Buffer.alloc(length, 'é'), 'x'.repeat(length)]) {
      const opcode = typeof payload === 'string' ? Opcode.TEXT : Opcode.BINARY;
      const item = typeof payload === 'string' ? `text ${payload}` : `binary ${payload.toString('hex')}`;
      for (const last of [true, false]) {
        const unmasked = Buffer.concat([encodeFrame(opcode, payload, 'server', last)].flat());
        t.true(unmasked.equals(frame({ opcode, payload, fin: last, key: null })), `${length} bytes from a server`);
        const masked = Buffer.concat([encodeFrame(opcode, payload, 'client', last)].flat());
        const header = masked.length - length;
        const key = masked.subarray(header - 4, header);
        t.true(masked.equals(frame({ opcode, payload, fin: last, key })), `${length} bytes from a client`);
        if (last) t.deepEqual([parse(unmasked, 'client'), parse(masked)], [[item], [item]]);
      }
    }
  }
});

test('a string is sent as UTF-8, and half of a surrogate pair as the replacement character', (t) => {
  t.deepEqual(parse(Buffer.concat([encodeFrame(Opcode.TEXT, 'ä€😀\ud800', 'client')].flat())), ['text ä€😀\ufffd']);
});

test('masking combines each byte with its byte of the key, for every length and alignment', (t) => {
  for (let offset = 0; offset < 9; offset++) {
    for (const length of [...Array(140).keys(), 256, 257, 258, 259, 1000, 5003]) {
      const memory = Buffer.from(Array.from({ length: offset + length + 5 }, (_, i) => (i * 7) & 0xff));
      const key = randomKey();
      const bytes = [key >>> 24, key >>> 16, key >>> 8, key];
      const expected = Buffer.from(memory);
      for (let i = 0; i < length; i++) expected[offset + i]! ^= bytes[i % 4]!;
      t.true(unmasked(memory, offset, length, key).equals(expected.subarray(offset, offset + length)));
      mask(memory, key, offset, offset + length);
      if (!memory.equals(expected)) t.fail(`${length} bytes at ${offset}`);
    }
  }
});

test('keys are not used twice', (t) => {
  const keys = new Set(Array.from({ length: 10_000 }, randomKey));
  t.true(keys.size > 9_990); // 32 random bits: more than one collision in ten thousand is already unlikely
});

function keyOf(random: () => number): Uint8Array {
  return Uint8Array.from({ length: 4 }, () => random() * 256);
}

/** A generator of numbers from 0 to 1 that a seed determines. */
function randomNumbers(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
