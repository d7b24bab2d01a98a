/** The options of connect that choose where and how to connect. */
// Runs once: it is about how a connection is made, before anything is read.
import test from 'ava';
import { ADDRCONFIG } from 'node:dns';
import { openSync, closeSync } from 'node:fs';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import { connect, type ConnectOptions } from 'sluice';
import { listen } from '../loopback.js';

test('proto, flags, happyEyeballsDelay and interleave are accepted', async (t) => {
  const { port } = await listen(t, (socket) => socket.end('here'));
  const cases: ConnectOptions[] = [
    { proto: 6, flags: ADDRCONFIG, family: 4 },
    { happyEyeballsDelay: null },
    { happyEyeballsDelay: 0, interleave: 2 },
  ];
  for (const options of cases) {
    await using stream = await connect('localhost', port, options);
    t.is(String(await stream.read()), 'here');
  }
});

test('invalid values of these options are RangeErrors', async (t) => {
  const cases: [object, RegExp][] = [
    [{ proto: 17 }, /proto .* not 17/],
    [{ flags: -1 }, /flags .* not -1/],
    [{ happyEyeballsDelay: -1 }, /happyEyeballsDelay .* not -1/],
    [{ interleave: 1.5 }, /interleave .* not 1.5/],
  ];
  for (const [options, message] of cases) {
    await t.throwsAsync(connect('127.0.0.1', 9, options), {
      instanceOf: RangeError,
      code: 'ERR_OUT_OF_RANGE',
      message,
    });
  }
});

test('sock: an fd that is not a socket is refused and stays open', async (t) => {
  const fd = openSync(fileURLToPath(import.meta.url), 'r');
  await t.throwsAsync(connect({ sock: fd }), {
    instanceOf: TypeError,
    code: 'ERR_INVALID_FD_TYPE',
    message: /a regular file/,
  });
  t.notThrows(() => closeSync(fd));
  await t.throwsAsync(connect({ sock: -1 }), { code: 'ERR_OUT_OF_RANGE' });
});

test('a connecting socket that decodes is refused once it is connected, and destroyed', async (t) => {
  const { port } = await listen(t, (socket) => socket.resume());
  const sock = net.connect(port, '127.0.0.1');
  sock.setEncoding('utf8');
  await t.throwsAsync(connect({ sock }), {
    instanceOf: TypeError,
    code: 'ERR_INVALID_ARG_TYPE',
    message: /decodes utf8/,
  });
  t.true(sock.destroyed);
});
