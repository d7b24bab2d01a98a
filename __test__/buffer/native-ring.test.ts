/**
 * Which functions of the addon the native ring calls, and how often. What a ring does is tested by the contract in
 * ring.test.ts, on the real binary; here the functions of the addon record each call.
 */
// Runs once: it makes its own rings.
import test, { type ExecutionContext } from 'ava';
import { StreamServer, connect, engine } from 'sluice';
import { loadAddon, type Addon } from '#ts/buffer/native.js';
import { NativeRing } from '#ts/buffer/native-ring.js';
import { Lengths } from '#ts/buffer/lengths.js';
import { FrameIndex, type ListedFraming, type Listing } from '#ts/buffer/ring.js';
import { Separator } from '#ts/buffer/separator.js';
import { portOf } from '../loopback.js';

interface Watched {
  readonly addon: Addon;
  /** The names of the functions called since the last time. */
  names(): string[];
}

/** The addon, with its calls recorded. */
function watched(addon: Addon): Watched {
  const calls: string[] = [];
  const entries = Object.entries(addon as unknown as Record<string, (...args: unknown[]) => unknown>);
  const noting = entries.map(([name, call]) => [
    name,
    (...args: unknown[]) => {
      calls.push(name);
      return call(...args);
    },
  ]);
  return { addon: Object.fromEntries(noting) as Addon, names: () => calls.splice(0) };
}

function native(title: string, run: (t: ExecutionContext, addon: Addon) => void | Promise<void>): void {
  test(title, async (t) => {
    const addon = loadAddon();
    if (addon !== null) return run(t, addon);
    t.log('no binary is loaded');
    t.not(process.env['SLUICE_ENGINE'], 'native');
  });
}

const separator = (...sequences: string[]): Separator => new Separator(sequences.map((text) => Buffer.from(text)));

function listing(framing: ListedFraming, max = 9): Listing {
  return { framing, words: new Uint32Array(FrameIndex.ENDS + max), limit: 100, max };
}

native(
  'every operation that adds bytes is one call, listing included; bytes that are not searched and fit, and what only reads memory, need none',
  (t, real) => {
    const { addon, names } = watched(real);
    const ring = new NativeRing(addon);
    const lines = listing(separator('\n'));
    ring.append(Buffer.from('one\ntwo'), lines);
    t.deepEqual(names(), ['Separator', 'append']);
    const region = ring.reserve(10);
    region[0] = 10;
    ring.commit(1, lines);
    t.deepEqual(names(), ['commit']);
    t.deepEqual([...lines.words.subarray(0, 6)], [2, 8, 0, 0, 4, 8]);
    ring.copyTo(Buffer.alloc(4), 0, 0, 4);
    ring.view(0, 8);
    ring.consume(8);
    ring.reserve(200);
    t.deepEqual(names(), []);
    ring.append(Buffer.from('three'));
    t.deepEqual(names(), []);
    ring.unread(Buffer.from('x'));
    ring.list(listing(separator('r')));
    t.deepEqual(names(), ['unread', 'Separator', 'list']);
    ring.trim(Infinity);
    ring.consume(6);
    ring.trim(0);
    t.deepEqual(names(), []);
  },
);

native('a ring moves to a larger block within the call that is repeated with that block', (t, real) => {
  const { addon, names } = watched(real);
  const ring = new NativeRing(addon);
  ring.append(Buffer.alloc(250));
  t.deepEqual(names(), ['append']);
  ring.append(Buffer.alloc(250));
  t.deepEqual(names(), ['append', 'append']);
  t.is(ring.capacity, 512);
  ring.unread(Buffer.alloc(100));
  t.deepEqual(names(), ['unread', 'unread']);
  ring.reserve(1000);
  t.deepEqual(names(), ['reserve', 'reserve']);
  t.is(ring.length, 600);
  ring.consume(590);
  ring.trim(0);
  t.deepEqual(names(), ['reserve'], 'a smaller block is one call');
  t.is(ring.length, 10);
});

native('a separator is passed to the addon once, whichever rings search for it', (t, real) => {
  const { addon, names } = watched(real);
  const found = separator(';', '--');
  for (let i = 0; i < 3; i++) new NativeRing(addon).append(Buffer.from('a;b--'), listing(found));
  t.deepEqual(names(), ['Separator', 'append', 'append', 'append']);
});

