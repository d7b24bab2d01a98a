// Runs once: the benchmarks choose the engine of each program themselves.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as after } from 'node:timers/promises';
import path from 'node:path';

import test from 'ava';

import { type Case, type Entry, judgedOnly, type Plot, type Settings } from '../benchmarks/case.js';
import { cases as allCases, chosen, words } from '../benchmarks/cases.js';
import { holds, judge, JUDGED_ROUNDS, median, ratio, remark, spread, type Verdict } from '../benchmarks/judge.js';
import { parse, UsageError } from '../benchmarks/options.js';
import { draw, plots } from '../benchmarks/plot.js';
import { ProgramError, run, withPrograms } from '../benchmarks/programs.js';
import { missing, page, type Results, summary, table, warnings } from '../benchmarks/report.js';
import { type CaseResult, runCase } from '../benchmarks/runner.js';
import { compareVersions, tooManyFiles } from '../benchmarks/toolchain.js';
import {
  Blocks,
  checkAnswer,
  chopped,
  expectedOf,
  headers,
  lengthPrefixed,
  lineAndBody,
  lines,
  request,
  requests,
  separated,
  verifiableOf,
  WrongAnswerError,
} from '../benchmarks/workload.js';
import { sameBytes } from './bytes.js';
import { directory } from './fifo.js';
import { root } from './program.js';

const full = (value: number): number[] => Array<number>(JUDGED_ROUNDS).fill(value);

test('the median is the middle value, whatever the order', (t) => {
  t.is(median([3]), 3);
  t.is(median([9, 1, 5]), 5);
  t.is(median([4, 1, 3, 2]), 2.5);
  t.is(median([10, 9, 1, 100, 2]), 9);
  t.throws(() => median([]), { instanceOf: RangeError });
});

test('median does not change its argument', (t) => {
  const values = [3, 1, 2];
  median(values);
  t.deepEqual(values, [3, 1, 2]);
});

test('the spread is the range over the median', (t) => {
  t.is(spread([2, 2, 2]), 0);
  t.is(spread([1, 2, 3]), 1);
  t.is(spread([0, 0]), 0);
});

test('a ratio divides ours by theirs, or theirs by ours', (t) => {
  t.is(ratio(6, 2, 'ours / theirs'), 3);
  t.is(ratio(6, 3, 'theirs / ours'), 0.5);
});

test('a bound includes its own value', (t) => {
  t.true(holds(2, { atLeast: 2 }));
  t.false(holds(1.999, { atLeast: 2 }));
  t.true(holds(1.5, { atMost: 1.5 }));
  t.false(holds(1.501, { atMost: 1.5 }));
});

test('the medians are judged', (t) => {
  t.deepEqual(judge('x', [4, 4, 4, 0, 100], [2, 2, 2, 50, 0], 'ours / theirs', { atLeast: 2 }), {
    name: 'x',
    value: 2,
    ratio: 2,
    atLeast: 2,
    holds: true,
  });
  t.false(judge('x', full(3), full(2), 'ours / theirs', { atLeast: 2 }).holds);
  t.false(judge('x', full(4), full(2), 'ours / theirs', { atMost: 1.5 }).holds);
});

test('with too few rounds, contenders are compared but not judged', (t) => {
  const verdict = judge('x', [4], [2], 'ours / theirs', { atLeast: 2 });
  t.is(verdict.ratio, 2);
  t.is(verdict.holds, null);
});

test('a missing contender is reported as missing, not as beaten', (t) => {
  t.deepEqual(judge('x', full(4), { missing: 'not installed' }, 'ours / theirs', { atLeast: 2 }), {
    name: 'x',
    value: null,
    ratio: null,
    atLeast: 2,
    holds: null,
    missing: 'not installed',
  });
});

test('no bound holds if ours is missing', (t) => {
  const verdict = judge('x', { missing: 'not built' }, full(2), 'ours / theirs', { atLeast: 2 });
  t.is(verdict.value, 2);
  t.is(verdict.ratio, null);
  t.is(verdict.holds, null);
  t.is(remark('x', { missing: 'not built' }, full(2), 'ours / theirs').ratio, null);
});

