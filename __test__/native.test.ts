/** The binary itself: what it does with wrong arguments, and how it is looked for. */
// Runs once: it looks for the binary by itself, and starts processes with environments of their own.
import { spawnSync } from 'node:child_process';
import { closeSync, cpSync, mkdirSync, openSync, readSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Addon, isMusl, loadAddon, platformPackages, VERSION } from '#ts/native.js';
import { NativeRing } from '#ts/native-ring.js';
import { FrameIndex, HEADER_BYTES } from '#ts/ring.js';
import { Separator } from '#ts/separator.js';
import { directory } from './fifo.js';

const addon = loadAddon();

/** A test of the binary; without one, it says so. */
function native(title: string, run: (t: ExecutionContext, addon: Addon) => void): void {
  test(title, (t) => {
    if (addon !== null) {
      run(t, addon);
      return;
    }
    t.log('no binary is loaded');
    t.not(process.env['SLUICE_ENGINE'], 'native');
  });
}

/** A block with these cursors and, as its data, as many bytes as are given. */
function block(head: number, length: number, data: string): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + data.length);
  new Uint32Array(bytes.buffer, 0, 2).set([head, length]);
  bytes.set(Buffer.from(data, 'latin1'), HEADER_BYTES);
  return bytes;
}

function cursors(bytes: Uint8Array): number[] {
  return [...new Uint32Array(bytes.buffer, bytes.byteOffset, 4)];
}

/** Each function with a block, and otherwise with right arguments. */
function calls(addon: Addon): Record<string, (block: Uint8Array) => unknown> {
  const line = addon.Separator([Uint8Array.of(10)]);
  return {
    write: (block) => addon.write(block, Buffer.from('x')),
    unread: (block) => addon.unread(block, Buffer.from('x')),
    copyTo: (block) => addon.copyTo(block, 0, 1, Buffer.alloc(1), 0),
    relocate: (block) => addon.relocate(block, new Uint8Array(HEADER_BYTES + 64)),
    index: (block) => addon.index(block, line, 0, 0, 0, 9, 9, new Uint32Array(16)),
  };
}

native('the functions work on a block in place', (t, addon) => {
  const bytes = block(6, 3, 'c.....ab');
  addon.write(bytes, Buffer.from('de'));
  addon.unread(bytes, Buffer.from('XY'));
  t.deepEqual(cursors(bytes), [4, 7, 0, 0]);
  const copy = Buffer.alloc(9, 0x2d);
  addon.copyTo(bytes, 0, 7, copy, 1);
  t.is(copy.toString(), '-XYabcde-');
  const other = block(5, 2, '..........');
  addon.relocate(bytes, other);
  t.deepEqual(cursors(other), [0, 7, 0, 0]);
  t.is(Buffer.from(other.buffer, HEADER_BYTES).toString(), 'XYabcde...');
  const out = new Uint32Array(8);
  const separator = addon.Separator([Buffer.from('bc'), Buffer.from('Y')]);
  t.is(addon.index(bytes, separator, 0, 0, 0, 9, 9, out), 2);
  t.deepEqual([...out], [2, 6, 0, 0, 2, 5, 0, 0]);
});

