/** The warnings of a server without onError, and how often they come. */
// Runs once: it is about reports; that each way of reading gives the same errors is tested with the transports.
import test from 'ava';
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { ConnectionError, type ClientHandler } from 'sluice';
import { PeerWarnings } from '#ts/server/warnings.js';
import { closedByPeer, turns, until } from '../loopback.js';
import { Process, root } from '../program.js';
import { KINDS, breakOff, serve, warningsOf } from './servers.js';
import { manualTimers } from '../timers.js';

/** A handler that writes until its connection is lost; `settled` counts how often. */
function writing(): { handler: ClientHandler; readonly settled: number } {
  const chunk = Buffer.alloc(65536);
  let settled = 0;
  return {
    async handler(stream) {
      try {
        for (;;) await stream.write(chunk);
      } finally {
        settled++;
      }
    },
    get settled() {
      return settled;
    },
  };
}

/** Makes `count` clients break the connection while the server writes to them. */
async function breaking(count: number, dial: () => Promise<Socket>): Promise<void> {
  for (let i = 0; i < count; i++) {
    const peer = await dial();
    await once(peer, 'readable');
    breakOff(peer);
  }
}

const BROKEN = /^(?:ECONNRESET|EPIPE|ECONNABORTED)$/;

for (const kind of KINDS) {
  test.serial(
    `peers that break the connection get one line without a stack, then one a second with a count (${kind})`,
    async (t) => {
      const warnings = warningsOf(t);
      const work = writing();
      const { server, dial } = await serve(t, kind, work.handler);
      const name = kind === 'Unix' ? 'UnixStreamServer' : 'StreamServer';
      const timers = manualTimers(t);
      await breaking(20, dial);
      await until(() => work.settled === 20);
      await turns(5);
      t.is(warnings.length, 1);
      const [first] = warnings;
      t.regex(first?.message ?? '', new RegExp(`^${name}: the handler of .+ failed: .*(?:reset|broken pipe|abort)`));
      t.notRegex(first?.message ?? '', /\n/);
      t.is(first?.detail, undefined);
      t.regex(first?.code ?? '', BROKEN);

      timers.tick(999);
      await turns(2);
      t.is(warnings.length, 1, 'the second is not over');
      timers.tick(1);
      await turns(2);
      t.is(warnings.length, 2);
      const second = warnings[1]?.message ?? '';
      t.regex(second, new RegExp(`^${name}: 19 more connections failed since the last warning: \\d+ E[A-Z]+(?:, |$)`));
      t.is(
        [...second.matchAll(/(\d+) E[A-Z]+/g)].reduce((sum, [, count]) => sum + Number(count), 0),
        19,
      );
      t.is(warnings[1]?.detail, undefined);

      await breaking(1, dial);
      await until(() => work.settled === 21);
      await turns(5);
      t.is(warnings.length, 2, 'another second has begun with the second line');
      timers.tick(1000);
      await turns(2);
      t.regex(warnings[2]?.message ?? '', /: 1 more connection failed since the last warning: 1 E[A-Z]+$/);
      timers.tick(1000);
      await turns(2);
      t.is(warnings.length, 3, 'a second without a failure');
      await breaking(1, dial);
      await until(() => warnings.length === 4);
      t.regex(warnings[3]?.message ?? '', /the handler of .+ failed/);
      t.is(timers.held, 0, 'no timer keeps the process alive');
      await server.abort();
    },
  );

  test.serial(`counted failures are reported when the server is closed (${kind})`, async (t) => {
    for (const end of ['close', 'abort'] as const) {
      const warnings = warningsOf(t);
      const work = writing();
      const { server, dial } = await serve(t, kind, work.handler);
      const timers = manualTimers(t);
      await breaking(4, dial);
      await until(() => work.settled === 4);
      await turns(5);
      t.is(warnings.length, 1);
      await server[end]();
      await turns(2);
      t.is(warnings.length, 2);
      t.regex(warnings[1]?.message ?? '', /: 3 more connections failed since the last warning: /);
      timers.tick(10_000);
      await turns(2);
      t.is(warnings.length, 2);
    }
  });

  test.serial(`onError receives each broken connection, and there is no warning (${kind})`, async (t) => {
    const warnings = warningsOf(t);
    const errors: unknown[] = [];
    const work = writing();
    const { server, dial } = await serve(t, kind, work.handler, { onError: (error) => void errors.push(error) });
    await breaking(8, dial);
    await until(() => errors.length === 8);
    for (const error of errors) {
      t.true(error instanceof ConnectionError);
      t.regex((error as ConnectionError).code, BROKEN);
    }
    await server.close();
    await turns(2);
    t.deepEqual(warnings, []);
  });

  test.serial(`other handler errors are each a warning with their stack (${kind})`, async (t) => {
    const warnings = warningsOf(t);
    const failures = [
      new Error('of the handler'),
      new ConnectionError('ECONNRESET', 'read 192.0.2.1:80: of another connection'),
      new Error('of the handler again'),
    ];
    let next = 0;
    const { server, dial } = await serve(t, kind, () => Promise.reject(failures[next++]!));
    for (const _ of failures) await closedByPeer(await dial());
    await until(() => warnings.length === failures.length);
    for (const [i, { message, detail }] of warnings.entries()) {
      t.true(message.endsWith(failures[i]!.message), message);
      t.is(detail, failures[i]!.stack);
    }
    await server.close();
  });
}

