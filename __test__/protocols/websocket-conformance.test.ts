/**
 * What RFC 6455 demands of an endpoint that receives frames, section by section: for the server of the WebSocket example, and for its
 * client, each against a plain socket. Both send back what they receive.
 */
// Runs once: the examples use only the public calls of a stream, and each way of reading has its own tests of sockets.
import { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { connectWebSocket } from '../../examples/protocols/websocket/client.js';
import { acceptance, parseRequest } from '../../examples/protocols/websocket/handshake.js';
import { echo, webSocketHandler } from '../../examples/protocols/websocket/server.js';
import { WebSocketError } from '../../examples/protocols/websocket/websocket.js';
import { dial, gather, listen, serving } from '../loopback.js';
import { BAD_TEXTS, GOOD_TEXTS, decoded, frame, type FrameParts } from './websocket-frames.js';

const MAX_MESSAGE = 70_000;

const REQUEST =
  'GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n';

/** What an endpoint answers to frames, and the error that it ends with. */
interface Outcome {
  readonly answers: readonly string[];
  readonly error: number | null;
}

/** Sends bytes to our server, ends the sending side, and collects everything up to the end of the connection. */
async function toServer(t: ExecutionContext, bytes: Buffer): Promise<Outcome> {
  const { server, port, errors } = await serving(t, webSocketHandler(echo, { maxMessage: MAX_MESSAGE }));
  const socket = await dial(t, port);
  socket.end(Buffer.concat([Buffer.from(REQUEST), bytes]));
  const all = await gather(socket);
  await server.close();
  const answers = decoded(all.subarray(all.indexOf('\r\n\r\n') + 4), false);
  return { answers, error: errors.length === 0 ? null : codeOf(errors) };
}

/** The same for our client. */
async function toClient(t: ExecutionContext, bytes: Buffer): Promise<Outcome> {
  let received!: Promise<Buffer>;
  const { port } = await listen(t, (socket: Socket) => {
    socket.once('data', (head: Buffer) => {
      received = gather(socket);
      socket.end(Buffer.concat([Buffer.from(acceptance(parseRequest(head).key)), bytes]));
    });
  });
  const connection = await connectWebSocket(`ws://127.0.0.1:${port}`, { maxMessage: MAX_MESSAGE });
  const errors: unknown[] = [];
  await echo(connection).catch((error: unknown) => errors.push(error));
  await connection.close();
  return { answers: decoded(await received, true), error: errors.length === 0 ? null : codeOf(errors) };
}

function codeOf(errors: readonly unknown[]): number {
  const [error, ...more] = errors;
  if (!(error instanceof WebSocketError) || more.length > 0)
    throw new Error('not one WebSocketError', { cause: error });
  return error.code;
}

type Sent = readonly FrameParts[];

/** Runs the frames against both sides. */
async function outcomes(
  t: ExecutionContext,
  sent: Sent,
): Promise<readonly (readonly [side: string, outcome: Outcome])[]> {
  const fromClient = Buffer.concat(sent.map((parts) => frame(parts)));
  const fromServer = Buffer.concat(sent.map((parts) => frame({ key: null, ...parts })));
  return [
    ['server', await toServer(t, fromClient)],
    ['client', await toClient(t, fromServer)],
  ];
}

/** Valid frames: they are answered by these frames, and nothing fails. A normal close frame is sent after them unless they have one. */
function good(title: string, sent: Sent, answers: readonly string[]): void {
  test(title, async (t) => {
    const closes = sent.some(({ opcode }) => opcode === 8);
    const all = closes ? sent : [...sent, { opcode: 8, payload: Buffer.of(3, 232) }];
    const expected = closes ? answers : [...answers, 'close 1000'];
    for (const [side, outcome] of await outcomes(t, all))
      t.deepEqual(outcome, { answers: expected, error: null }, side);
  });
}

/** Invalid frames: after these answers the connection is failed with a code, and what follows is not processed. */
function bad(title: string, code: number, sent: Sent, answers: readonly string[] = []): void {
  test(title, async (t) => {
    const all = [...sent, { opcode: 1, payload: 'too late' }];
    for (const [side, outcome] of await outcomes(t, all)) {
      t.is(outcome.error, code, side);
      t.deepEqual(outcome.answers.slice(0, -1), answers, side);
      t.regex(outcome.answers.at(-1)!, new RegExp(`^close ${code} \\S`), side);
    }
  });
}

const text = (payload: string | Uint8Array, more: Partial<FrameParts> = {}): FrameParts => ({
  opcode: 1,
  payload,
  ...more,
});
const binary = (payload: string | Uint8Array, more: Partial<FrameParts> = {}): FrameParts => ({
  opcode: 2,
  payload,
  ...more,
});
const next = (payload: string | Uint8Array, more: Partial<FrameParts> = {}): FrameParts => ({
  opcode: 0,
  payload,
  ...more,
});
const ping = (payload: string | Uint8Array, more: Partial<FrameParts> = {}): FrameParts => ({
  opcode: 9,
  payload,
  ...more,
});
const pong = (payload: string | Uint8Array, more: Partial<FrameParts> = {}): FrameParts => ({
  opcode: 10,
  payload,
  ...more,
});
const close = (...payload: readonly number[]): FrameParts => ({ opcode: 8, payload: Buffer.from(payload) });
const closing = (code: number, reason: string | Uint8Array = ''): FrameParts =>
  close(code >> 8, code & 255, ...Buffer.from(reason));
const more = { fin: false };

// 5.1, 5.3: masking

test('5.1: a server fails the connection when a frame of a client is not masked', async (t) => {
  const { answers, error } = await toServer(t, frame(text('Hello', { key: null })));
  t.is(error, 1002);
  t.deepEqual(answers, ['close 1002 a frame of a client is not masked']);
});

test('5.1: a client fails the connection when a frame of a server is masked', async (t) => {
  const { answers, error } = await toClient(t, frame(text('Hello')));
  t.is(error, 1002);
  t.deepEqual(answers, ['close 1002 a frame of a server is masked']);
});

test('5.3: a server accepts any key, and a different one for each frame', async (t) => {
  const keys = [
    [0, 0, 0, 0],
    [255, 255, 255, 255],
    [1, 2, 3, 4],
    [0, 0, 0, 1],
  ];
  const frames = keys.map((key, i) => frame(text(`m${i}`, { key: Uint8Array.from(key) })));
  const { answers } = await toServer(t, Buffer.concat([...frames, frame(closing(1000))]));
  t.deepEqual(answers, ['text m0', 'text m1', 'text m2', 'text m3', 'close 1000']);
});

// 5.2: the frame

for (const rsv of [1, 2, 4, 7]) {
  bad(`5.2: reserved bits ${rsv} in a data frame`, 1002, [text('a'), text('b', { rsv })], ['text a']);
  bad(`5.2: reserved bits ${rsv} in a control frame`, 1002, [ping('a'), ping('b', { rsv })], ['pong a']);
}
for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
  bad(`5.2: the unknown opcode ${opcode}`, 1002, [text('a'), { opcode, payload: 'b' }], ['text a']);
}
for (const length of [0, 1, 125, 126, 127, 128, 65_535, 65_536, MAX_MESSAGE]) {
  good(
    `5.2: a text of ${length} bytes`,
    [text('*'.repeat(length))],
    [length === 0 ? 'text' : `text ${'*'.repeat(length)}`],
  );
  good(
    `5.2: ${length} bytes`,
    [binary(Buffer.alloc(length, 0xfe))],
    [length === 0 ? 'binary' : `binary ${'fe'.repeat(length)}`],
  );
}
bad('5.2: a length of 125 in two bytes', 1002, [text('a'.repeat(125), { lengthBytes: 2 })]);
bad('5.2: a length of 65535 in eight bytes', 1002, [text('a'.repeat(65_535), { lengthBytes: 8 })]);
bad('5.2: a length with the highest bit', 1002, [text('a', { lengthBytes: 8, length: 1n << 63n })]);

