// Runs once: it is about which worker gets a connection.
import test, { type ExecutionContext } from 'ava';
import { fileURLToPath } from 'node:url';
import { engine } from 'sluice';
import { Program } from '../program.js';

interface Outcome {
  readonly ports: readonly [number, number];
  readonly holds: boolean;
  /** How many requests each worker answered, as counted by the clients and by the workers. */
  readonly counts: readonly [number, number];
  readonly served: readonly { readonly served: number; readonly engine: string }[];
  readonly codes: readonly number[];
}

async function run(t: ExecutionContext, policy: 'rr' | 'none'): Promise<Outcome> {
  const program = new Program(t, fileURLToPath(new URL('./clustered.js', import.meta.url)), [policy]);
  const { code, stdout, stderr } = await program.ended;
  t.is(stderr, '');
  t.is(code, 0);
  const outcome = JSON.parse(stdout) as Outcome;
  t.is(outcome.ports[0], outcome.ports[1]);
  t.true(outcome.holds, 'every block came back as it was sent');
  t.is(outcome.counts[0] + outcome.counts[1], 12);
  t.deepEqual(
    outcome.served.map((one) => one.served),
    [...outcome.counts],
  );
  t.deepEqual(
    outcome.served.map((one) => one.engine),
    [engine, engine],
  );
  t.deepEqual(outcome.codes, [0, 0], 'the workers end by themselves');
  return outcome;
}

test('the workers of a cluster share a port, with connections in turn (SCHED_RR)', async (t) => {
  const { counts } = await run(t, 'rr');
  t.true(
    counts.every((count) => count > 0),
    `each has its share: ${counts.join(' and ')}`,
  );
});

test('the workers of a cluster share a port, with connections to the first to accept (SCHED_NONE)', async (t) => {
  const { counts } = await run(t, 'none');
  t.is(counts.length, 2);
});