/** What a peer sends, and a handler that fails because of it. */
const BAD_INPUT: readonly [string, string, ClientHandler][] = [
  ['ERR_LIMIT_OVERRUN', `${'x'.repeat(70_000)}\n`, (stream) => stream.readuntil('\n').then(() => {})],
  ['ERR_FRAME_MALFORMED', '\0\0\0\0', (stream) => stream.readframe({ length: 'uint32be', adjust: -4 }).then(() => {})],
  ['ERR_INCOMPLETE_READ', 'half', (stream) => stream.readexactly(8).then(() => {})],
];

for (const kind of KINDS) {
  test.serial(
    `frames that are overlong, malformed or cut off are one line a second with a count (${kind})`,
    async (t) => {
      for (const [code, bytes, handler] of BAD_INPUT) {
        const warnings = warningsOf(t);
        let failed = 0;
        const { server, dial } = await serve(t, kind, async (stream, context) => {
          try {
            await handler(stream, context);
          } finally {
            failed++;
          }
        });
        manualTimers(t);
        for (let i = 0; i < 5; i++) (await dial()).end(bytes);
        await until(() => failed === 5);
        await until(() => warnings.length === 1);
        t.is(warnings[0]?.code, code);
        t.is(warnings[0]?.detail ?? '', '');
        await server.close();
        await until(() => warnings.length === 2);
        t.regex(warnings[1]?.message ?? '', new RegExp(`4 more connections failed .*4 ${code}`));
      }
    },
  );
}

test.serial(
  'handshakes that fail because of the peer are reported like broken connections, and onError receives each',
  async (t) => {
    const attempts: ((peer: Socket) => void)[] = [
      (peer) => peer.write('GET / HTTP/1.0\r\n\r\n'),
      (peer) => peer.resetAndDestroy(),
      (peer) => peer.end(),
      (peer) => peer.write(Buffer.from([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0])),
      (peer) => peer.write('GET / HTTP/1.0\r\n\r\n'),
    ];
    const errors: unknown[] = [];
    const reported = await serve(t, 'TLS', () => t.fail(), { onError: (error) => void errors.push(error) });
    for (const [i, attempt] of attempts.entries()) {
      const peer = await reported.dialPlain();
      attempt(peer);
      await until(() => errors.length === i + 1);
    }
    t.true(errors.every((error) => error instanceof ConnectionError));

    const warnings = warningsOf(t);
    const timers = manualTimers(t);
    const { server, dialPlain } = await serve(t, 'TLS', () => t.fail());
    for (const attempt of attempts) {
      const peer = await dialPlain();
      attempt(peer);
      // Each fails before the next starts, so that the order is known.
      await closedByPeer(peer);
      await turns(10);
    }
    t.is(warnings.length, 1);
    t.regex(warnings[0]?.message ?? '', /^StreamServer: TLS handshake with 127\.0\.0\.1:\d+: .+$/);
    t.is(warnings[0]?.detail, undefined);
    timers.tick(1000);
    await turns(2);
    t.regex(warnings[1]?.message ?? '', /^StreamServer: 4 more connections failed since the last warning: /);
    t.regex(warnings[1]?.message ?? '', /2 ECONNRESET/);
    t.is(timers.held, 0);
    await server.close();
  },
);

