/** Which ports a StreamServer gets, and its errors when it gets none. */
// Runs once: it is about where a server listens, before anything is read.
import test, { type ExecutionContext } from 'ava';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Server, createServer, type AddressInfo, type ListenOptions } from 'node:net';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { ConnectionError, StreamServer, connect, type ClientHandler } from 'sluice';
import { listen, takePort } from '../loopback.js';
import { Process, root } from '../program.js';

const hello: ClientHandler = async (stream) => {
  await stream.write('hello');
};

function addressesOf(server: StreamServer): AddressInfo[] {
  return server.sockets.map((socket) => socket.address() as AddressInfo);
}

/**
 * Makes another listener take the first `times` ports that are assigned on 127.0.0.1 on 127.0.0.2 first.
 *
 * @returns those ports, and the servers that had them on 127.0.0.1
 */
function taken(t: ExecutionContext, times: number): { port: number; server: Server }[] {
  const found: { port: number; server: Server }[] = [];
  const { listen: original } = Server.prototype;
  t.teardown(() => {
    Server.prototype.listen = original;
  });
  Server.prototype.listen = function (this: Server, ...given: unknown[]) {
    const [options, ready] = given as [ListenOptions, () => void];
    if (options.host !== '127.0.0.1' || options.port !== 0 || found.length === times) {
      return Reflect.apply(original, this, given) as Server;
    }
    const occupied = (): void => {
      const { port } = this.address() as AddressInfo;
      found.push({ port, server: this });
      const other = createServer();
      t.teardown(() => other.close());
      // If the port was in use there already, that serves as well.
      other.on('error', ready);
      Reflect.apply(original, other, [{ host: '127.0.0.2', port }, ready]);
    };
    return Reflect.apply(original, this, [options, occupied]);
  };
  return found;
}

test.serial('port 0 with hosts of both families: all listen on one port', async (t) => {
  const hosts = ['127.0.0.1', '::1', '127.0.0.2'];
  if ((await listen(t, undefined, '::1').catch(() => null)) === null) {
    t.log('this machine has no IPv6');
    hosts.splice(1, 1);
  }
  await using server = new StreamServer(hello, hosts);
  await server.startServing();
  const addresses = addressesOf(server);
  t.deepEqual(
    addresses.map(({ address }) => address),
    hosts,
  );
  t.is(new Set(addresses.map(({ port }) => port)).size, 1);
  for (const { address, port } of addresses) {
    await using stream = await connect(address, port);
    t.is(String(await stream.read()), 'hello', address);
  }
});

test.serial('port 0: a port in use at the second host is released, and another one is tried', async (t) => {
  const found = taken(t, 3);
  await using server = new StreamServer(hello, ['127.0.0.1', '127.0.0.2']);
  await server.startServing();
  t.is(found.length, 3);
  const addresses = addressesOf(server);
  t.deepEqual(
    addresses.map(({ address }) => address),
    ['127.0.0.1', '127.0.0.2'],
  );
  const [port] = new Set(addresses.map((each) => each.port));
  t.deepEqual(addresses[1]?.port, port);
  for (const each of found) {
    t.not(each.port, port);
    t.false(each.server.listening, 'given back');
  }
});

test.serial('port 0: if every port is in use at the second host, one error names the last', async (t) => {
  const found = taken(t, Infinity);
  const server = new StreamServer(hello, ['127.0.0.1', '127.0.0.2']);
  const error = await t.throwsAsync(server.bind(), { instanceOf: ConnectionError, code: 'EADDRINUSE' });
  t.true(found.length > 1);
  t.is(error.message, `bind 127.0.0.2:${found.at(-1)?.port}: address already in use`);
  t.false(found.some((each) => each.server.listening));
  t.false(server.isBound());
  t.deepEqual([...server.sockets], []);
  await server.close();
});

test.serial('an explicit port is tried once', async (t) => {
  const port = await takePort(t, '127.0.0.2');
  const tries: unknown[] = [];
  const { listen: original } = Server.prototype;
  t.teardown(() => {
    Server.prototype.listen = original;
  });
  Server.prototype.listen = function (this: Server, ...given: unknown[]) {
    tries.push((given[0] as ListenOptions).host);
    return Reflect.apply(original, this, given) as Server;
  };
  const server = new StreamServer(hello, ['127.0.0.1', '127.0.0.2'], port);
  await t.throwsAsync(server.bind(), { code: 'EADDRINUSE', message: `bind 127.0.0.2:${port}: address already in use` });
  t.deepEqual(tries, ['127.0.0.1', '127.0.0.2']);
  await server.close();
});

/** A port that needs a privilege, and a user without it; null with the reason logged. */
function withoutPrivileges(t: ExecutionContext): { port: number; as: { uid?: number; gid?: number } } | null {
  let least: number;
  try {
    least = Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'latin1'));
  } catch {
    t.log('this system does not report which ports are privileged');
    return null;
  }
  if (least <= 1) {
    t.log(`every port may be bound here: ip_unprivileged_port_start is ${least}`);
    return null;
  }
  const port = Math.min(80, least - 1);
  if (process.getuid?.() !== 0) return { port, as: {} };
  const as = { uid: 65534, gid: 65534 };
  try {
    execFileSync(process.execPath, ['-e', `require(${JSON.stringify(path.join(root, 'package.json'))})`], {
      ...as,
      cwd: '/',
      stdio: 'ignore',
    });
  } catch {
    t.log('a user without privileges cannot run Node, or read the package, here');
    return null;
  }
  return { port, as };
}

test.serial('a privileged port without the privilege is one error that names host and port', async (t) => {
  const plain = withoutPrivileges(t);
  if (plain === null) return;
  const { port, as } = plain;
  const program = `
    import { StreamServer } from ${JSON.stringify(pathToFileURL(path.join(root, 'dist', 'index.js')))};
    const outcomes = [];
    for (const host of ['127.0.0.1', ['127.0.0.1', '127.0.0.2'], null]) {
      const server = new StreamServer(() => {}, host, ${port});
      try {
        await server.bind();
        outcomes.push(null);
      } catch ({ name, code, message }) {
        outcomes.push({ name, code, message, bound: server.isBound() });
      }
      await server.close();
    }
    console.log(JSON.stringify(outcomes));`;
  const child = new Process(t, process.execPath, ['--input-type=module', '-e', program], { cwd: '/', ...as });
  const { code, stdout, stderr } = await child.ended;
  t.is(stderr, '');
  t.is(code, 0);
  const outcomes = JSON.parse(stdout) as unknown[];
  if (process.getuid?.() !== 0 && outcomes[0] === null) {
    t.log('this user may bind privileged ports');
    return;
  }
  const denied = (place: string): object => ({
    name: 'ConnectionError',
    code: 'EACCES',
    message: `bind ${place}:${port}: permission denied`,
    bound: false,
  });
  t.deepEqual(outcomes, [denied('127.0.0.1'), denied('127.0.0.1'), denied('0.0.0.0')]);
});
