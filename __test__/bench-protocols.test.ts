// Runs once: the benchmarks choose the engine of each program themselves.
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import test from 'ava';
import type { Case, Settings } from '../benchmarks/case.js';
import { cases, chosen } from '../benchmarks/cases.js';
import { exchange, protocolCases, type Contender } from '../benchmarks/protocols.js';
import { runCase } from '../benchmarks/runner.js';
import { WrongAnswerError } from '../benchmarks/workload.js';

const settings = {} as Settings;
const program = { command: 'none', args: [] };

test('the three cases of a scenario have the same runs', async (t) => {
  const runs: string[] = [];
  const contender = (name: string, factor: number): Contender => ({
    name,
    locate: () => Promise.resolve(program),
    run: () => {
      runs.push(name);
      const round = runs.filter((other) => other === name).length;
      return Promise.resolve({ rate: 100 * factor + round, p99: 10 / factor, cpu: 1 / factor });
    },
  });
  const [rate, p99, cpu] = protocolCases({
    name: 'some',
    title: 'something',
    unit: 'kreq/s',
    plan: () => ({
      ours: contender('sluice', 2),
      against: [
        { ...contender('both', 1), atLeast: 1.5, p99AtLeast: 3 },
        { ...contender('rate only', 1), atLeast: 5 },
      ],
      also: [contender('shown', 4)],
    }),
  }) as [Case, Case, Case];
  t.deepEqual(
    [rate, p99, cpu].map(({ name, unit, group, skippedByQuick }) => [name, unit, group, skippedByQuick]),
    [
      ['some', 'kreq/s', 'protocols', false],
      ['some-p99', 'ms', 'protocols', true],
      ['some-cpu', 'µs', 'protocols', true],
    ],
  );

  const first = await runCase(rate, settings, 5, () => {});
  t.is(runs.length, 20);
  t.deepEqual(first.samples['sluice'], [201, 202, 203, 204, 205]);
  t.deepEqual(
    first.against.map(({ name, holds }) => [name, holds]),
    [
      ['both', true],
      ['rate only', false],
    ],
  );
  const second = await runCase(p99, settings, 5, () => {});
  t.deepEqual(
    second.against.map(({ name, ratio, holds }) => [name, ratio, holds]),
    [['both', 2, false]],
  );
  t.deepEqual(
    second.also.map(({ name }) => name),
    ['rate only', 'shown'],
  );
  if (process.platform === 'linux') {
    const third = await runCase(cpu, settings, 5, () => {});
    t.is(third.ours, 0.5);
    t.is(third.also.length, 3);
  }
  t.is(runs.length, 20, 'nothing was run again');

  await runCase(rate, settings, 1, () => {});
  t.is(runs.length, 24, 'the case itself runs again');
});

test('a case of the latency or of the processor time runs by itself', async (t) => {
  const contender = { name: 'sluice', locate: () => Promise.resolve(program) };
  const run = (): Promise<{ rate: number; p99: number; cpu: number }> => Promise.resolve({ rate: 1, p99: 2, cpu: 3 });
  const plan = (): { ours: Contender; against: []; also: [] } => ({
    ours: { ...contender, run },
    against: [],
    also: [],
  });
  const [, p99] = protocolCases({ name: 'some', title: '', unit: '', plan });
  t.is((await runCase(p99!, settings, 1, () => {})).ours, 2);
});

test('an exchange is wrong unless every byte is right', async (t) => {
  const server = createServer((socket) => socket.end('+OK\r\n')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  await t.notThrowsAsync(exchange(port, 'x', '+OK\r\n'));
  for (const expected of ['+NO\r\n', '+OK\r\n+OK\r\n', '+O']) {
    await t.throwsAsync(exchange(port, 'x', expected), { instanceOf: WrongAnswerError });
  }
});

test('the group protocols runs when it is named, and a part of it in a quick run', (t) => {
  const names = (wanted: string[], quick: boolean): string[] => chosen(cases, wanted, quick).map(({ name }) => name);
  t.true(names(['protocols'], false).includes('resp-server-set-p16-cpu'));
  t.true(names([], true).includes('resp-server-set-p16'));
  for (const name of ['http-keep-alive', 'smtp-receive', 'websocket-p100', 'websocket-1m']) {
    t.true(names([], true).includes(name), name);
  }
  t.false(names([], true).includes('resp-server-set-p16-cpu'));
  t.false(names([], false).includes('resp-server-set-p16'));
});

test('a rival is judged by the measures that it has bounds for', async (t) => {
  const contender = (name: string): Contender => ({
    name,
    locate: () => Promise.resolve(program),
    run: () => Promise.resolve({ rate: 1, p99: 1, cpu: name === 'sluice' ? 1 : 3 }),
  });
  const scenario = protocolCases({
    name: 'some',
    title: '',
    unit: '',
    plan: () => ({ ours: contender('sluice'), against: [{ ...contender('rival'), cpuAtLeast: 2 }], also: [] }),
  });
  const results = await Promise.all(scenario.map((one) => runCase(one, settings, 5, () => {})));
  t.deepEqual(
    results.map(({ against, also }) => [against.map(({ holds }) => holds), also.map(({ name }) => name)]),
    [
      [[], ['rival']],
      [[], ['rival']],
      [[process.platform === 'linux' ? true : null], []],
    ],
  );
});
