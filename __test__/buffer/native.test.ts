/** The binary itself: how it treats invalid arguments, and how it is found. */
// Runs once: it looks for the binary itself, and starts processes with their own environments.
import { spawnSync } from 'node:child_process';
import { closeSync, cpSync, mkdirSync, openSync, readSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { type Addon, isMusl, loadAddon, platformPackages, VERSION } from '#ts/buffer/native.js';
import { NativeRing } from '#ts/buffer/native-ring.js';
import { FrameIndex, HEADER_BYTES } from '#ts/buffer/ring.js';
import { descriptorOf } from '#ts/transports/node-internals.js';
import { directory } from '../fifo.js';
import { dial, listen, until } from '../loopback.js';
import { root as repository } from '../program.js';

const addon = loadAddon();

/** A test of the binary; without a binary, the test logs that. */
function native(title: string, run: (t: ExecutionContext, addon: Addon) => void | Promise<void>): void {
  test(title, async (t) => {
    if (addon !== null) {
      await run(t, addon);
      return;
    }
    t.log('no binary is loaded');
    t.not(process.env['SLUICE_ENGINE'], 'native');
  });
}

/** A block with these cursors, whose data area holds exactly these bytes. */
function block(head: number, length: number, data: string): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + data.length);
  new Uint32Array(bytes.buffer, 0, 2).set([head, length]);
  bytes.set(Buffer.from(data, 'latin1'), HEADER_BYTES);
  return bytes;
}

function cursors(bytes: Uint8Array): number[] {
  return [...new Uint32Array(bytes.buffer, bytes.byteOffset, 4)];
}

/** The words of a listing that has not started. */
const words = (): Uint32Array => new Uint32Array(16);

/** Each function, called with a block and otherwise valid arguments. */
function calls(addon: Addon): Record<string, (block: Uint8Array) => unknown> {
  const line = addon.Separator([Uint8Array.of(10)]);
  return {
    append: (block) => addon.append(block, Buffer.from('x'), undefined, words(), line, 9, 9),
    commit: (block) => addon.commit(block, 0, words(), line, 9, 9),
    list: (block) => addon.list(block, words(), line, 9, 9),
    reserve: (block) => addon.reserve(block, 1),
    unread: (block) => addon.unread(block, Buffer.from('x')),
  };
}

native('the functions work on a block in place', (t, addon) => {
  const bytes = block(6, 3, 'c.....ab');
  t.is(addon.append(bytes, Buffer.from('de')), 0);
  t.is(addon.unread(bytes, Buffer.from('XY')), 0);
  // The unread bytes wrap around: the free space precedes them.
  t.deepEqual(cursors(bytes), [4, 7, 3, 1]);
  t.is(Buffer.from(bytes.buffer, HEADER_BYTES).toString(), 'cde.XYab');
  const out = new Uint32Array(8);
  const separator = addon.Separator([Buffer.from('bc'), Buffer.from('Y')]);
  addon.list(bytes, out, separator, 9, 9);
  t.deepEqual([...out], [2, 6, 0, 0, 2, 5, 0, 0]);
  bytes[HEADER_BYTES + 3] = 0x59;
  addon.commit(bytes, 1, out, separator, 9, 9);
  t.deepEqual([...out], [3, 8, 0, 0, 2, 5, 8, 0]);
  t.deepEqual(cursors(bytes), [4, 8, 4, 0]);
});

native('one call moves a ring to another block, stores the bytes there and lists its frames', (t, addon) => {
  const bytes = block(6, 3, 'c.....ab');
  const before = Uint8Array.from(bytes);
  const line = addon.Separator([Uint8Array.of(10)]);
  const out = words();
  const data = Buffer.from('de\nfghij\n');
  const needed = addon.append(bytes, data, undefined, out, line, 9, 9);
  t.is(needed, 256);
  t.deepEqual(bytes, before);
  t.deepEqual(out, words());
  const larger = block(7, 2, '.'.repeat(needed));
  t.is(addon.append(larger, data, bytes, out, line, 9, 9), 0);
  t.deepEqual(bytes, before);
  t.deepEqual(cursors(larger), [0, 12, 12, 244]);
  t.is(Buffer.from(larger.buffer, HEADER_BYTES, 13).toString(), 'abcde\nfghij\n.');
  t.deepEqual([...out.subarray(0, 6)], [2, 12, 0, 0, 6, 12]);
  // The same for the other functions that need room.
  const reserved = new Uint8Array(larger.length);
  t.is(addon.reserve(bytes, 6), 256);
  t.is(addon.reserve(reserved, 6, bytes), 0);
  t.deepEqual(cursors(reserved), [0, 3, 3, 253]);
  const put = new Uint8Array(larger.length);
  t.is(addon.unread(bytes, Buffer.from('123456')), 256);
  t.is(addon.unread(put, Buffer.from('123456'), bytes), 0);
  t.is(Buffer.from(put.buffer, HEADER_BYTES + 250, 6).toString(), '123456');
  t.deepEqual(bytes, before);
});

