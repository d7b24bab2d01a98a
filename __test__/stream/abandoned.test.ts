// Runs once: it is about what keeps a stream alive; the engine does not, and each way of reading has its test.
import test, { type ExecutionContext } from 'ava';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { LONGEST_MS, root } from '../program.js';

interface Outcome<T> {
  readonly result: T;
  readonly warnings: readonly {
    readonly type: string;
    readonly code?: string;
    readonly message: string;
  }[];
}

/** Runs one of the programs of `collected.ts` to its end. */
async function run<T>(t: ExecutionContext, name: string, ...flags: string[]): Promise<Outcome<T>> {
  const file = fileURLToPath(new URL('./collected.js', import.meta.url));
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    ['--expose-gc', '--no-warnings', ...flags, file, name],
    // A program that hangs must not outlive the tests.
    { cwd: root, timeout: LONGEST_MS },
  );
  t.is(stderr, '');
  return JSON.parse(stdout) as Outcome<T>;
}

/** The warnings are `n` reports of abandoned streams. */
function reports(t: ExecutionContext, { warnings }: Outcome<unknown>, n: number): void {
  t.deepEqual(
    warnings.map(({ type, code }) => [type, code]),
    Array.from({ length: n }, () => ['ResourceWarning', 'SLUICE_UNCLOSED']),
  );
}

test('a stream that is collected while it is open is closed, and reported once with its peer', async (t) => {
  const outcome = await run<{ open: boolean; port: number }>(t, 'abandoned');
  t.true(outcome.result.open, 'the stream that is held is left alone');
  reports(t, outcome, 3);
  for (const { message } of outcome.warnings) {
    t.is(message, `a stream with 127.0.0.1:${outcome.result.port} was garbage collected while it was open`);
  }
});

test('a stream with timeouts is collected and reported alike, and leaves no deadline', async (t) => {
  const outcome = await run<{ deadlines: number }>(t, 'watched');
  t.is(outcome.result.deadlines, 0);
  reports(t, outcome, 3);
});

test('an idle stream with an idleTimeout takes at most 64 bytes more, which it gives back', async (t) => {
  const outcome = await run<{ each: number; deadlines: number; left: number }>(t, 'memory');
  const { each, deadlines, left } = outcome.result;
  t.log(`${each} bytes each; ${left} are left`);
  // The two fields of the link, which streams without timeouts have, too.
  t.true(each + 16 <= 64, `${each} and 16 bytes`);
  t.is(deadlines, 0);
  t.true(left < 16, `${left} bytes are left`);
  reports(t, outcome, 0);
});

test('a stream over a Duplex that is collected destroys the Duplex', async (t) => {
  const outcome = await run<{ destroyed: boolean }>(t, 'duplex');
  t.true(outcome.result.destroyed);
  reports(t, outcome, 1);
  t.is(outcome.warnings[0]?.message, 'a stream was garbage collected while it was open');
});

test('a stream that was closed, aborted, disposed of or lost is not reported', async (t) => {
  const outcome = await run(t, 'closed');
  reports(t, outcome, 0);
});

test('a waiting read keeps its stream; afterwards the stream is collected', async (t) => {
  const outcome = await run<{ before: number; results: unknown[] }>(t, 'reads');
  t.is(outcome.result.before, 0);
  t.deepEqual(outcome.result.results, [
    'one;two\n',
    'one;',
    'one;two',
    'one;two\n',
    'one',
    8,
    'one;two\n',
    'one;two\nthree\n',
    100_000,
    'one;two\nthree\n',
  ]);
  reports(t, outcome, 10);
});

test('a waiting read keeps its stream also if the socket is read by data events', async (t) => {
  process.env['SLUICE_READS'] = 'data';
  t.teardown(() => delete process.env['SLUICE_READS']);
  const outcome = await run<{ before: number; results: unknown[] }>(t, 'reads');
  t.is(outcome.result.before, 0);
  t.is(outcome.result.results[7], 'one;two\nthree\n');
  reports(t, outcome, 10);
});

test('a read that was aborted no longer keeps its stream', async (t) => {
  const outcome = await run(t, 'signal');
  t.deepEqual(outcome.result, { before: 0, name: 'AbortError' });
  reports(t, outcome, 1);
});

test('a stream is not collected until its written bytes are sent, even if no call waits for them', async (t) => {
  const outcome = await run<{
    before: number;
    bytes: number[];
    expected: number;
  }>(t, 'writes');
  const { before, bytes, expected } = outcome.result;
  t.is(before, 0);
  t.deepEqual(
    bytes,
    bytes.map(() => expected),
  );
  reports(t, outcome, 5);
});

test('calls that wait on a lost connection reject', async (t) => {
  const outcome = await run<{ before: number; codes: string[] }>(t, 'lost');
  t.is(outcome.result.before, 0);
  t.deepEqual(outcome.result.codes, ['ECONNRESET', 'ECONNRESET', 'ECONNRESET']);
  reports(t, outcome, 0);
});

test('a server keeps the stream of a running handler, but not one that a plain handler has abandoned', async (t) => {
  const outcome = await run(t, 'handlers');
  t.deepEqual(outcome.result, { running: true, atEnd: 0 });
  reports(t, outcome, 1);
  t.regex(outcome.warnings[0]?.message ?? '', /^a stream of a server with 127\.0\.0\.1:\d+ was garbage collected/);
});

test('the stream of an async handler is never watched for being abandoned; that of a plain handler is, once it has returned', async (t) => {
  const outcome = await run<{ answers: number[]; settled: number; returned: number }>(t, 'handled');
  t.deepEqual(outcome.result, { answers: [6, 7, 0, 0], settled: 0, returned: 1 });
  reports(t, outcome, 1);
});

test('encrypted streams are collected and reported alike, also after an upgrade', async (t) => {
  const outcome = await run(t, 'encrypted');
  t.deepEqual(outcome.result, { before: 2, lines: ['line\n', 'line\n'] });
  reports(t, outcome, 4);
});

test('each half of a pair keeps the connection', async (t) => {
  const outcome = await run(t, 'halves');
  t.deepEqual(outcome.result, { before: 0, line: 'line\n', bytes: 7 });
  reports(t, outcome, 1);
});