// 5.4: fragments

good('5.4: a text in two fragments', [text('Hel', more), next('lo')], ['text Hello']);
good(
  '5.4: a text with a character in two fragments',
  [text('€'.slice(0, 0), more), next(Buffer.of(0xe2, 0x82), more), next(Buffer.of(0xac))],
  ['text €'],
);
good(
  '5.4: bytes in many fragments',
  [binary('a', more), ...Array<FrameParts>(50).fill(next('b', more)), next('c')],
  [`binary 61${'62'.repeat(50)}63`],
);
good('5.4: a message of empty fragments', [text('', more), next('', more), next('')], ['text']);
good(
  '5.4: control frames between fragments',
  [text('a', more), ping('1'), next('b', more), pong('2'), ping('3'), next('c')],
  ['pong 1', 'pong 3', 'text abc'],
);
good('5.4: a close frame between fragments', [text('a', more), closing(1000)], ['close 1000']);
good(
  '5.4: messages follow each other, with fragments and without',
  [text('a', more), next('b'), text('c'), binary('d', more), next('e')],
  ['text ab', 'text c', 'binary 6465'],
);
bad('5.4: a continuation of nothing', 1002, [next('a')]);
bad('5.4: a continuation of nothing that is not final', 1002, [next('a', more)]);
bad('5.4: a continuation after a message has ended', 1002, [text('a', more), next('b'), next('c')], ['text ab']);
bad('5.4: a continuation after a message in one frame', 1002, [text('a'), next('b')], ['text a']);
bad('5.4: a text within a text in fragments', 1002, [text('a', more), text('b')]);
bad('5.4: bytes within a text in fragments', 1002, [text('a', more), binary('b', more)]);

