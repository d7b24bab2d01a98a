/** Unix sockets that the workers of a cluster share. */
// Runs once: it is about which worker gets a connection.
import test, { type ExecutionContext } from 'ava';
import { once } from 'node:events';
import { linkSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { directory } from '../fifo.js';
import { Program } from '../program.js';

interface Answer {
  readonly pid: number;
  readonly sockname: string;
  readonly holds: boolean;
}

interface Outcome {
  readonly addresses: readonly string[];
  readonly pids: readonly [number, number];
  /** The answers while both workers served, and while only the second did. */
  readonly both: readonly Answer[];
  readonly one: readonly Answer[];
  readonly codes: readonly number[];
  /** The error code of connecting when no worker served any more. */
  readonly refused: string | null;
}

async function run(t: ExecutionContext, policy: 'rr' | 'none', file: string): Promise<Outcome> {
  const program = new Program(t, fileURLToPath(new URL('./clustered-unix.js', import.meta.url)), [policy, file]);
  const { code, stdout, stderr } = await program.ended;
  t.is(stderr, '');
  t.is(code, 0);
  const outcome = JSON.parse(stdout) as Outcome;
  t.deepEqual(outcome.addresses, [file, file]);
  for (const answer of [...outcome.both, ...outcome.one]) {
    t.true(answer.holds, 'the block came back as it was sent');
    t.is(answer.sockname, file);
    t.true(outcome.pids.includes(answer.pid));
  }
  t.true(
    outcome.one.every(({ pid }) => pid === outcome.pids[1]),
    'the worker that closed its server gets no more',
  );
  t.deepEqual(outcome.codes, [0, 0], 'the workers end by themselves');
  t.true(['ECONNREFUSED', 'ENOENT'].includes(outcome.refused ?? ''), String(outcome.refused));
  return outcome;
}

if (process.platform === 'win32') {
  test('Unix sockets have no files on Windows', (t) => t.pass());
} else {
  test('the workers of a cluster share a Unix socket, with connections in turn (SCHED_RR)', async (t) => {
    const { pids, both } = await run(t, 'rr', path.join(directory(t), 'sock'));
    t.deepEqual([...new Set(both.map(({ pid }) => pid))].sort(), [...pids].sort());
  });

  test('the workers of a cluster share a Unix socket, with connections to the first to accept (SCHED_NONE)', async (t) => {
    const { both } = await run(t, 'none', path.join(directory(t), 'sock'));
    t.is(both.length, 12);
  });

  for (const policy of ['rr', 'none'] as const) {
    test(`the workers of a cluster that all find a stale file share the socket that replaces it: ${policy}`, async (t) => {
      const file = path.join(directory(t), 'sock');
      const before = createServer();
      await once(before.listen(`${file}.bound`), 'listening');
      linkSync(`${file}.bound`, file);
      before.close();
      await once(before, 'close');
      const { both } = await run(t, policy, file);
      t.is(both.length, 12);
    });
  }
}