test('a value too small to measure gives no ratio', (t) => {
  t.is(remark('x', full(4), full(0), 'ours / theirs').ratio, null);
  t.is(remark('x', full(-1), full(2), 'ours / theirs').ratio, null);
  t.is(judge('x', full(0), full(2), 'theirs / ours', { atMost: 1 }).holds, null);
});

test('versions are ordered by number, not alphabetically', (t) => {
  t.true(compareVersions('3.13.0', '3.9.18') > 0);
  t.true(compareVersions('3.8', '3.8.1') < 0);
  t.is(compareVersions('3.8.0', '3.8'), 0);
});

test('a block of lines has whole lines of the given length, the same ones every time', (t) => {
  const block = lines(1000, 64);
  t.is(block.bytes.length, 15 * 64);
  t.is(block.contents.length, 15);
  t.true(block.contents.every((line) => line.length === 63 && !line.includes('\n')));
  t.deepEqual(lines(1000, 64).bytes, block.bytes);
});

test('a block of headers has fields, and an empty line only at the end of each', (t) => {
  const block = headers(3000, 1024);
  t.is(block.bytes.length, 2048);
  t.deepEqual(
    block.contents.map((content) => content.length),
    [1020, 1020],
  );
  t.true(block.contents.every((content) => content.toString().split('\r\n').length > 20));
});

test('a block of length-prefixed frames holds the length of each payload before it, big-endian', (t) => {
  const block = lengthPrefixed(1000, 64);
  t.is(block.bytes.length, 15 * 64);
  t.is(block.contents.length, 15);
  for (const [i, payload] of block.contents.entries()) {
    t.deepEqual(block.bytes.subarray(i * 64, i * 64 + 4), Buffer.from([0, 0, 0, 60]));
    t.deepEqual(payload, block.bytes.subarray(i * 64 + 4, (i + 1) * 64));
  }
  t.deepEqual(lengthPrefixed(1000, 64).bytes, block.bytes);
});

test('a block of lines and bodies holds the length of each body in the line before it', (t) => {
  const block = lineAndBody(1000, 64);
  t.is(block.bytes.length, 15 * 64);
  t.is(block.contents.length, 15);
  for (const [i, body] of block.contents.entries()) {
    t.is(block.bytes.toString('latin1', i * 64, i * 64 + 4), '60\r\n');
    t.deepEqual(body, block.bytes.subarray(i * 64 + 4, (i + 1) * 64));
  }
  t.is(lineAndBody(1000, 500).contents[0]!.length, 495);
  t.deepEqual(lineAndBody(1000, 64).bytes, block.bytes);
});

test('a request is an array of bulk strings, each with its length in bytes', (t) => {
  t.is(
    request(['SET', 'é', ''].map((word) => Buffer.from(word))).toString(),
    '*3\r\n$3\r\nSET\r\n$2\r\né\r\n$0\r\n\r\n',
  );
});

test('a block of requests holds SET and GET, with values of all lengths that may contain CR LF', (t) => {
  const { bytes, contents } = requests(64 * 1024, 64);
  sameBytes(t, bytes, Buffer.concat(contents.map(request)));
  t.true(bytes.length >= 64 * 1024);
  const names = contents.map(([name]) => String(name));
  t.deepEqual([...new Set(names)], ['SET', 'GET']);
  t.true(contents.every(({ length }, i) => length === (names[i] === 'SET' ? 3 : 2)));
  const values = contents.flatMap(([, , value]) => value ?? []);
  t.deepEqual(
    [...new Set(values.map(({ length }) => length))].sort((a, b) => a - b),
    Array.from({ length: 65 }, (_, i) => i),
  );
  t.true(values.some((value) => value.includes('\r\n')) && values.some((value) => value.includes('*1\r\n$4')));
  sameBytes(t, requests(64 * 1024, 64).bytes, bytes);
});