native('reserve moves the unread bytes to the front if enough bytes were consumed', (t, addon) => {
  const bytes = block(4, 3, '....abc.');
  t.is(addon.reserve(bytes, 5), 0);
  t.deepEqual(cursors(bytes), [0, 3, 3, 5]);
  t.is(Buffer.from(bytes.buffer, HEADER_BYTES, 3).toString(), 'abc');
  t.is(addon.reserve(bytes, 6), 256);
});

native('a block with impossible cursors is a RangeError, and stays unchanged', (t, addon) => {
  for (const [head, length] of [
    [8, 1],
    [0, 9],
    [2 ** 32 - 1, 1],
    [0, 2 ** 32 - 1],
    [2 ** 31, 2 ** 31],
  ] as const) {
    for (const [name, call] of Object.entries(calls(addon))) {
      const bytes = block(head, length, 'a\nbcdefg');
      t.throws(() => call(bytes), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' }, name);
      t.deepEqual(cursors(bytes), [head, length, 0, 0]);
    }
  }
});

native('a block that is too short or detached is an error', (t, addon) => {
  for (const [name, call] of Object.entries(calls(addon))) {
    for (const size of [0, 1, 15]) {
      t.throws(() => call(new Uint8Array(size)), { instanceOf: RangeError }, `${name}, ${size} bytes`);
    }
    const detached = block(0, 4, 'a\nbcdefg');
    structuredClone(detached.buffer, { transfer: [detached.buffer as ArrayBuffer] });
    t.throws(() => call(detached), { instanceOf: Error, message: new RegExp(`^${name}: `) }, name);
  }
});

native('a block of the wrong type is a TypeError', (t, addon) => {
  const wrong: readonly unknown[] = [
    undefined,
    null,
    1,
    'block',
    {},
    [1, 2],
    new ArrayBuffer(32),
    new Uint16Array(32),
    new DataView(new ArrayBuffer(32)),
    new Uint8Array(new SharedArrayBuffer(32)),
  ];
  for (const [name, call] of Object.entries(calls(addon))) {
    for (const value of wrong) {
      t.throws(() => call(value as Uint8Array), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' }, name);
    }
  }
});

native('other arguments of the wrong type are TypeErrors', (t, addon) => {
  const bytes = block(0, 4, 'a\nbcdefg');
  const line = addon.Separator([Uint8Array.of(10)]);
  const x = Buffer.from('x');
  type Loose = Record<string, (...list: unknown[]) => unknown>;
  const loose = addon as unknown as Loose;
  for (const wrong of [null, 'x', {}, [], Symbol('x'), new Float64Array(8), () => 1]) {
    const expected = { instanceOf: TypeError };
    t.throws(() => loose['append']!(bytes, wrong), expected);
    t.throws(() => loose['append']!(bytes, x, wrong), expected);
    t.throws(() => loose['append']!(bytes, x, undefined, wrong, line, 9, 9), expected);
    t.throws(() => loose['append']!(bytes, x, undefined, words(), wrong, 9, 9), expected);
    t.throws(() => loose['append']!(bytes, x, undefined, words(), line, wrong, 9), expected);
    t.throws(() => loose['append']!(bytes, x, undefined, words(), line, 9, wrong), expected);
    t.throws(() => loose['commit']!(bytes, wrong), expected);
    t.throws(() => loose['commit']!(bytes, 0, wrong, line, 9, 9), expected);
    t.throws(() => loose['list']!(bytes, wrong, line, 9, 9), expected);
    t.throws(() => loose['list']!(bytes, words(), wrong, 9, 9), expected);
    t.throws(() => loose['reserve']!(bytes, wrong), expected);
    t.throws(() => loose['reserve']!(bytes, 1, wrong), expected);
    t.throws(() => loose['unread']!(bytes, wrong), expected);
    t.throws(() => loose['unread']!(bytes, x, wrong), expected);
  }
  for (const name of ['append', 'commit', 'list', 'reserve', 'unread']) {
    t.throws(() => loose[name]!(), { instanceOf: TypeError });
    t.throws(() => loose[name]!(bytes), { instanceOf: TypeError });
  }
  t.throws(() => loose['append']!(bytes, x, undefined, words()), { instanceOf: TypeError });
  t.throws(() => loose['list']!(bytes, undefined, line, 9, 9), { instanceOf: Error });
  t.deepEqual(cursors(bytes), [0, 4, 0, 0]);
});

native('seek sets the position of an open file, and says why it cannot', (t, addon) => {
  if (process.platform === 'win32') {
    t.throws(() => addon.seek(0, 0), { code: 'ENOSYS' });
    return;
  }
  const file = join(directory(t), 'file');
  writeFileSync(file, '0123456789');
  const fd = openSync(file, 'r');
  const byte = Buffer.alloc(1);
  for (const position of [7, 0, 9, 3]) {
    addon.seek(fd, position);
    t.is(readSync(fd, byte, 0, 1, null), 1);
    t.is(byte.toString(), String(position));
  }
  // Beyond 32 bits, and beyond the end.
  addon.seek(fd, 2 ** 40);
  t.is(readSync(fd, byte, 0, 1, null), 0);
  for (const value of [-1, 0.5, NaN, Infinity, 2 ** 53]) {
    t.throws(() => addon.seek(fd, value), {
      instanceOf: RangeError,
      code: 'ERR_OUT_OF_RANGE',
      message: /^seek: position must be an integer from 0 to 9007199254740991, not /,
    });
    t.throws(() => addon.seek(value, 0), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' });
  }
  for (const value of [undefined, null, '1', 1n, {}]) {
    t.throws(() => addon.seek(value as number, 0), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' });
    t.throws(() => addon.seek(fd, value as number), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' });
  }
  closeSync(fd);
  for (const none of [987_654, 2 ** 31, 2 ** 32 - 1]) {
    t.throws(() => addon.seek(none, 0), { code: 'EBADF', message: new RegExp(`^seek: fd ${none}: .*bad file`, 'i') });
  }
});

native('numbers and words out of range are RangeErrors', (t, addon) => {
  const bytes = block(6, 4, 'a\nbcdefg');
  const before = Uint8Array.from(bytes);
  const line = addon.Separator([Uint8Array.of(10)]);
  const long = addon.Separator([Buffer.from('12345678901234567')]);
  const expected = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };
  for (const [count, resume, partial, ...ends] of [
    [0, 5, 0],
    [0, 2 ** 32 - 1, 0],
    [1, 2, 0, 3],
    [1, 4, 0, 2 ** 32 - 1],
    [9, 0, 0],
    [2 ** 32 - 1, 0, 0],
    [0, 2, 1],
    [0, 2, 2 ** 32 - 1],
  ] as const) {
    const out = Uint32Array.of(count, resume, partial, 0, ...ends, 7);
    const same = Uint32Array.from(out);
    t.throws(() => addon.list(bytes, out, line, 9, 9), expected);
    t.deepEqual(out, same);
  }
  // A partial match that would have begun before the frame, and one as long as the whole separator.
  for (const partial of [3, 17]) {
    t.throws(() => addon.list(bytes, Uint32Array.of(0, 2, partial, 0), long, 9, 9), expected);
  }
  for (const size of [0, FrameIndex.ENDS - 1]) {
    t.throws(() => addon.list(bytes, new Uint32Array(size), line, 9, 9), expected);
  }
  for (const count of [5, 3, -1, 0.5, NaN, 2 ** 32 - 1, 2 ** 32]) {
    t.throws(() => addon.commit(bytes, count === 3 ? 6 : count), expected);
    if (count > 4 && count < 2 ** 32) continue;
    t.throws(() => addon.reserve(bytes, count === 3 ? -2 : count), expected);
  }
  t.throws(() => addon.reserve(bytes, 2 ** 32 - 1), expected);
  t.deepEqual(bytes, before);
  const few = new Uint32Array(FrameIndex.ENDS);
  addon.list(bytes, few, line, 9, 9);
  t.is(few[FrameIndex.COUNT], 0);
});

native('a call without enough room returns the capacity it needs, and writes nothing', (t, addon) => {
  const bytes = block(6, 4, 'a\nbcdefg');
  const before = Uint8Array.from(bytes);
  t.is(addon.append(bytes, Buffer.alloc(5)), 256);
  t.is(addon.append(bytes, Buffer.alloc(500)), 504);
  t.is(addon.unread(bytes, Buffer.alloc(5)), 256);
  t.is(addon.reserve(bytes, 5), 256);
  t.is(addon.reserve(block(0, 4, '.'.repeat(1000)), 997), 2000);
  t.deepEqual(bytes, before);
  const expected = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };
  t.throws(() => addon.reserve(new Uint8Array(3), 0, bytes), expected);
  // The new block must be large enough for the unread bytes.
  t.is(addon.reserve(new Uint8Array(HEADER_BYTES + 8), 5, bytes), 256);
  t.throws(() => addon.reserve(new Uint8Array(HEADER_BYTES + 3), 0, bytes), expected);
});

native('arrays that overlap are TypeErrors', (t, addon) => {
  const bytes = block(0, 4, 'a\nbcdefg........');
  const before = Uint8Array.from(bytes);
  const line = addon.Separator([Uint8Array.of(10)]);
  const expected = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE', message: /share memory/ };
  t.throws(() => addon.append(bytes, bytes.subarray(20, 24)), expected);
  t.throws(() => addon.append(block(0, 0, '12345678'), bytes.subarray(20, 24), bytes), expected);
  t.throws(() => addon.unread(bytes, bytes.subarray(0, 4)), expected);
  t.throws(() => addon.reserve(bytes, 1, bytes), expected);
  t.throws(() => addon.reserve(bytes, 1, bytes.subarray(8)), expected);
  t.throws(() => addon.list(bytes, new Uint32Array(bytes.buffer), line, 9, 9), expected);
  t.throws(() => addon.commit(bytes, 1, new Uint32Array(bytes.buffer), line, 9, 9), expected);
  t.deepEqual(bytes, before);
});

native('lengths whose numbers no framing can have are errors', (t, addon) => {
  const safe = Number.MAX_SAFE_INTEGER;
  const right = [5, 0, 0, 0, 10] as const;
  const make = (at: number, value: unknown) => () => {
    const numbers: unknown[] = [...right];
    numbers[at] = value;
    return addon.Lengths(...(numbers as [number, number, number, number, number]));
  };
  for (const [at, name, most] of [
    [0, 'field', 13],
    [1, 'offset', safe],
    [2, 'adjust', safe],
    [3, 'least', safe],
    [4, 'maxLengthBytes', 10],
  ] as const) {
    t.notThrows(make(at, most));
    t.notThrows(make(at, at === 2 ? -safe : 0));
    for (const value of [most + 1, at === 2 ? -safe - 1 : -1, 0.5, NaN, Infinity, -Infinity]) {
      const message = new RegExp(`^Lengths: (${name} must be an integer from -?\\d+ to \\d+, not |offset, adjust)`);
      t.throws(make(at, value), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE', message });
    }
    for (const value of [undefined, null, '1', 1n, {}]) {
      t.throws(make(at, value), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' });
    }
  }
});

native('a handle is a separator or lengths, and both are listed by the same functions', (t, addon) => {
  const bytes = block(6, 6, 'c\x01\n\n..\x01b');
  for (const [framing, ends] of [
    [addon.Separator([Buffer.from('\n')]), [5, 6]],
    [addon.Lengths(0, 0, 0, 0, 10), [2]],
    [addon.Lengths(13, 0, 3, 0, 0), [3, 6]],
  ] as const) {
    const out = words();
    addon.list(bytes, out, framing, 9, 9);
    t.deepEqual([...out.subarray(FrameIndex.ENDS, FrameIndex.ENDS + ends.length + 1)], [...ends, 0]);
  }
});

native('an invalid separator is an error', (t, addon) => {
  const make = (value: unknown) => () => addon.Separator(value as Uint8Array[]);
  t.throws(make([]), { instanceOf: RangeError, code: 'ERR_SEPARATOR_EMPTY' });
  t.throws(make([Uint8Array.of(1), new Uint8Array()]), { instanceOf: RangeError, code: 'ERR_SEPARATOR_EMPTY' });
  for (const value of [undefined, null, 1, 'x', {}, Uint8Array.of(1), ['x'], [[1]], [new Uint16Array(1)]]) {
    t.throws(make(value), { instanceOf: TypeError });
  }
  // Reading an element runs JavaScript, which may do anything, even change the array that is being read.
  const hostile: unknown[] = [Uint8Array.of(1), Uint8Array.of(2)];
  Object.defineProperty(hostile, 0, {
    get: () => {
      hostile.length = 1;
      throw new RangeError('mine');
    },
  });
  t.throws(make(hostile), { message: 'mine' });
});

native("a separator keeps its bytes when the caller's arrays change", (t, addon) => {
  const bytes = block(0, 8, 'ab;cd;ef');
  const sequence = Buffer.from(';');
  const separator = addon.Separator([sequence]);
  sequence.fill(0);
  const out = new Uint32Array(8);
  addon.list(bytes, out, separator, 9, 9);
  t.is(out[FrameIndex.COUNT], 2);
});

native('a ring handles memory that the binary refuses', (t, addon) => {
  const ring = new NativeRing(addon);
  const shared = new Uint8Array(new SharedArrayBuffer(300)).fill(0x61);
  ring.append(shared);
  ring.unread(shared);
  ring.append(ring.view(0, 5)!);
  ring.unread(ring.view(0, 5)!);
  const target = new Uint8Array(new SharedArrayBuffer(610));
  ring.copyTo(target, 0, 0, 610);
  t.is(ring.length, 610);
  t.true(target.every((byte) => byte === 0x61));
});

// --- Finding the binary

/** The packages for a platform where `present` are installed. */
function packages(platform: string, arch: string, present: readonly string[] = [], musl = false): readonly string[] {
  return platformPackages(
    platform,
    arch,
    () => musl,
    (name) => present.includes(name),
  );
}

test('each platform has its own package', (t) => {
  t.deepEqual(packages('linux', 'x64'), ['sluice-linux-x64-gnu', 'sluice-linux-x64-musl']);
  t.deepEqual(packages('linux', 'arm64'), ['sluice-linux-arm64-gnu', 'sluice-linux-arm64-musl']);
  t.deepEqual(packages('darwin', 'x64'), ['sluice-darwin-x64']);
  t.deepEqual(packages('darwin', 'arm64'), ['sluice-darwin-arm64']);
  t.deepEqual(packages('win32', 'x64'), ['sluice-win32-x64-msvc']);
  t.deepEqual(packages('win32', 'arm64'), ['sluice-win32-arm64-msvc']);
  t.deepEqual(packages('linux', 's390x'), ['sluice-linux-s390x-gnu']);
  t.deepEqual(packages('linux', 'ppc64'), ['sluice-linux-ppc64-gnu']);
  t.deepEqual(packages('linux', 'riscv64'), ['sluice-linux-riscv64-gnu']);
  t.deepEqual(packages('freebsd', 'x64'), ['sluice-freebsd-x64']);
  t.deepEqual(packages('freebsd', 'arm64'), []);
  t.deepEqual(packages('linux', 'mips64el'), []);
  t.deepEqual(packages('aix', 'ppc64'), []);
});

test('Arm with 32 bits has a package from version 7 on', (t) => {
  const forArm = (version: number): readonly string[] =>
    platformPackages(
      'linux',
      'arm',
      t.fail,
      () => false,
      () => version,
    );
  t.deepEqual(forArm(7), ['sluice-linux-arm-gnueabihf']);
  t.deepEqual(forArm(6), []);
  t.deepEqual(forArm(0), []);
});

test('the scripts build a package for each platform that is looked for, and for no other', async (t) => {
  const scripts = pathToFileURL(join(repository, 'scripts', 'platforms.mjs')).href;
  const { platforms, packageName } = (await import(scripts)) as {
    platforms: readonly { os: string; cpu: string }[];
    packageName(platform: object): string;
  };
  for (const { os, cpu } of platforms) {
    const built = platforms.filter((platform) => platform.os === os && platform.cpu === cpu).map(packageName);
    t.deepEqual(
      platformPackages(
        os,
        cpu,
        () => false,
        () => false,
        () => 7,
      ),
      built,
    );
  }
  t.true(platforms.length > 8);
});

test('the installed package decides the C library; the process report is read only where both packages are installed', (t) => {
  const gnu = 'sluice-linux-x64-gnu';
  const musl = 'sluice-linux-x64-musl';
  for (const name of [gnu, musl]) {
    const found = platformPackages('linux', 'x64', t.fail, (candidate) => candidate === name);
    t.deepEqual(found, [name]);
  }
  t.deepEqual(packages('linux', 'x64', [gnu, musl], false), [gnu, musl]);
  t.deepEqual(packages('linux', 'x64', [gnu, musl], true), [musl, gnu]);
});

test('musl is recognised by the process report, else by its loader', (t) => {
  const gnuMaps =
    '7f00-7f01 r--p 00000000 08:01 1 /usr/lib64/ld-linux-x86-64.so.2\n7f02-7f03 r--p 0 08:01 2 /bin/node\n';
  const muslMaps = '7f00-7f01 r--p 00000000 08:01 1 /lib/ld-musl-x86_64.so.1\n7f02-7f03 r--p 0 08:01 2 /bin/node\n';
  const reporting = (header: object | undefined) => ({ excludeNetwork: false, getReport: () => ({ header }) });
  const unread = () => t.fail() as unknown as string;
  t.false(isMusl({ report: reporting({ glibcVersionRuntime: '2.36' }), maps: unread }));
  t.true(isMusl({ report: reporting({}), maps: unread }));
  const refusing = {
    getReport: () => {
      throw new Error('no reports here');
    },
  };
  for (const report of [undefined, {}, reporting(undefined), refusing]) {
    t.false(isMusl({ report, maps: () => gnuMaps }));
    t.true(isMusl({ report, maps: () => muslMaps }));
    t.false(
      isMusl({
        report,
        maps: () => {
          throw new Error('no permission');
        },
      }),
    );
  }
});

test('reading the process report looks up no host name, and leaves that setting unchanged', (t) => {
  for (const before of [false, true]) {
    const seen: boolean[] = [];
    const report = {
      excludeNetwork: before,
      getReport: () => {
        seen.push(report.excludeNetwork);
        return { header: {} };
      },
    };
    isMusl({ report, maps: () => '' });
    t.deepEqual(seen, [true]);
    t.is(report.excludeNetwork, before);
  }
});

test('the binary must have the version of the package', (t) => {
  const require = createRequire(import.meta.url);
  t.is(VERSION, (require('sluice/package.json') as { version: string }).version);
});

/** The package without a binary, in its own directory. */
function fakePackage(t: ExecutionContext): string {
  const root = directory(t);
  const require = createRequire(import.meta.url);
  const home = join(dirname(require.resolve('#ts/buffer/native.js')), '..');
  mkdirSync(join(root, 'dist'));
  cpSync(join(home, 'buffer'), join(root, 'dist', 'buffer'), { recursive: true });
  cpSync(join(home, 'sluice.js'), join(root, 'dist', 'sluice.js'));
  writeFileSync(join(root, 'package.json'), JSON.stringify({ name: 'sluice', type: 'module' }));
  mkdirSync(join(root, 'node_modules'));
  cpSync(dirname(require.resolve('node-gyp-build/package.json')), join(root, 'node_modules', 'node-gyp-build'), {
    recursive: true,
  });
  return root;
}

/** Puts a file where a local build leaves its binary. */
function leaveBuild(root: string, content: string | Buffer): void {
  mkdirSync(join(root, 'build', 'Release'), { recursive: true });
  writeFileSync(join(root, 'build', 'Release', 'sluice.node'), content);
}

/** Installs a package whose main module is `code`. */
function installPackage(root: string, name: string, code: string, version = VERSION): void {
  const home = join(root, 'node_modules', name);
  mkdirSync(home);
  writeFileSync(join(home, 'package.json'), JSON.stringify({ name, version, main: 'main.cjs' }));
  writeFileSync(join(home, 'main.cjs'), code);
}

/** The preferred package for this platform. */
const ownPackage = platformPackages()[0];

const complete = `
  const append = (block, data) => {
    block.set(data, 16);
    new Uint32Array(block.buffer, 0, 2)[1] = data.length;
    return 0;
  };
  module.exports = { Separator() {}, Lengths() {}, append, commit() {}, list() {}, reserve() {}, unread() {}, seek() {}, unsent() {} };
`;

const program = `
  const { pathToFileURL } = await import('node:url');
  const { engine, createRing } = await import(pathToFileURL(process.argv[1])).catch((error) => {
    console.log('failed:', error.name, error.code, error.message);
    process.exit(3);
  });
  const ring = createRing();
  ring.append(Buffer.from('works'));
  console.log(engine, ring.view(0, ring.length).toString());
`;

/** What a separate process prints that loads the engine of the package in `root`. */
function load(root: string, environment: Record<string, string>) {
  const { SLUICE_ENGINE: _engine, SLUICE_DEBUG: _debug, SLUICE_PREBUILD: _place, ...rest } = process.env;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '--eval', program, '--', join(root, 'dist', 'buffer', 'engine.js')],
    { env: { ...rest, ...environment }, encoding: 'utf8' },
  );
  return { status, stdout: stdout.trimEnd(), stderr: stderr.trimEnd() };
}

test("in a bundle, which is part of another package, that package's binaries are not loaded", (t) => {
  const root = fakePackage(t);
  writeFileSync(join(root, 'package.json'), JSON.stringify({ name: 'bundled', type: 'module' }));
  leaveBuild(root, 'what belongs to somebody else');
  const { stdout, stderr } = load(root, { SLUICE_DEBUG: '1' });
  t.is(stdout, 'typescript works');
  t.is(stderr.split('\n')[1], '  - built on this machine: not the package sluice');
});

test('without a binary the TypeScript engine is used, and SLUICE_DEBUG prints why', (t) => {
  const root = fakePackage(t);
  t.deepEqual(load(root, {}), { status: 0, stdout: 'typescript works', stderr: '' });
  const { stdout, stderr } = load(root, { SLUICE_DEBUG: '1' });
  t.is(stdout, 'typescript works');
  const lines = stderr.split('\n');
  t.is(lines[0], 'sluice: the TypeScript engine is used; no binary');
  t.regex(lines[1]!, /^ {2}- built on this machine: No native build was found/);
  const none = [`  - package of this platform: none is made for ${process.platform} on ${process.arch}`];
  const absent = platformPackages().map((name) => `  - package ${name}: not installed`);
  t.deepEqual(lines.slice(2), absent.length > 0 ? absent : none);
});

test('SLUICE_ENGINE=native without a loadable binary is one error that lists every cause', (t) => {
  const root = fakePackage(t);
  leaveBuild(root, 'this is no binary');
  const { status, stdout } = load(root, { SLUICE_ENGINE: 'native' });
  t.is(status, 3);
  t.regex(stdout, /^failed: Error ERR_NATIVE_UNAVAILABLE SLUICE_ENGINE=native, but no binary can be loaded:\n/);
  t.regex(stdout, /- built on this machine: .*sluice\.node/);
  t.regex(stdout, /- package (of this platform: none is made for|sluice-\S+: not installed)/);
  t.deepEqual(load(root, {}), { status: 0, stdout: 'typescript works', stderr: '' });
});

test('a SLUICE_ENGINE value that names no engine is an error', (t) => {
  const { status, stdout } = load(fakePackage(t), { SLUICE_ENGINE: 'rust' });
  t.is(status, 3);
  t.is(stdout, `failed: TypeError ERR_INVALID_ARG_VALUE SLUICE_ENGINE must be 'native' or 'typescript', not "rust"`);
});

test("the platform's package is tried after a local build, and not touched if the TypeScript engine is forced", (t) => {
  if (ownPackage === undefined) {
    t.pass('no package is made for this platform');
    return;
  }
  const root = fakePackage(t);
  leaveBuild(root, '');
  installPackage(root, ownPackage, `console.log('touched');${complete}`);
  t.is(load(root, { SLUICE_ENGINE: 'native' }).stdout, 'touched\nnative works');
  t.is(load(root, {}).stdout, 'touched\nnative works');
  const { stderr } = load(root, { SLUICE_DEBUG: '1' });
  const [outcome, reason, ...more] = stderr.split('\n');
  t.is(outcome, `sluice: the native engine is used: package ${ownPackage}`);
  t.regex(reason!, /^ {2}- built on this machine: .*sluice\.node/);
  t.deepEqual(more, []);
  t.deepEqual(load(root, { SLUICE_ENGINE: 'typescript', SLUICE_DEBUG: '1' }), {
    status: 0,
    stdout: 'typescript works',
    stderr: '',
  });
});

test('of the packages for the two C libraries, the one that loads is used', (t) => {
  const [first, second] = platformPackages('linux', process.arch);
  if (process.platform !== 'linux' || first === undefined || second === undefined) {
    t.pass('no packages for two C libraries are made for this platform');
    return;
  }
  const root = fakePackage(t);
  installPackage(root, first, `console.log('gnu');${complete}`);
  installPackage(root, second, `console.log('musl');${complete}`);
  const own = isMusl() ? 'musl' : 'gnu';
  t.is(load(root, {}).stdout, `${own}\nnative works`);
  const [fitting, other] = isMusl() ? [second, first] : [first, second];
  writeFileSync(join(root, 'node_modules', fitting, 'main.cjs'), "throw new Error('cannot be loaded');");
  const { stdout, stderr } = load(root, { SLUICE_DEBUG: '1' });
  t.is(stdout, `${own === 'gnu' ? 'musl' : 'gnu'}\nnative works`);
  t.true(stderr.startsWith(`sluice: the native engine is used: package ${other}\n`), stderr);
  t.true(stderr.endsWith(`\n  - package ${fitting}: cannot be loaded`), stderr);
});

test('a package of another version is ignored, and its binary is not loaded', (t) => {
  if (ownPackage === undefined) {
    t.pass('no package is made for this platform');
    return;
  }
  const root = fakePackage(t);
  installPackage(root, ownPackage, `console.log('touched');${complete}`, '99.0.0');
  const { stdout } = load(root, { SLUICE_ENGINE: 'native' });
  t.true(stdout.endsWith(`  - package ${ownPackage}: its version is 99.0.0, and sluice is ${VERSION}`), stdout);
  t.is(load(root, {}).stdout, 'typescript works');
});

test('a binary that lacks functions is ignored', (t) => {
  if (ownPackage === undefined) {
    t.pass('no package is made for this platform');
    return;
  }
  const root = fakePackage(t);
  installPackage(root, ownPackage, 'exports.append = exports.commit = exports.reserve = exports.Separator = () => {};');
  const { stdout } = load(root, { SLUICE_ENGINE: 'native' });
  t.regex(
    stdout,
    /sluice-\S+: the binary does not match this version \(missing: Lengths, list, unread, seek, unsent\)$/,
  );
  t.is(load(root, {}).stdout, 'typescript works');
});

native('unsent counts the bytes that the peer has not acknowledged, and says why it cannot', async (t, addon) => {
  const { port, sockets } = await listen(t, (socket) => void socket.pause());
  const socket = await dial(t, port);
  const fd = descriptorOf(socket) ?? -1;
  if (process.platform !== 'linux') {
    t.throws(() => addon.unsent(Math.max(fd, 0)), { code: 'ENOSYS' });
    return;
  }
  t.is(addon.unsent(fd), 0);
  socket.write(Buffer.alloc(20_000_000));
  await until(() => addon.unsent(fd) > 0);
  sockets[0]?.resume();
  socket.end();
  await until(() => socket.writableFinished && addon.unsent(fd) <= 1);
  const file = openSync(fileURLToPath(import.meta.url), 'r');
  t.throws(() => addon.unsent(file), { code: 'ENOTTY' });
  closeSync(file);
  t.throws(() => addon.unsent(2 ** 30), { code: 'EBADF' });
  t.throws(() => addon.unsent(-1), { code: 'ERR_OUT_OF_RANGE' });
});
