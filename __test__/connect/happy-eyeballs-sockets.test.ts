/** Racing the addresses of a name over real sockets. */
// Runs once: it is about which connection is made, before anything is read.
import test, { type ExecutionContext } from 'ava';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Socket, connect as netConnect, createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { type AttemptError, ConnectionError, connect } from 'sluice';
import { openFds } from '../fifo.js';
import { deferred, listen, quiet, resolving, sparePort, turns, until } from '../loopback.js';
import { Process } from '../program.js';

test.serial('if the first address refuses, the next is tried at once', async (t) => {
  const { port } = await listen(t, (socket) => socket.end('here'));
  resolving(t, ['127.0.0.2', '127.0.0.1']);
  for (const happyEyeballsDelay of [null, 60_000]) {
    await using stream = await connect('two.example', port, { happyEyeballsDelay });
    t.like(stream.getExtraInfo('peername'), { address: '127.0.0.1' });
    t.is(String(await stream.read()), 'here');
  }
});

test.serial('if all attempts fail, the error lists them; a single address has its own error', async (t) => {
  const port = await sparePort(t);
  resolving(t, ['127.0.0.2', '127.0.0.3']);
  const error = await t.throwsAsync<AggregateError>(connect('two.example', port), { instanceOf: AggregateError });
  t.deepEqual(
    (error.errors as AttemptError[]).map(({ address, code }) => [address, code]),
    [
      ['127.0.0.2', 'ECONNREFUSED'],
      ['127.0.0.3', 'ECONNREFUSED'],
    ],
  );
  resolving(t, ['127.0.0.2']);
  await t.throwsAsync(connect('one.example', port), { instanceOf: ConnectionError, code: 'ECONNREFUSED' });
});

/** All attempts to connect, in order, until the test ends. */
function attempted(t: ExecutionContext): { readonly host: string; readonly socket: Socket }[] {
  const attempts: { host: string; socket: Socket }[] = [];
  const { connect: original } = Socket.prototype;
  t.teardown(() => {
    Socket.prototype.connect = original;
  });
  Socket.prototype.connect = function (this: Socket, ...given: unknown[]) {
    // net.connect() wraps its arguments in another array.
    const [options] = given.flat(2) as { host: string }[];
    attempts.push({ host: String(options?.host), socket: this });
    return Reflect.apply(original, this, given) as Socket;
  };
  return attempts;
}

// ------------------------------------------------------------------------------------------------ addresses that do
// not answer

/** The queue of this listener takes this many connections, and one more. */
const BACKLOG = 1;

/**
 * Listens, and then only waits for a byte on its standard input: until then it accepts no connection. Then each gets
 * the word `late`.
 */
const LISTENER = `
  const fs = require('node:fs');
  const [port, ...hosts] = process.argv.slice(1);
  let listening = 0;
  for (const host of hosts) {
    const server = require('node:net').createServer((socket) => socket.on('error', () => {}).end('late'));
    server.on('error', ({ code }) => { fs.writeSync(1, code + '\\n'); process.exit(); });
    server.listen({ host, port: Number(port), backlog: ${BACKLOG} }, () => {
      if (++listening < hosts.length) return;
      fs.writeSync(1, 'ready\\n');
      fs.readSync(0, Buffer.alloc(1));
    });
  }`;

/** Whether a listener on this system can be made silent; logs the reason if not. */
function canBeSilent(t: ExecutionContext): boolean {
  if (process.platform === 'linux') return true;
  t.log('only Linux is known to say nothing at all when the queue of a listener is full');
  return false;
}

/** How many connections wait to be accepted, as counted by the kernel. */
function queued(address: string, port: number): number {
  const hex = (n: number, digits: number): string => n.toString(16).toUpperCase().padStart(digits, '0');
  const bytes = address.split('.').map((byte) => hex(Number(byte), 2));
  const place = `${bytes.reverse().join('')}:${hex(port, 4)}`;
  const listening = new RegExp(`: ${place} \\w+:0000 0A \\w+:(\\w+) `);
  const [, count = '-1'] = listening.exec(readFileSync('/proc/net/tcp', 'latin1')) ?? [];
  return Number.parseInt(count, 16);
}