test('the expected answer counts frames without their separators', (t) => {
  const block = separated(Buffer.from('a\r\nbcd\r\n\r\n'), '\r\n');
  t.deepEqual(block.contents.map(String), ['a', 'bcd', '']);
  t.deepEqual(expectedOf(block, 3), { frames: 9, bytes: 12 });
  t.deepEqual(expectedOf(chopped(Buffer.alloc(8), 4), 2), { frames: 4, bytes: 16 });
});

test('a block that ends within a frame is refused', (t) => {
  t.throws(() => separated(Buffer.from('a\nb'), '\n'), { instanceOf: RangeError });
  t.throws(() => chopped(Buffer.alloc(9), 4), { instanceOf: RangeError });
});

test('the digest distinguishes frames with the same bytes', (t) => {
  const digest = (text: string): string => verifiableOf(separated(Buffer.from(text), '\n'), 1).digest;
  t.is(digest('ab\nc\n'), digest('ab\nc\n'));
  t.not(digest('ab\nc\n'), digest('a\nbc\n'));
});

test('the digest of frames of several parts depends on where each part ends', (t) => {
  const digest = (...contents: string[][]): string => {
    const parts = contents.map((words) => words.map((word) => Buffer.from(word)));
    return verifiableOf({ bytes: Buffer.alloc(0), contents: parts }, 1).digest;
  };
  t.is(digest(['a', 'bc'], ['d']), digest(['a', 'bc'], ['d']));
  t.not(digest(['a', 'bc']), digest(['ab', 'c']));
  t.not(digest(['a', 'bc']), digest(['a'], ['bc']));
  t.deepEqual(
    expectedOf({ bytes: Buffer.alloc(0), contents: [[Buffer.from('a'), Buffer.from('bc')], [Buffer.alloc(0)]] }, 2),
    { frames: 4, bytes: 6 },
  );
});

test('with many connections the frames are multiplied, and the digest is that of one connection', (t) => {
  const block = separated(Buffer.from('a\nbc\n'), '\n');
  const one = verifiableOf(block, 2);
  t.deepEqual(verifiableOf(block, 2, 10), { ...one, frames: one.frames * 10, bytes: one.bytes * 10 });
});

test('blocks requested at the same time are separate files, each written once', async (t) => {
  const blocks = await Blocks.create();
  t.teardown(() => blocks.remove());
  const contents = [Buffer.alloc(64 * 1024, 'large'), Buffer.from('small'), Buffer.alloc(100, 'middle')];
  const paths = await Promise.all([...contents, ...contents].map((bytes) => blocks.file(bytes)));
  t.is(new Set(paths).size, contents.length);
  for (const [i, path] of paths.entries()) sameBytes(t, await readFile(path), contents[i % contents.length]);
});

test('an answer is refused unless it is the expected one', (t) => {
  const expected = { frames: 2, bytes: 3, digest: 'd' };
  const right = { ...expected, seconds: 0.5 };
  const check = (output: string) => checkAnswer('x', output, expected);
  t.deepEqual(check(`a warning\n${JSON.stringify(right)}\n`), right);
  for (const wrong of [{ frames: 1 }, { bytes: 4 }, { digest: 'e' }, { digest: undefined }, { seconds: 0 }]) {
    t.throws(() => check(JSON.stringify({ ...right, ...wrong })), { instanceOf: WrongAnswerError });
  }
  for (const output of ['', 'Segmentation fault', 'null']) {
    t.throws(() => check(output), { instanceOf: WrongAnswerError }, output);
  }
});

test('the command line is parsed, and invalid arguments are a UsageError', (t) => {
  const known = ['one', 'two'];
  t.deepEqual(parse([], known), {
    cases: [],
    help: false,
    complete: false,
    judged: false,
    json: false,
    quick: false,
    record: false,
    rounds: JUDGED_ROUNDS,
    engine: null,
  });
  t.true(parse(['--judged'], known).judged);
  t.true(parse(['-h'], known).help);
  t.true(parse(['--quick', '--complete'], known).complete);
  t.is(parse(['--quick'], known).rounds, 1);
  t.is(parse(['two', '--rounds', '7', '--engine', 'native'], known).rounds, 7);
  for (const words of [
    ['three'],
    ['--fast'],
    ['--rounds', '0'],
    ['--rounds', '1.5'],
    ['--rounds', 'x'],
    ['--engine', 'v8'],
    ['--quick', '--record'],
    ['--quick', '--rounds', '9'],
  ]) {
    t.throws(() => parse(words, known), { instanceOf: UsageError }, words.join(' '));
  }
});

