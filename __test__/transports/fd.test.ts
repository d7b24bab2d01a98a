/** File descriptors of the wrong kind: a child process gets them and prints what each call says. */
// Runs once: every fd is refused before anything is read.
import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { connect as netConnect, createServer } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import { unixPath } from '../fifo.js';
import { root } from '../program.js';

// eslint-disable-next-line no-restricted-syntax -- only Linux shows which fds a process has
const onLinux = process.platform === 'linux' ? test.serial : test.skip;

function socketFds(): Map<string, number> {
  const found = new Map<string, number>();
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      if (target.startsWith('socket:')) found.set(target, Number(fd));
    } catch {
      // The fd of the listing itself, which is closed by now.
    }
  }
  return found;
}

/** The fd of the only socket that `make` created. */
async function fdOf(make: () => Promise<unknown>): Promise<number> {
  const before = socketFds();
  await make();
  const made = [...socketFds()].filter(([socket]) => !before.has(socket)).map(([, fd]) => fd);
  if (made.length !== 1) throw new Error(`${made.length} sockets were made`);
  return made[0]!;
}

interface Told {
  name: string;
  code?: string;
  message: string;
  /** Whether the fd is still open. */
  open: boolean;
}

/** The errors of calls in a process that has `fd` once for each of them: as 3 for the first, as 4 for the second, and so on. */
function refusals(calls: readonly string[], fd: number): Told[] {
  const code = `
    import * as S from ${JSON.stringify(pathToFileURL(join(root, 'dist', 'index.js')).href)};
    import { fstatSync } from 'node:fs';
    const calls = [${calls.map((call) => `(fd) => ${call}`).join(', ')}];
    const all = [];
    for (const [i, call] of calls.entries()) {
      const fd = 3 + i;
      const told = await call(fd).then(() => null, ({ name, code, message }) => ({ name, code, message }));
      await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
      const open = (() => { try { fstatSync(fd); return true; } catch { return false; } })();
      all.push({ ...told, open });
    }
    console.log(JSON.stringify(all));
    process.exit();`;
  const args = ['--input-type=module', '-e', code];
  const { stdout } = spawnSync(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit', ...calls.map(() => fd)],
    encoding: 'utf8',
  });
  const all = JSON.parse(stdout) as Told[];
  if (all.length !== calls.length) throw new Error(`${all.length} answers to ${calls.length} calls`);
  return all;
}

/** The error of `call` in a process where `fd` is 3. */
function refusal(call: string, fd: number): Told {
  return refusals([call], fd)[0]!;
}

const MAKING = {
  connect: 'S.connect({ sock: fd })',
  connectUnix: 'S.connectUnix({ sock: fd })',
  connectReadPipe: 'S.connectReadPipe(fd)',
  connectWritePipe: 'S.connectWritePipe(fd)',
};

onLinux('a listening socket, TCP or Unix, cannot be a stream', async (t) => {
  const path = unixPath(t);
  for (const place of [{ port: 0, host: '127.0.0.1' }, { path }]) {
    const server = createServer();
    t.teardown(() => server.close());
    const fd = await fdOf(() => once(server.listen(place), 'listening'));
    for (const [i, told] of refusals(Object.values(MAKING), fd).entries()) {
      const message = `${Object.keys(MAKING)[i]}: fd ${3 + i}: socket is not connected`;
      t.like(told, { name: 'ConnectionError', code: 'ENOTCONN', message });
    }
  }
});

onLinux('a datagram socket can be neither a stream nor a listener, and its fd stays open', async (t) => {
  const udp = createSocket('udp4');
  t.teardown(() => udp.close());
  const fd = await fdOf(() => {
    udp.bind(0, '127.0.0.1');
    return once(udp, 'listening');
  });
  for (const [i, told] of refusals(Object.values(MAKING), fd).entries()) {
    t.like(told, { name: 'TypeError', code: 'ERR_INVALID_FD_TYPE', open: true });
    t.true(
      told.message.startsWith(
        `${Object.keys(MAKING)[i]}: fd ${3 + i} is a socket that is not a byte stream, such as a UDP socket, and must be `,
      ),
      told.message,
    );
  }
  t.deepEqual(refusal('new S.StreamServer(() => {}, null, 0, { sock: fd }).bind()', fd), {
    name: 'ConnectionError',
    code: 'EINVAL',
    message: 'bind: fd 3: invalid argument: it must be a TCP socket that is not connected',
    open: true,
  });
});

onLinux('a connected socket cannot be a listener, and a TCP socket cannot be a Unix socket', async (t) => {
  const path = unixPath(t);
  const unconnected = 'that is not connected';
  for (const [place, call, expected] of [
    [
      { path },
      'new S.UnixStreamServer(() => {}, null, { sock: fd }).bind()',
      { code: 'EINVAL', message: `bind: fd 3: invalid argument: it must be a bound Unix stream socket ${unconnected}` },
    ],
    [
      { port: 0, host: '127.0.0.1' },
      'new S.StreamServer(() => {}, null, 0, { sock: fd }).bind()',
      { code: 'EINVAL', message: `bind: fd 3: invalid argument: it must be a TCP socket ${unconnected}` },
    ],
    [
      { port: 0, host: '127.0.0.1' },
      MAKING.connectUnix,
      { code: 'ERR_INVALID_ARG_TYPE', message: 'connectUnix: sock must be a Unix socket, not a TCP socket' },
    ],
  ] as const) {
    const server = createServer((socket) => socket.on('error', () => {}).resume());
    await once(server.listen(place), 'listening');
    const before = socketFds();
    const address = server.address();
    const client = typeof address === 'string' ? netConnect({ path }) : netConnect(address?.port ?? 0, '127.0.0.1');
    await Promise.all([once(client, 'connect'), once(server, 'connection')]);
    const fd = [...socketFds()].find(([socket]) => !before.has(socket))?.[1];
    t.like(refusal(call, fd ?? -1), expected);
    client.destroy();
    server.close();
    await once(server, 'close');
  }
});

onLinux('an fd that this process uses already is refused with EEXIST', async (t) => {
  const server = createServer();
  t.teardown(() => server.close());
  const fd = await fdOf(() => once(server.listen(0, '127.0.0.1'), 'listening'));
  const { connect } = await import('sluice');
  await t.throwsAsync(connect({ sock: fd }), {
    code: 'EEXIST',
    message: `connect: fd ${fd}: this process already has a socket or a pipe over it (file already exists)`,
  });
  t.true(server.listening);
});