// 5.5: control frames

good('5.5: a control frame of 125 bytes', [ping('p'.repeat(125))], [`pong ${'p'.repeat(125)}`]);
bad('5.5: a ping of 126 bytes', 1002, [ping('p'.repeat(126))]);
bad('5.5: a pong of 126 bytes', 1002, [pong('p'.repeat(126))]);
bad('5.5: a close frame of 126 bytes', 1002, [closing(1000, 'r'.repeat(124))]);
bad('5.5: a ping in fragments', 1002, [ping('a', more), next('b')]);
bad('5.5: a pong in fragments', 1002, [pong('a', more), next('b')]);
bad('5.5: a close frame in fragments', 1002, [{ ...close(3, 232), fin: false }]);
good('5.5.1: a close frame without a code', [close()], ['close']);
good('5.5.1: a close frame with a code', [closing(1000)], ['close 1000']);
good('5.5.1: a close frame with a code and a reason', [closing(1001, 'until tomorrów')], ['close 1001']);
good('5.5.1: a close frame with a reason of 123 bytes', [closing(1000, 'r'.repeat(123))], ['close 1000']);
good(
  '5.5.1: messages after a close frame are not processed',
  [text('a'), closing(1000), text('b')],
  ['text a', 'close 1000'],
);
good('5.5.1: pings after a close frame are not answered', [closing(1000), ping('b')], ['close 1000']);
good('5.5.1: a second close frame is not answered', [closing(1000), closing(1001)], ['close 1000']);
good('5.5.1: what follows a close frame is not even checked', [closing(1000), next('b', { rsv: 7 })], ['close 1000']);
good(
  '5.5.2: pings are answered with the same bytes, in order',
  [ping(''), ping('a'), ping('€')],
  ['pong', 'pong a', 'pong €'],
);
good('5.5.3: unsolicited pongs are ignored', [pong('a'), pong(''), text('b')], ['text b']);

// 5.6, 8.1: text is UTF-8

for (const bytes of GOOD_TEXTS)
  good(`5.6: the text ${bytes.toString('hex')}`, [text(bytes)], [`text ${bytes.toString()}`]);
for (const [bytes] of BAD_TEXTS) {
  bad(`8.1: the text ${bytes.toString('hex')}`, 1007, [text(bytes)]);
  bad(`8.1: the text ${bytes.toString('hex')} in two fragments`, 1007, [
    text(bytes.subarray(0, 2), more),
    next(bytes.subarray(2)),
  ]);
  good(`5.6: ${bytes.toString('hex')} as bytes`, [binary(bytes)], [`binary ${bytes.toString('hex')}`]);
}

// 7.4: codes

for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]) {
  good(`7.4: the close code ${code}`, [closing(code)], [`close ${code}`]);
}
for (const code of [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535]) {
  bad(`7.4: the close code ${code}, which must not be sent`, 1002, [closing(code)]);
}
bad('7.1.5: a close frame of one byte', 1002, [close(3)]);
bad('7.1.6: a reason that is not UTF-8', 1007, [closing(1000, Buffer.of(0x61, 0xff))]);

// 7.1: the end of the connection

test('7.1.5: a connection that ends without a close frame is an error with the code 1006', async (t) => {
  for (const sent of [[], [text('a')], [text('a', more)]] satisfies Sent[]) {
    for (const [side, { answers, error }] of await outcomes(t, sent)) {
      t.is(error, 1006, side);
      t.is(answers.length, sent.some(({ fin }) => fin === undefined) ? 1 : 0, side);
    }
  }
});

test('7.1.5: a connection that ends within a frame is an error with the code 1006', async (t) => {
  const whole = frame(binary(Buffer.alloc(60_000)));
  for (const end of [1, 2, 3, 4, 7, 8, 100, 59_000])
    t.deepEqual(await toServer(t, whole.subarray(0, end)), { answers: [], error: 1006 });
  const unmasked = frame(binary(Buffer.alloc(60_000), { key: null }));
  for (const end of [1, 3, 4, 100, 59_000])
    t.deepEqual(await toClient(t, unmasked.subarray(0, end)), { answers: [], error: 1006 });
});

// 10.4: limits

bad('10.4: a message over the maximum', 1009, [text('a'), binary(Buffer.alloc(MAX_MESSAGE + 1))], ['text a']);
bad('10.4: a message that announces more than the maximum', 1009, [binary('', { length: 2 ** 40 })]);
bad('10.4: fragments that are together over the maximum', 1009, [binary(Buffer.alloc(MAX_MESSAGE), more), next('a')]);