const plan = (): never => {
  throw new Error('nothing runs here');
};
const listed: Case[] = [
  { name: 'a', title: '', unit: '', ratio: 'ours / theirs', plan },
  { name: 'b', title: '', unit: '', ratio: 'ours / theirs', group: 'more', plan },
  { name: 'c', title: '', unit: '', ratio: 'ours / theirs', group: 'more', skippedByQuick: true, plan },
];

test('cases are selected by name or group; a case in a group runs only when selected, or in a quick run', (t) => {
  const names = (wanted: string[], quick = false): string =>
    chosen(listed, wanted, quick)
      .map(({ name }) => name)
      .join('');
  t.is(names([]), 'a');
  t.is(names(['more']), 'bc');
  t.is(names(['c', 'a']), 'ac');
  t.is(names(['all']), 'abc');
  t.is(names([], true), 'ab');
  t.is(names(['more'], true), 'b');
  t.is(names(['c'], true), 'c');
  t.deepEqual(words(listed), ['a', 'more', 'all', 'b', 'c']);
});

test('every case has its own name', (t) => {
  const names = allCases.map(({ name }) => name);
  t.is(new Set(names).size, names.length);
});

test('more connections than open files are refused with both numbers', (t) => {
  t.is(tooManyFiles(1), null);
  const reason = tooManyFiles(2 ** 40);
  t.true(reason === null || /^\d+ open files are needed, and \d+ are allowed$/.test(reason), String(reason));
});

const swept: Plot = { name: 'swept', title: 'Throughput & <more>', x: 'bytes', y: 'MB/s' };

function sweptCase(x: number, ours: number | null, theirs: number): CaseResult {
  return {
    ...(results.cases[0] as CaseResult),
    ours,
    against: [judge('sluice, TypeScript engine', full(1), full(theirs), 'ours / theirs', { atLeast: 0.97 })],
    also: [remark('absent', full(1), { missing: 'not here' }, 'ours / theirs')],
    point: { plot: swept, x },
  };
}

test('a plot has a line for each contender that ran, in ascending order; a case without a plot has none', (t) => {
  t.deepEqual(plots(results.cases), []);
  t.deepEqual(plots([sweptCase(64, 20, 10), sweptCase(8, 2, 1), sweptCase(512, null, 30)]), [
    {
      plot: swept,
      lines: [
        {
          name: 'sluice',
          points: [
            { x: 8, y: 2 },
            { x: 64, y: 20 },
          ],
        },
        {
          name: 'sluice, TypeScript engine',
          points: [
            { x: 8, y: 1 },
            { x: 64, y: 10 },
            { x: 512, y: 30 },
          ],
        },
      ],
    },
  ]);
});

test('a picture is valid XML, has every name, and shows equal ratios as equal distances', (t) => {
  const line = (name: string, factor: number) => ({
    name,
    points: [8, 64, 512].map((x) => ({ x, y: x * factor })),
  });
  const picture = draw(swept, [line('sluice <&>', 1), line('other', 0.1)]);
  t.true(picture.startsWith('<svg ') && picture.endsWith('</svg>\n'));
  t.true(picture.includes('Throughput &#38; &#60;more&#62;'));
  t.true(picture.includes('>sluice &#60;&#38;&#62;<') && picture.includes('>other<'));
  t.notRegex(picture, /NaN|Infinity|undefined/);
  const [path = ''] = /(?<=class="line ours" d="M)[^"]+/.exec(picture) ?? [];
  const [[x0, y0], [x1, y1], [x2, y2]] = path.split('L').map((point) => point.split(' ').map(Number)) as [
    [number, number],
    [number, number],
    [number, number],
  ];
  t.true(Math.abs(x1 - x0 - (x2 - x1)) < 0.2 && x0 < x1);
  t.true(Math.abs(y1 - y0 - (y2 - y1)) < 0.2 && y0 > y1);
});