/**
 * Makes `addresses` silent on a port where plain servers at 127.0.0.1 and `good` answer with their address: while the queue of a
 * listener is full, the kernel drops packets that ask for a connection.
 */
async function silent(
  t: ExecutionContext,
  addresses: readonly string[],
  good: readonly string[] = [],
): Promise<{ port: number; child: Process }> {
  for (;;) {
    // Another process may take the port until it is bound at all addresses.
    const { port } = await listen(t, (socket) => socket.end('127.0.0.1'));
    if (!(await Promise.all(good.map((host) => greeter(t, host, port)))).every(Boolean)) continue;
    const child = new Process(t, process.execPath, ['-e', LISTENER, String(port), ...addresses], { input: true });
    const [said] = await child.prints(/\w+\n/);
    if (said !== 'ready\n') {
      t.is(said, 'EADDRINUSE\n');
      continue;
    }
    for (const address of addresses) {
      for (let i = 0; i <= BACKLOG; i++) {
        const filling = quiet(netConnect(port, address));
        t.teardown(() => filling.destroy());
        await once(filling, 'connect');
      }
      await until(() => queued(address, port) === BACKLOG + 1);
    }
    return { port, child };
  }
}

/** A server that sends its address; false if the port is in use. */
async function greeter(t: ExecutionContext, host: string, port: number): Promise<boolean> {
  const server = createServer((socket) => quiet(socket).end(host));
  const listening = deferred<boolean>();
  server.on('error', () => listening.resolve(false));
  server.listen(port, host, () => listening.resolve(true));
  t.teardown(() => server.close());
  return listening.promise;
}

test.serial('if the first address never answers, the second wins and the first is closed', async (t) => {
  if (!canBeSilent(t)) return;
  const { port } = await silent(t, ['127.0.0.9']);
  resolving(t, ['127.0.0.9', '127.0.0.1']);
  const attempts = attempted(t);
  for (const happyEyeballsDelay of [undefined, 0]) {
    const before = openFds();
    const stream = await connect('two.example', port, { happyEyeballsDelay });
    t.deepEqual(
      attempts.map(({ host, socket }) => [host, socket.destroyed]),
      [
        ['127.0.0.9', true],
        ['127.0.0.1', false],
      ],
    );
    t.like(stream.getExtraInfo('peername'), { address: '127.0.0.1' });
    t.is(String(await stream.read()), '127.0.0.1');
    await stream.close();
    // The plain server's end of the connection is closed with ours.
    await until(() => openFds() === before);
    attempts.length = 0;
  }
});

test.serial('after a silent address comes the other family, unless interleave says otherwise', async (t) => {
  if (!canBeSilent(t)) return;
  if ((await listen(t, undefined, '::1').catch(() => null)) === null) {
    t.log('this machine has no IPv6');
    return;
  }
  const { port } = await silent(t, ['127.0.0.9'], ['::1']);
  resolving(t, ['127.0.0.9', '127.0.0.1', '::1']);
  const attempts = attempted(t);
  const seconds: [number | undefined, string][] = [
    [undefined, '::1'],
    [1, '::1'],
    [2, '127.0.0.1'],
    [0, '127.0.0.1'],
  ];
  for (const [interleave, second] of seconds) {
    await using stream = await connect('three.example', port, { interleave });
    t.deepEqual(
      attempts.slice(0, 2).map(({ host }) => host),
      ['127.0.0.9', second],
      `interleave ${interleave}`,
    );
    // On a busy machine the third may have connected.
    t.true(['127.0.0.1', '::1'].includes(String(await stream.read())));
    attempts.length = 0;
  }
});