native(
  'frames by length are listed by the call that brings them, and their description is handed over once',
  (t, real) => {
    const { addon, names } = watched(real);
    const lengths = Lengths.of('uint8', 0, 0, 0, 10);
    for (let i = 0; i < 2; i++) {
      const ring = new NativeRing(addon);
      const frames = listing(lengths);
      ring.append(Uint8Array.of(1, 7, 2, 8), frames);
      ring.reserve(10)[0] = 9;
      ring.commit(1, frames);
      t.deepEqual([...frames.words.subarray(0, 6)], [2, 5, 0, 0, 2, 5]);
    }
    t.deepEqual(names(), ['Lengths', 'append', 'commit', 'append', 'commit']);
  },
);

native('memory that the addon refuses is copied first', (t, addon) => {
  const shared = new Uint8Array(new SharedArrayBuffer(50)).fill(7);
  const ring = new NativeRing(addon);
  ring.append(Buffer.from('abcdef'));
  ring.append(ring.view(0, 3)!);
  ring.unread(ring.view(3, 6)!);
  t.is(ring.view(0, 12)?.toString() ?? null, null, 'they wrap around');
  const bytes = Buffer.alloc(12);
  ring.copyTo(bytes, 0, 0, 12);
  t.is(bytes.toString(), 'defabcdefabc');
  ring.append(shared);
  ring.unread(shared);
  t.is(ring.length, 112);
  ring.copyTo(bytes, 0, 50, 62);
  t.is(bytes.toString(), 'defabcdefabc');
});

native('an invalid argument leaves the ring unchanged', (t, addon) => {
  const ring = new NativeRing(addon);
  ring.append(Buffer.alloc(200, 1));
  const bad = { ...listing(separator('\n')), limit: -1 };
  t.throws(() => ring.append(Buffer.alloc(5000), bad), { instanceOf: RangeError, message: /limit/ });
  t.is(ring.length, 200);
  t.deepEqual(ring.view(0, 200), Buffer.alloc(200, 1));
});

test('over TCP, the native engine is called once per chunk, never once per line', async (t) => {
  const addon = loadAddon();
  if (addon === null || engine !== 'native') {
    t.log('the engine is not native');
    t.not(process.env['SLUICE_ENGINE'], 'native');
    return;
  }
  // The module of the addon is one object for all rings: its functions are replaced while this test counts.
  const functions = addon as unknown as Record<string, (...args: unknown[]) => unknown>;
  const counts: Record<string, number> = {};
  const restore = Object.entries(functions).map(([name, call]) => {
    functions[name] = (...args) => {
      counts[name] = (counts[name] ?? 0) + 1;
      return call(...args);
    };
    return () => void (functions[name] = call);
  });
  t.teardown(() => restore.forEach((put) => put()));

  const line = `${'x'.repeat(63)}\n`;
  const chunk = Buffer.from(line.repeat(1024));
  const chunks = 200;
  const server = new StreamServer(
    async (peer) => {
      for (let i = 0; i < chunks; i++) await peer.write(chunk);
    },
    '127.0.0.1',
    0,
  );
  await server.startServing();
  t.teardown(() => server.abort());

  const ways: Record<string, (stream: Awaited<ReturnType<typeof connect>>) => Promise<number>> = {
    readline: async (stream) => {
      let lines = 0;
      while ((await stream.readline()).length > 0) lines++;
      return lines;
    },
    readuntil: async (stream) => {
      let lines = 0;
      for (; lines < chunks * 1024; lines++) await stream.readuntil('x\n');
      return lines;
    },
    batches: async (stream) => {
      let lines = 0;
      for await (const batch of stream.lines().batches()) lines += batch.length;
      return lines;
    },
    readframes: async (stream) => {
      let lines = 0;
      for (let frames; (frames = await stream.readframes()).length > 0;) lines += frames.length;
      return lines;
    },
  };
  for (const [name, read] of Object.entries(ways)) {
    await using stream = await connect('127.0.0.1', portOf(server));
    for (const key of Object.keys(counts)) counts[key] = 0;
    const lines = await read(stream);
    t.is(lines, chunks * 1024, name);
    t.is(stream.bytesRead, chunks * chunk.length);
    const { append = 0, commit = 0, list = 0, reserve = 0, unread = 0 } = counts;
    t.log(`${name}: ${append} append, ${commit} commit, ${list} list, ${reserve} reserve`);
    // The rest of a line may be committed to the ring that receives the next chunk, in a call of its own, while frames
    // are lent.
    t.true(append + commit > 0, name);
    // The first index lists only a few frames.
    t.true(list <= 12, `${name}: ${list} calls list only`);
    // Bytes are moved, or memory is allocated, once for several chunks.
    t.true(reserve <= append + commit, `${name}: ${reserve} calls make room`);
    t.is(unread, 0);
    t.true(append + commit + list + reserve < lines / 100, 'far fewer calls than lines');
  }
});