test('a single point can be drawn', (t) => {
  t.notRegex(draw(swept, [{ name: 'sluice', points: [{ x: 10, y: 10 }] }]), /NaN|Infinity|undefined/);
});

const results: Results = {
  machine: {
    cpu: 'a processor',
    cores: 2,
    memoryGiB: 4,
    os: 'an os',
    versions: { node: '20.19.0' },
    sluice: '0.0.0',
    engine: 'native',
    date: '2026-01-02T03:04:05.678Z',
  },
  rounds: 5,
  cases: [
    {
      name: 'case',
      title: 'what it measures',
      unit: 'Ml/s',
      ratioOf: 'ours / theirs',
      ours: 4.00000001,
      oursName: 'sluice',
      against: [
        judge('slower', full(4), full(2), 'ours / theirs', { atLeast: 2 }),
        judge('faster', full(4), full(5), 'ours / theirs', { atLeast: 2 }),
        judge('absent', full(4), { missing: 'not here' }, 'ours / theirs', { atLeast: 5 }),
      ],
      also: [remark('sender, into a sink', full(4), full(4.5), 'ours / theirs')],
      samples: { sluice: full(4), slower: full(2), faster: full(5), 'sender, into a sink': full(4.5) },
    },
  ],
};

test('the table shows which bounds hold, which do not, and what is missing', (t) => {
  const shown = table(results.cases[0] as Results['cases'][0]).split('\n');
  const lineOf = (name: string): string => shown.find((line) => line.startsWith(name)) ?? '';
  t.regex(lineOf('slower'), /2\.00 x {2}at least 2: holds$/);
  t.regex(lineOf('faster'), /0\.800 x {2}at least 2: DOES NOT HOLD$/);
  t.regex(lineOf('absent'), /- {2}at least 5: missing, not here$/);
  t.regex(shown.at(-1) ?? '', /^note: the sender/);
});

test('contenders that did not run are listed once, with the reason', (t) => {
  t.deepEqual(missing(results), ['case: absent, not here']);
  const [result] = results.cases as [Results['cases'][0]];
  t.deepEqual(missing({ ...results, cases: [{ ...result, against: result.against.slice(0, 2) }] }), []);
});

test('only a sender that is too slow causes a warning', (t) => {
  const [result] = results.cases as [Results['cases'][0]];
  const samples = { ...result.samples, faster: full(3) };
  t.is(warnings(result).length, 1);
  t.is(warnings({ ...result, samples: { ...samples, sluice: full(3) } }).length, 0);
});

test('the record page has the machine, the command and every row', (t) => {
  const text = page(results, 'npm run bench', [{ title: 'a picture', file: 'a.svg' }]);
  for (const part of [
    '![a picture](a.svg)',
    '# 2026-01-02',
    '`npm run bench`',
    '| cpu | a processor |',
    '| node | 20.19.0 |',
    '| slower | 2.00 |',
  ]) {
    t.true(text.includes(part), part);
  }
});

test('the summary is plain JSON with rounded values, without the informational entries', (t) => {
  t.deepEqual(JSON.parse(JSON.stringify(summary(results))), {
    machine: results.machine,
    cases: [
      {
        name: 'case',
        unit: 'Ml/s',
        ours: 4,
        against: [
          { name: 'slower', value: 2, ratio: 2, atLeast: 2, holds: true },
          { name: 'faster', value: 5, ratio: 0.8, atLeast: 2, holds: false },
          { name: 'absent', value: null, ratio: null, atLeast: 5, holds: null, missing: 'not here' },
        ],
      },
    ],
  });
});