native('a block whose cursors cannot be true is a RangeError, and stays as it is', (t, addon) => {
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

native('a block that is too short, or gone, is an error', (t, addon) => {
  for (const [name, call] of Object.entries(calls(addon))) {
    for (const size of [0, 1, 15]) {
      t.throws(() => call(new Uint8Array(size)), { instanceOf: RangeError }, `${name}, ${size} bytes`);
    }
    const detached = block(0, 4, 'a\nbcdefg');
    structuredClone(detached.buffer, { transfer: [detached.buffer as ArrayBuffer] });
    t.throws(() => call(detached), { instanceOf: Error, message: new RegExp(`^${name}: `) }, name);
  }
});

native('a block of another type is a TypeError', (t, addon) => {
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
  const out = new Uint32Array(8);
  type Loose = Record<string, (...list: unknown[]) => unknown>;
  const loose = addon as unknown as Loose;
  for (const wrong of [undefined, null, 'x', {}, [], Symbol('x'), new Float64Array(8), () => 1]) {
    const expected = { instanceOf: TypeError };
    t.throws(() => loose['write']!(bytes, wrong), expected);
    t.throws(() => loose['unread']!(bytes, wrong), expected);
    t.throws(() => loose['relocate']!(bytes, wrong), expected);
    t.throws(() => loose['copyTo']!(bytes, wrong, 1, Buffer.alloc(1), 0), expected);
    t.throws(() => loose['copyTo']!(bytes, 0, 1, wrong, 0), expected);
    t.throws(() => loose['index']!(bytes, wrong, 0, 0, 9, 9, out), expected);
    t.throws(() => loose['index']!(bytes, line, 0, 0, 9, 9, wrong), expected);
    t.throws(() => loose['index']!(bytes, line, 0, wrong, 9, 9, out), expected);
  }
  for (const name of ['write', 'unread', 'relocate', 'copyTo', 'index']) {
    t.throws(() => loose[name]!(), { instanceOf: TypeError });
  }
  t.deepEqual(cursors(bytes), [0, 4, 0, 0]);
});

native('seek sets the position of an open file, and tells why it cannot', (t, addon) => {
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

native('positions that are out of order, or none, are RangeErrors', (t, addon) => {
  const bytes = block(6, 4, 'a\nbcdefg');
  const line = addon.Separator([Uint8Array.of(10)]);
  const out = new Uint32Array(8).fill(7);
  const target = Buffer.alloc(4, 7);
  const expected = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };
  for (const [start, end] of [
    [0, 5],
    [3, 2],
    [-1, 2],
    [0.5, 2],
    [NaN, 2],
    [0, 2 ** 32],
    [2 ** 32 - 1, 2 ** 32 - 1],
    [0, Infinity],
  ] as const) {
    t.throws(() => addon.copyTo(bytes, start, end, target, 0), expected);
    t.throws(() => addon.index(bytes, line, start, end, 0, 9, 9, out), expected);
  }
  for (const at of [1, 4, 5, 2 ** 32 - 1, -1, NaN]) {
    t.throws(() => addon.copyTo(bytes, 0, 4, target, at), expected);
  }
  t.deepEqual([...target], [7, 7, 7, 7]);
  t.deepEqual([...out], Array<number>(8).fill(7));
});

native('what has no room is a RangeError, and nothing is written', (t, addon) => {
  const bytes = block(6, 4, 'a\nbcdefg');
  const before = Uint8Array.from(bytes);
  const expected = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };
  t.throws(() => addon.write(bytes, Buffer.alloc(5)), expected);
  t.throws(() => addon.unread(bytes, Buffer.alloc(5)), expected);
  t.throws(() => addon.relocate(bytes, new Uint8Array(HEADER_BYTES + 3)), expected);
  t.throws(() => addon.relocate(bytes, new Uint8Array(3)), expected);
  const line = addon.Separator([Uint8Array.of(10)]);
  for (const words of [0, FrameIndex.ENDS - 1]) {
    t.throws(() => addon.index(bytes, line, 0, 0, 0, 9, 9, new Uint32Array(words)), expected);
  }
  t.deepEqual(bytes, before);
  const few = new Uint32Array(FrameIndex.ENDS);
  t.is(addon.index(bytes, line, 0, 0, 0, 9, 9, few), 0);
});

native('arrays that overlap are TypeErrors', (t, addon) => {
  const bytes = block(0, 4, 'a\nbcdefg........');
  const before = Uint8Array.from(bytes);
  const line = addon.Separator([Uint8Array.of(10)]);
  const expected = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE', message: /share memory/ };
  t.throws(() => addon.write(bytes, bytes.subarray(20, 24)), expected);
  t.throws(() => addon.unread(bytes, bytes.subarray(0, 4)), expected);
  t.throws(() => addon.copyTo(bytes, 0, 4, bytes.subarray(28), 0), expected);
  t.throws(() => addon.relocate(bytes, bytes), expected);
  t.throws(() => addon.relocate(bytes, bytes.subarray(8)), expected);
  t.throws(() => addon.index(bytes, line, 0, 0, 0, 9, 9, new Uint32Array(bytes.buffer)), expected);
  t.deepEqual(bytes, before);
});

native('a separator that is none is an error', (t, addon) => {
  const make = (value: unknown) => () => addon.Separator(value as Uint8Array[]);
  t.throws(make([]), { instanceOf: RangeError, code: 'ERR_SEPARATOR_EMPTY' });
  t.throws(make([Uint8Array.of(1), new Uint8Array()]), { instanceOf: RangeError, code: 'ERR_SEPARATOR_EMPTY' });
  for (const value of [undefined, null, 1, 'x', {}, Uint8Array.of(1), ['x'], [[1]], [new Uint16Array(1)]]) {
    t.throws(make(value), { instanceOf: TypeError });
  }
  // Reading an element runs JavaScript, which may do anything, even to the array that is being read.
  const hostile: unknown[] = [Uint8Array.of(1), Uint8Array.of(2)];
  Object.defineProperty(hostile, 0, {
    get: () => {
      hostile.length = 1;
      throw new RangeError('mine');
    },
  });
  t.throws(make(hostile), { message: 'mine' });
});

native('a separator keeps its bytes, whatever becomes of the arrays', (t, addon) => {
  const bytes = block(0, 8, 'ab;cd;ef');
  const sequence = Buffer.from(';');
  const separator = addon.Separator([sequence]);
  sequence.fill(0);
  const out = new Uint32Array(8);
  t.is(addon.index(bytes, separator, 0, 0, 0, 9, 9, out), 2);
});

native('a ring does itself what the binary refuses to', (t, addon) => {
  const ring = new NativeRing(addon, 0);
  const shared = new Uint8Array(new SharedArrayBuffer(300)).fill(0x61);
  ring.write(shared);
  ring.unread(shared);
  ring.write(ring.view(0, 5)!);
  const target = new Uint8Array(new SharedArrayBuffer(605));
  ring.copyTo(target, 0, 0, 605);
  t.is(ring.length, 605);
  t.true(target.every((byte) => byte === 0x61));
  const out = new Uint32Array(FrameIndex.ENDS + 4);
  t.is(ring.index(Separator.from('a', 't'), 0, 0, 0, 1.5, Infinity, out), 4);
  ring.write(Buffer.from('\n'));
  ring.consume(604);
  t.is(ring.index(Separator.from('\n', 't'), 0, 0, 0, 0.5, Infinity, out), 0);
  t.is(out[FrameIndex.OVERLONG_BODY], 1);
});

// --- Looking for it

/** The packages for a platform where `present` are installed. */
function packages(platform: string, arch: string, present: readonly string[] = [], musl = false): readonly string[] {
  return platformPackages(
    platform,
    arch,
    () => musl,
    (name) => present.includes(name),
  );
}

test('each platform has its package', (t) => {
  t.deepEqual(packages('linux', 'x64'), ['sluice-linux-x64-gnu', 'sluice-linux-x64-musl']);
  t.deepEqual(packages('linux', 'arm64'), ['sluice-linux-arm64-gnu', 'sluice-linux-arm64-musl']);
  t.deepEqual(packages('darwin', 'x64'), ['sluice-darwin-x64']);
  t.deepEqual(packages('darwin', 'arm64'), ['sluice-darwin-arm64']);
  t.deepEqual(packages('win32', 'x64'), ['sluice-win32-x64-msvc']);
  t.deepEqual(packages('win32', 'arm64'), ['sluice-win32-arm64-msvc']);
  t.deepEqual(packages('linux', 'riscv64'), []);
  t.deepEqual(packages('freebsd', 'x64'), []);
});

test('what is installed tells the C library, and the process is asked only where both packages are', (t) => {
  const gnu = 'sluice-linux-x64-gnu';
  const musl = 'sluice-linux-x64-musl';
  for (const name of [gnu, musl]) {
    const found = platformPackages('linux', 'x64', t.fail, (candidate) => candidate === name);
    t.deepEqual(found, [name]);
  }
  t.deepEqual(packages('linux', 'x64', [gnu, musl], false), [gnu, musl]);
  t.deepEqual(packages('linux', 'x64', [gnu, musl], true), [musl, gnu]);
});

test('musl is known by the report of the process, or else by its loader', (t) => {
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

test('a report looks up no host name, and the setting for it stays as it was', (t) => {
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

test('the version that the binary must have is that of the package', (t) => {
  const require = createRequire(import.meta.url);
  t.is(VERSION, (require('sluice/package.json') as { version: string }).version);
});

/** The package without a binary, in a directory of its own. */
function fakePackage(t: ExecutionContext): string {
  const root = directory(t);
  const require = createRequire(import.meta.url);
  const home = join(dirname(require.resolve('#ts/native.js')), '..');
  mkdirSync(join(root, 'dist'));
  for (const file of [
    'engine',
    'native',
    'native-ring',
    'ring',
    'separator',
    'separator-search',
    'automaton',
    'slab',
    'errors',
  ]) {
    cpSync(join(home, 'dist', `${file}.js`), join(root, 'dist', `${file}.js`));
  }
  writeFileSync(join(root, 'package.json'), JSON.stringify({ name: 'sluice', type: 'module' }));
  mkdirSync(join(root, 'node_modules'));
  symlinkSync(
    dirname(require.resolve('node-gyp-build/package.json')),
    join(root, 'node_modules', 'node-gyp-build'),
    'junction',
  );
  return root;
}

/** Puts a file where a build on this machine leaves its binary. */
function leaveBuild(root: string, content: string | Buffer): void {
  mkdirSync(join(root, 'build', 'Release'), { recursive: true });
  writeFileSync(join(root, 'build', 'Release', 'sluice.node'), content);
}

/** Installs a package that exports what `code` says. */
function installPackage(root: string, name: string, code: string, version = VERSION): void {
  const home = join(root, 'node_modules', name);
  mkdirSync(home);
  writeFileSync(join(home, 'package.json'), JSON.stringify({ name, version, main: 'main.cjs' }));
  writeFileSync(join(home, 'main.cjs'), code);
}

/** The package for this platform, first among those that may fit. */
const ownPackage = platformPackages()[0];

const complete = `
  module.exports = { Separator: class {}, write() {}, unread() {}, copyTo() {}, relocate() {}, index() {}, seek() {} };
`;

const program = `
  const { engine, createRing } = await import(process.argv[1]).catch((error) => {
    console.log('failed:', error.name, error.code, error.message);
    process.exit(3);
  });
  const ring = createRing();
  ring.write(Buffer.from('works'));
  console.log(engine, ring.view(0, ring.length).toString());
`;

/** What a process of its own prints that loads the engine of the package in `root`. */
function load(root: string, environment: Record<string, string>) {
  const { SLUICE_ENGINE: _engine, SLUICE_DEBUG: _debug, SLUICE_PREBUILD: _place, ...rest } = process.env;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '--eval', program, '--', join(root, 'dist', 'engine.js')],
    { env: { ...rest, ...environment }, encoding: 'utf8' },
  );
  return { status, stdout: stdout.trimEnd(), stderr: stderr.trimEnd() };
}

test('in a bundle, which is a part of another package, the binaries of that are left alone', (t) => {
  const root = fakePackage(t);
  writeFileSync(join(root, 'package.json'), JSON.stringify({ name: 'bundled', type: 'module' }));
  leaveBuild(root, 'what belongs to somebody else');
  const { stdout, stderr } = load(root, { SLUICE_DEBUG: '1' });
  t.is(stdout, 'typescript works');
  t.is(stderr.split('\n')[1], '  - built on this machine: not the package sluice');
});

test('without a binary the TypeScript engine serves, and says why when asked', (t) => {
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

test('the native engine, forced and not to be had, is one error with every cause', (t) => {
  const root = fakePackage(t);
  leaveBuild(root, 'this is no binary');
  const { status, stdout } = load(root, { SLUICE_ENGINE: 'native' });
  t.is(status, 3);
  t.regex(stdout, /^failed: Error ERR_NATIVE_UNAVAILABLE SLUICE_ENGINE=native, but no binary can be loaded:\n/);
  t.regex(stdout, /- built on this machine: .*sluice\.node/);
  t.regex(stdout, /- package (of this platform: none is made for|sluice-\S+: not installed)/);
  t.deepEqual(load(root, {}), { status: 0, stdout: 'typescript works', stderr: '' });
});

test('a value of SLUICE_ENGINE that names no engine is an error', (t) => {
  const { status, stdout } = load(fakePackage(t), { SLUICE_ENGINE: 'rust' });
  t.is(status, 3);
  t.is(stdout, `failed: TypeError ERR_INVALID_ARG_VALUE SLUICE_ENGINE must be 'native' or 'typescript', not "rust"`);
});

test('the package of the platform is next, and is not touched where the TypeScript engine is forced', (t) => {
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

test('of the packages for both C libraries the one that loads is used', (t) => {
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

test('a package of another version is passed over, and its binary is not loaded', (t) => {
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

test('a binary that lacks functions is passed over', (t) => {
  if (ownPackage === undefined) {
    t.pass('no package is made for this platform');
    return;
  }
  const root = fakePackage(t);
  installPackage(root, ownPackage, 'exports.write = exports.unread = exports.copyTo = exports.Separator = () => {};');
  const { stdout } = load(root, { SLUICE_ENGINE: 'native' });
  t.regex(stdout, /sluice-\S+: the binary does not match this version \(missing: relocate, index, seek\)$/);
  t.is(load(root, {}).stdout, 'typescript works');
});