test.serial('an address that answers long after the delay still connects', async (t) => {
  if (!canBeSilent(t)) return;
  // Alone, and before an address that refuses at once.
  for (const others of [[], ['127.0.0.2']]) {
    const { port, child } = await silent(t, ['127.0.0.9']);
    resolving(t, ['127.0.0.9', ...others]);
    const attempts = attempted(t);
    const connecting = connect('slow.example', port, { happyEyeballsDelay: 250 });
    await until(() => attempts.length === 1 + others.length);
    // The delay has passed by now. The kernel asks again after a second.
    await delay(400);
    t.false(attempts[0]?.socket.destroyed);
    child.type('!');
    await using stream = await connecting;
    t.is(stream.getExtraInfo('socket'), attempts[0]?.socket);
    t.like(stream.getExtraInfo('peername'), { address: '127.0.0.9' });
    t.is(String(await stream.read()), 'late');
  }
});

test.serial('without a delay the next address is tried only when the silent one has failed', async (t) => {
  if (!canBeSilent(t)) return;
  const { port, child } = await silent(t, ['127.0.0.9']);
  resolving(t, ['127.0.0.9', '127.0.0.1']);
  const attempts = attempted(t);
  const connecting = connect('two.example', port, { happyEyeballsDelay: null });
  await until(() => attempts.length === 1);
  await delay(400);
  t.is(attempts.length, 1);
  // The next packet that asks for a connection is refused.
  child.kill('SIGKILL');
  await using stream = await connecting;
  t.deepEqual(
    attempts.map(({ host }) => host),
    ['127.0.0.9', '127.0.0.1'],
  );
  t.is(String(await stream.read()), '127.0.0.1');
});

test.serial('if all attempts fail, the silent one last, the error lists them in address order', async (t) => {
  if (!canBeSilent(t)) return;
  const { port, child } = await silent(t, ['127.0.0.9']);
  // On Linux, TCP to the broadcast address always fails, even without a network.
  resolving(t, ['127.0.0.9', '255.255.255.255', '127.0.0.2']);
  const attempts = attempted(t);
  const connecting = connect('three.example', port, { happyEyeballsDelay: 0 });
  await until(() => attempts.length === 3 && attempts.every(({ socket }, i) => socket.destroyed === i > 0));
  child.kill('SIGKILL');
  const error = (await t.throwsAsync(connecting, { instanceOf: AggregateError })) as AggregateError & { code: string };
  t.deepEqual(
    (error.errors as AttemptError[]).map(({ name, address, family, code }) => [name, address, family, code]),
    [
      ['ConnectionError', '127.0.0.9', 4, 'ECONNREFUSED'],
      ['ConnectionError', '255.255.255.255', 4, 'ENETUNREACH'],
      ['ConnectionError', '127.0.0.2', 4, 'ECONNREFUSED'],
    ],
  );
  t.is(error.code, 'ECONNREFUSED', 'that of the last address');
  t.regex(error.message, new RegExp(`^connect three\\.example:${port}: all 3 attempts failed: `));
  for (const each of ['127.0.0.9 ECONNREFUSED', '255.255.255.255 ENETUNREACH', '127.0.0.2 ECONNREFUSED']) {
    t.true(error.message.includes(each), error.message);
  }
  t.true(attempts.every(({ socket }) => socket.destroyed));
});

test.serial('an abort while all attempts are silent rejects with its reason, and closes them all', async (t) => {
  if (!canBeSilent(t)) return;
  const { port } = await silent(t, ['127.0.0.8', '127.0.0.9']);
  const attempts = attempted(t);
  for (const addresses of [['127.0.0.9'], ['127.0.0.8', '127.0.0.9']]) {
    resolving(t, addresses);
    const before = openFds();
    const reason = new Error('enough');
    const controller = new AbortController();
    const { signal } = controller;
    const connecting = connect('silent.example', port, { happyEyeballsDelay: 20, signal });
    await until(() => attempts.length === addresses.length);
    await turns(3);
    t.true(attempts.every(({ socket }) => socket.connecting));
    controller.abort(reason);
    t.is(await t.throwsAsync(connecting), reason);
    t.true(attempts.every(({ socket }) => socket.destroyed));
    await until(() => openFds() === before);
    attempts.length = 0;
  }
});