function fakeEntry(name: string, calls: string[], value: number): Entry {
  return {
    name,
    locate: () => Promise.resolve(value < 0 ? { missing: 'not here' } : { command: name, args: [] }),
    verify: ({ command }) => {
      calls.push(`verify ${command}`);
      return value === 0 ? Promise.reject(new WrongAnswerError(name)) : Promise.resolve();
    },
    time: ({ command }) => Promise.resolve(calls.push(command) && value),
  };
}

function fakeCase(calls: string[], ours: number, theirs: number): Case {
  return {
    name: 'fake',
    title: 'a case without programs',
    unit: 'x',
    ratio: 'ours / theirs',
    plan: () => ({
      ours: fakeEntry('a', calls, ours),
      against: [{ ...fakeEntry('b', calls, theirs), bound: { atLeast: 2 } }],
      also: [fakeEntry('c', calls, -1)],
      sender: fakeEntry('d', calls, 9),
    }),
  };
}

const settings = { engine: 'native', bothEngines: false, quick: false } as Settings;

test('every answer is verified before anything is timed, and the contenders take turns', async (t) => {
  const calls: string[] = [];
  const result = await runCase(fakeCase(calls, 4, 2), settings, 2, () => undefined);
  t.deepEqual(calls, ['verify a', 'verify b', 'verify d', 'a', 'b', 'd', 'a', 'b', 'd']);
  t.is(result.ours, 4);
  t.is(result.against[0]?.ratio, 2);
  t.deepEqual(
    result.also.map(({ name, value, missing }) => [name, value, missing]),
    [
      ['c', null, 'not here'],
      ['d', 9, undefined],
    ],
  );
  t.deepEqual(result.samples, { a: [4, 4], b: [2, 2], d: [9, 9] });
});

test('a rival may be compared with another way of ours, which is timed once in each round and always shown', async (t) => {
  const calls: string[] = [];
  const other = fakeEntry('other', calls, 8);
  const plain = fakeCase(calls, 4, 2);
  const rivals: Case = {
    ...plain,
    plan(planned) {
      const { ours, against, also } = plain.plan(planned);
      const more = ['e', 'f'].map((name) => ({ ...fakeEntry(name, calls, 2), ours: other, bound: { atLeast: 3 } }));
      return { ours, against: [...against, ...more], also };
    },
  };
  const result = await runCase(judgedOnly(rivals), settings, JUDGED_ROUNDS, () => undefined);
  t.is(calls.filter((name) => name === 'other').length, JUDGED_ROUNDS);
  t.deepEqual(
    result.against.map(({ name, ratio: compared, holds: held }) => [name, compared, held]),
    [
      ['b', 2, true],
      ['e', 4, true],
      ['f', 4, true],
    ],
  );
  t.deepEqual(
    result.also.map(({ name, value }) => [name, value]),
    [['other', 8]],
  );
});

test('informational entries can be omitted', async (t) => {
  const calls: string[] = [];
  const result = await runCase(judgedOnly(fakeCase(calls, 4, 2)), settings, 2, () => undefined);
  t.deepEqual(calls, ['verify a', 'verify b', 'a', 'b', 'a', 'b']);
  t.deepEqual([result.name, result.against[0]?.ratio, result.also], ['fake', 2, []]);
});

test('a wrong answer ends the case before anything is timed', async (t) => {
  const calls: string[] = [];
  const run = runCase(fakeCase(calls, 4, 0), settings, 2, () => undefined);
  await t.throwsAsync(run, { instanceOf: WrongAnswerError });
  t.deepEqual(calls, ['verify a', 'verify b']);
});

test('in a quick run, too, nothing starts after a wrong answer', async (t) => {
  const calls: string[] = [];
  const entries = Array.from({ length: 50 }, (_, i) => fakeEntry(String(i), calls, i === 0 ? 0 : 1));
  const many: Case = {
    ...fakeCase([], 1, 1),
    plan: () => ({ ours: entries[0]!, against: [], also: entries.slice(1) }),
  };
  const run = runCase(many, { ...settings, quick: true }, 1, () => undefined);
  await t.throwsAsync(run, { instanceOf: WrongAnswerError });
  const begun = calls.length;
  t.true(begun < entries.length, `${begun}`);
  await after(10);
  t.is(calls.length, begun);
});

