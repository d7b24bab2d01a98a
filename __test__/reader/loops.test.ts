/** Leaving a loop while it waits: its read ends, no data is lost, and the stream can be read again. */
import { PassThrough, Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import {
  StreamReader,
  StreamServer,
  UnixStreamServer,
  connect,
  connectReadPipe,
  connectUnix,
  type Stream,
} from 'sluice';
import { readerIntake } from '#ts/reader/reader.js';
import { certificates } from '../certificates.js';
import { unixPath } from '../fifo.js';
import { portOf } from '../loopback.js';

type Source = StreamReader | Stream;
type Item = string | string[] | Buffer;

const DONE = { done: true, value: undefined };

const loops: readonly (readonly [string, (source: Source, signal?: AbortSignal) => AsyncIterableIterator<Item>])[] = [
  ['for await', (source) => source[Symbol.asyncIterator]()],
  ['lines()', (source, signal) => source.lines({ signal })],
  ['lines().batches()', (source, signal) => source.lines({ signal }).batches()],
  ['frames()', (source, signal) => source.frames('\n', { signal })],
];

const text = (item: Item): string => (Array.isArray(item) ? item.join() : item.toString()).trimEnd();

for (const [name, loop] of loops) {
  test(`${name}: return() ends a next() that waits, and consumes nothing`, async (t) => {
    const reader = new StreamReader();
    reader.feedData('one\nhal');
    const iterator = loop(reader);
    t.is(text((await iterator.next()).value as Item), 'one');
    const waiting = iterator.next();
    t.deepEqual(await iterator.return?.(), DONE);
    t.deepEqual(await waiting, DONE);
    t.is(reader.buffered, 3);
    t.deepEqual(await iterator.next(), DONE, 'a loop that was left has ended');
    reader.feedData('f\nthree\n');
    t.deepEqual(await iterator.return?.(), DONE);
    t.is((await reader.readline()).toString(), 'half\n');
    for await (const item of loop(reader)) {
      t.is(text(item), 'three');
      break;
    }
    t.is(reader.buffered, 0);
  });

  test(`${name}: return() does not end a read that another call started`, async (t) => {
    const reader = new StreamReader();
    const others = [
      () => reader.readline(),
      () =>
        reader
          .lines({ keepEnds: true })
          .next()
          .then(({ value }) => value),
    ];
    for (const other of others) {
      const iterator = loop(reader);
      const waiting = other();
      const refused = await t.throwsAsync(iterator.next());
      t.is((refused as NodeJS.ErrnoException).code, 'ERR_CONCURRENT_READ');
      await iterator.return?.();
      reader.feedData('mine\n');
      t.is(String(await waiting), 'mine\n');
    }
  });

  test(`${name}: Readable.from(...).destroy() loses no line`, async (t) => {
    const reader = new StreamReader();
    const readable = Readable.from(loop(reader));
    const seen: string[] = [];
    readable.on('data', (item: Item) => seen.push(text(item)));
    reader.feedData('one\n');
    while (seen.length === 0) await turn();
    const closed = new Promise((resolve) => readable.on('close', resolve));
    readable.destroy();
    await closed;
    reader.feedData('two\n');
    t.is((await reader.readline()).toString(), 'two\n');
    t.deepEqual(seen, ['one']);
  });

  test(`${name}: leaving the loop ends its hold on the stream, and its effect on back-pressure`, async (t) => {
    const reader = new StreamReader({ limit: 10 });
    const calls: string[] = [];
    const intake = readerIntake(reader);
    intake.attach(
      { resumeReading: () => calls.push('resume') },
      {
        transport: null,
        retain: () => calls.push('retain'),
        release: () => calls.push('release'),
      },
    );
    const iterator = loop(reader);
    const waiting = iterator.next();
    await iterator.return?.();
    t.deepEqual(await waiting, DONE);
    t.deepEqual(calls.splice(0), ['retain', 'release']);
    t.false(intake.feed(Buffer.from('x\n'.repeat(11))), 'no read waits: what arrives counts against the limit');
    t.deepEqual(calls, []);
    await reader.read(22);
    t.deepEqual(calls.splice(0), ['resume']);
  });

  // Frames over the limit are left, not skipped.
  if (name === 'frames()') continue;

  test(`${name}: a loop left while an overlong line is skipped does not stop the skipping`, async (t) => {
    const reader = new StreamReader({ limit: 4 });
    const first = loop(reader);
    reader.feedData('too long');
    await t.throwsAsync(first.next(), { code: 'ERR_LIMIT_OVERRUN' });
    const iterator = loop(reader);
    const waiting = iterator.next();
    await iterator.return?.();
    t.deepEqual(await waiting, DONE);
    reader.feedData(' still\nnext\n');
    t.is((await reader.readline()).toString(), 'next\n');
  });
}

for (const [name, loop] of loops.slice(1)) {
  test(`${name}: a signal has no effect on a loop that was left`, async (t) => {
    const reader = new StreamReader();
    const controller = new AbortController();
    const iterator = loop(reader, controller.signal);
    const waiting = iterator.next();
    await iterator.return?.();
    t.deepEqual(await waiting, DONE);
    const next = reader.readline();
    controller.abort(new Error('late'));
    reader.feedData('line\n');
    t.is((await next).toString(), 'line\n');
    t.deepEqual(await iterator.next(), DONE);
  });
}

test('lines(): a new loop over the same object continues after one that was left while it waited', async (t) => {
  const reader = new StreamReader();
  const lines = reader.lines();
  reader.feedData('one\n');
  for await (const line of lines) {
    t.is(line, 'one');
    break;
  }
  const waiting = lines[Symbol.asyncIterator]().next();
  await lines.return();
  t.deepEqual(await waiting, DONE);
  t.deepEqual(await lines.next(), DONE);
  reader.feedData('two\n');
  reader.feedEof();
  const seen: string[] = [];
  for await (const line of lines) seen.push(line);
  t.deepEqual(seen, ['two']);
});

// ------------------------------------------------------------------------------------------------- over transports

/** A stream, and a way to make its peer send. */
interface Wired {
  readonly stream: Stream;
  send(data: string): void;
}

type Wire = (t: ExecutionContext) => Promise<Wired>;

/** A connection to a server; `side` is the side whose stream the loop reads. */
async function sides(
  t: ExecutionContext,
  side: 'client' | 'server',
  encrypted: boolean,
  unix: boolean,
): Promise<Wired> {
  const tls = encrypted ? await certificates() : null;
  const ssl = tls === null ? {} : { ssl: { key: tls.server.key, cert: tls.server.cert } };
  let accept!: (stream: Stream) => void;
  const accepted = new Promise<Stream>((resolve) => (accept = resolve));
  const handler = (stream: Stream): void => accept(stream);
  const file = unix ? unixPath(t) : '';
  const tcp = new StreamServer(handler, '127.0.0.1', 0, ssl);
  const server = unix ? new UnixStreamServer(handler, file, ssl) : tcp;
  await server.startServing();
  const trust = tls === null ? {} : { ssl: { ca: tls.ca }, serverHostname: 'localhost' };
  const client = unix ? await connectUnix(file, trust) : await connect('127.0.0.1', portOf(tcp), trust);
  const serverSide = await accepted;
  t.teardown(async () => {
    await Promise.all([client.abort(), serverSide.abort()]);
    await server.abort();
  });
  const [stream, peer] = side === 'client' ? [client, serverSide] : [serverSide, client];
  return { stream, send: (data) => void peer.write(data) };
}

const wires: readonly (readonly [string, Wire])[] = [
  ...(['client', 'server'] as const).flatMap((side) =>
    (
      [
        ['TCP', false, false],
        ['TLS', true, false],
        ['Unix socket', false, true],
      ] as const
    ).map(([name, encrypted, unix]): readonly [string, Wire] => [
      `${name}, ${side}`,
      (t) => sides(t, side, encrypted, unix),
    ]),
  ),
  [
    'pipe',
    async (t) => {
      const pipe = new PassThrough();
      const stream = await connectReadPipe(pipe);
      t.teardown(() => stream.abort());
      return { stream, send: (data) => void pipe.write(data) };
    },
  ],
];

for (const [transport, wire] of wires) {
  test(`${transport}: a loop that is left while it waits loses no line`, async (t) => {
    const { stream, send } = await wire(t);
    for (const [name, loop] of loops) {
      const iterator = loop(stream);
      send('one\n');
      t.is(text((await iterator.next()).value as Item), 'one', name);
      const waiting = iterator.next();
      await turn();
      await iterator.return?.();
      t.deepEqual(await waiting, DONE, name);

      const readable = Readable.from(loop(stream));
      const seen: string[] = [];
      const first = new Promise((resolve) => readable.once('data', resolve));
      readable.on('data', (item: Item) => seen.push(text(item)));
      send('two\n');
      await first;
      const closed = new Promise((resolve) => readable.on('close', resolve));
      readable.destroy();
      await closed;
      t.deepEqual(seen, ['two'], name);

      send('three\nfour\n');
      t.is((await stream.readline()).toString(), 'three\n', name);
      t.is((await stream.readexactly(5)).toString(), 'four\n', name);
    }
  });
}

test('lines({ signal }): a signal does not affect a loop that was left, and ends one that waits', async (t) => {
  const { stream, send } = await sides(t, 'client', false, false);
  const controller = new AbortController();
  const left = stream.lines({ signal: controller.signal });
  const waiting = left.next();
  await left.return();
  t.deepEqual(await waiting, DONE);
  const rejected = t.throwsAsync(stream.lines({ signal: controller.signal }).next(), { message: 'enough' });
  controller.abort(new Error('enough'));
  await rejected;
  send('line\n');
  t.is((await stream.readline()).toString(), 'line\n');
});
