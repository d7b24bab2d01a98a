// Runs once: nothing is read.
/* eslint-disable @typescript-eslint/no-deprecated -- the deprecated functions have options, too */
/** Options under their asyncio names: each call says the name that it uses here. */
import test from 'ava';
import {
  StreamServer,
  UnixStreamServer,
  connect,
  connectReadPipe,
  connectUnix,
  connectWritePipe,
  openConnection,
  openUnixConnection,
  socketpair,
  startServer,
  startUnixServer,
} from 'sluice';
import { checkOptionNames } from '#ts/checks.js';

const NAMES = {
  local_addr: 'localAddr',
  server_hostname: 'serverHostname',
  server_side: 'serverSide',
  ssl_handshake_timeout: 'sslHandshakeTimeout',
  ssl_shutdown_timeout: 'sslShutdownTimeout',
  happy_eyeballs_delay: 'happyEyeballsDelay',
  reuse_address: 'reuseAddress',
  reuse_port: 'reusePort',
  keep_alive: 'keepAlive',
  shutdown_timeout: 'shutdownTimeout',
  start_serving: 'startServing',
};

test('every option with another name than in asyncio is refused under that name', (t) => {
  for (const [there, here] of Object.entries(NAMES)) {
    t.throws(() => checkOptionNames('connect', { [there]: 1, [here]: 1 }), {
      instanceOf: TypeError,
      code: 'ERR_INVALID_ARG_TYPE',
      message: `connect: the option is called ${here} here, not ${there}`,
    });
    t.notThrows(() => checkOptionNames('connect', { [here]: 1, [there]: undefined, of_no_meaning: 1 }));
  }
});

test('every call with options refuses an asyncio name', async (t) => {
  const wrong = { ssl_handshake_timeout: 5 };
  const [left, right] = await socketpair();
  t.teardown(() => {
    left.destroy();
    right.destroy();
  });
  const noop = (): void => {};
  const connected = await connect({ sock: right });
  const calls: [action: string, call: () => unknown][] = [
    ['connect', () => connect('127.0.0.1', 1, wrong as object)],
    ['connect', () => connect({ sock: left, ...wrong })],
    ['connect', () => openConnection('127.0.0.1', 1, wrong as object)],
    ['connectUnix', () => connectUnix('/nowhere', wrong as object)],
    ['connectUnix', () => connectUnix({ sock: 987_654, ...wrong })],
    ['connectUnix', () => openUnixConnection('/nowhere', wrong as object)],
    ['connectReadPipe', () => connectReadPipe(left, wrong as object)],
    ['connectWritePipe', () => connectWritePipe(left, wrong as object)],
    ['startTls', () => connected.startTls(true, wrong as object)],
    ['StreamServer', () => new StreamServer(noop, '127.0.0.1', 0, wrong as object)],
    ['UnixStreamServer', () => new UnixStreamServer(noop, '/nowhere', wrong as object)],
    ['startServer', () => startServer(noop, '127.0.0.1', 0, wrong as object)],
    ['startUnixServer', () => startUnixServer(noop, '/nowhere', wrong as object)],
  ];
  for (const [action, call] of calls) {
    await t.throwsAsync(
      async () => call(),
      {
        instanceOf: TypeError,
        code: 'ERR_INVALID_ARG_TYPE',
        message: `${action}: the option is called sslHandshakeTimeout here, not ssl_handshake_timeout`,
      },
      action,
    );
  }
  // The refused calls claimed nothing.
  await using stream = await connect({ sock: left });
  t.false(stream.isClosing());
});