const node = { command: process.execPath, args: ['-e'] };

test('the error of a program that fails includes what it printed', async (t) => {
  const error = await t.throwsAsync(run(node, 'console.error("no such luck"); process.exit(3)'), {
    instanceOf: ProgramError,
  });
  t.regex(error?.message ?? '', /ended with 3\n.*no such luck/s);
  await t.throwsAsync(run({ command: '/nonexistent/program', args: [] }), { instanceOf: ProgramError });
});

test('the runner does not wait for a program that ends without output', async (t) => {
  const first = withPrograms((start) => start(node, '').firstLine());
  await t.throwsAsync(first, { instanceOf: ProgramError });
});

test('no program outlives the action that started it', async (t) => {
  const pid = await withPrograms(async (start) => {
    return Number(await start(node, 'console.log(process.pid); setInterval(() => {}, 1000)').firstLine());
  });
  const gone = (): boolean => {
    try {
      return !process.kill(pid, 0);
    } catch {
      return true;
    }
  };
  while (!gone()) await after(10);
  t.true(gone());
});

interface Summary {
  machine: Record<string, unknown>;
  cases: { name: string; unit: string; ours: number; against: Verdict[] }[];
}

function bench(...words: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const program = path.join(root, 'out', 'benchmarks', 'run.js');
    const child = spawn(process.execPath, [program, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}

test('every available contender answers correctly, and the last line is the whole result', async (t) => {
  t.timeout(300_000);
  const { code, stdout, stderr } = await bench('until-crlfcrlf', 'window-resp', 'drip', '--quick', '--json');
  t.is(code, 0, stderr);
  const { machine, cases } = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Summary;
  t.is((machine['versions'] as Record<string, string>)['node'], process.versions.node);
  t.deepEqual(
    cases.map(({ name, unit }) => [name, unit]),
    [
      ['until-crlfcrlf', 'Mblocks/s'],
      ['window-resp', 'Mreq/s'],
      ['drip', 'ns/byte'],
    ],
  );
  for (const { name, ours, against } of cases) {
    t.true(ours > 0, name);
    t.true(against.length > 0, name);
    for (const verdict of against) {
      t.true('atLeast' in verdict !== 'atMost' in verdict, verdict.name);
      t.is(verdict.holds, null, verdict.name);
    }
    for (const { name: contender, value, ratio: compared, missing } of against) {
      if (missing === undefined) t.true((value ?? 0) > 0 && (compared ?? 0) > 0, contender);
      else t.true(value === null && compared === null, contender);
    }
  }
  for (const name of [
    "indexOf loop on 'data'",
    'sluice, in place',
    'sender, into a sink',
    'sluice, 4 KiB',
    'sluice over TCP, 4 KiB',
  ]) {
    t.true(
      stdout.split('\n').some((line) => line.startsWith(name) && /\d x/.test(line)),
      name,
    );
  }
});

test('an interrupted run leaves no files', async (t) => {
  t.timeout(300_000);
  const temporary = directory(t);
  const program = path.join(root, 'out', 'benchmarks', 'run.js');
  const child = spawn(process.execPath, [program, 'drip'], {
    stdio: 'ignore',
    env: { ...process.env, TMPDIR: temporary, TMP: temporary, TEMP: temporary },
  });
  const ended = once(child, 'close');
  while ((await readdir(temporary)).length === 0 && child.exitCode === null) await after(10);
  t.is((await readdir(temporary)).length, 1);
  child.kill('SIGTERM');
  await ended;
  t.deepEqual(await readdir(temporary), []);
});

test('an unknown case is refused with the list of cases', async (t) => {
  const { code, stderr } = await bench('readline-awiat');
  t.is(code, 2);
  t.regex(stderr, /^no case readline-awiat; there are .*\breadline-await\b.*\bsweep-connections-1000$/m);
});