test.serial('connections over maxConnections are reported like broken connections', async (t) => {
  const warnings = warningsOf(t);
  const { server, dial } = await serve(
    t,
    'TCP',
    async (stream) => {
      await stream.read();
    },
    { maxConnections: 1 },
  );
  const timers = manualTimers(t);
  for (let i = 0; i < 3; i++) {
    const first = await dial();
    await until(() => inspect(server).includes('clients: 1'));
    await closedByPeer(await dial());
    first.end();
    await closedByPeer(first);
    await until(() => inspect(server).includes('clients: 0'));
  }
  t.is(warnings.length, 1);
  t.regex(warnings[0]?.message ?? '', /maxConnections is 1$/);
  t.is(warnings[0]?.detail, undefined);
  timers.tick(1000);
  await turns(2);
  t.regex(warnings[1]?.message ?? '', /: 2 more connections failed since the last warning: 2 ECONNREFUSED$/);
  await server.close();
});

test.serial('a failing accept is one line without a stack', async (t) => {
  const warnings = warningsOf(t);
  const { server } = await serve(t, 'TCP', () => t.fail());
  const failure = Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' });
  for (let i = 0; i < 3; i++) server.sockets[0]?.emit('error', failure);
  await turns(2);
  t.deepEqual(
    warnings.map(({ message, code, detail }) => ({ message, code, detail })),
    [{ message: 'StreamServer: accepting a connection failed: accept EMFILE', code: 'EMFILE', detail: undefined }],
  );
  await server.close();
});

test.serial('a warning is one line, and names at most five codes', async (t) => {
  const warnings = warningsOf(t);
  const timers = manualTimers(t);
  const peers = new PeerWarnings('StreamServer');
  peers.report(new ConnectionError('E_FIRST', 'a message\n    of two lines'), 'it');
  for (const code of ['E_A', 'E_B', 'E_B', 'E_C', 'E_D', 'E_E', 'E_E', 'E_E', 'E_F']) {
    peers.report(new ConnectionError(code, 'left out'), null);
  }
  timers.tick(1000);
  peers.flush();
  await turns(2);
  t.deepEqual(
    warnings.map(({ message, code }) => [message, code]),
    [
      ['StreamServer: it: a message of two lines', 'E_FIRST'],
      [
        'StreamServer: 9 more connections failed since the last warning: 3 E_E, 2 E_B, 1 E_A, 1 E_C, 1 E_D, 1 others',
        'E_E',
      ],
    ],
  );
});

test.serial('a warning about a message full of spaces does not keep the server busy', async (t) => {
  const warnings = warningsOf(t);
  const timers = manualTimers(t);
  const peers = new PeerWarnings('StreamServer');
  // A regular expression that tries each space as the first one would take minutes.
  const spaces = ' '.repeat(500_000);
  peers.report(new ConnectionError('E_FIRST', `before${spaces}after`), null);
  peers.flush();
  timers.tick(1000);
  await turns(2);
  const shown = warnings.map(({ message }) => message.replaceAll(spaces, '<spaces>'));
  t.deepEqual(shown, ['before<spaces>after']);
});

test('three hundred resets are a few lines on standard error that add up, and the process ends', async (t) => {
  const program = `
    import net from 'node:net';
    import { StreamServer } from ${JSON.stringify(pathToFileURL(path.join(root, 'dist/index.js')))};
    let settled = 0;
    const server = new StreamServer(async (stream) => {
      try {
        for await (const line of stream) await stream.write(line);
      } finally {
        settled++;
      }
    }, '127.0.0.1');
    await server.startServing();
    const { port } = server.sockets[0].address();
    for (let i = 0; i < 300; i++) {
      const peer = net.connect(port, '127.0.0.1').on('error', () => {});
      await new Promise((resolve) => peer.once('connect', resolve));
      peer.write('ping\\n');
      await new Promise((resolve) => peer.once('data', resolve));
      peer.resetAndDestroy();
    }
    while (settled < 300) await new Promise(setImmediate);
    await server.close();`;
  const child = new Process(t, process.execPath, ['--input-type=module', '-e', program]);
  const { code, stderr } = await child.ended;
  t.is(code, 0, stderr);
  t.notRegex(stderr, /^\s+at /m);
  const single = stderr.match(/: the handler of 127\.0\.0\.1:\d+ failed: /g)?.length ?? 0;
  const counted = [...stderr.matchAll(/: (\d+) more connections? failed since/g)];
  t.is(single + counted.reduce((sum, [, count]) => sum + Number(count), 0), 300, stderr);
  // Node adds a hint to the first; the number of lines depends on time.
  t.is(stderr.trimEnd().split('\n').length, single + counted.length + 1, stderr);
  t.true(single < 300 && counted.length >= 1);
});
