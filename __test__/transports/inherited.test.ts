/** Sockets that another process made and handed over as fds, as a supervisor does by socket activation. */
// Runs once: it is about which fds are accepted.
import { stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { unixPath } from '../fifo.js';
import { Process, installed } from '../program.js';

/**
 * Makes sockets of all kinds, each with its own fd, and then executes the program. Node cannot hand over a listener.
 */
const LAUNCHER = `
import json, os, socket, sys
fds = {}
def give(name, sock):
    fds[name] = 100 + len(fds)
    os.dup2(sock.fileno(), fds[name])
    return sock
def listening(family, place):
    sock = socket.socket(family)
    sock.bind(place)
    sock.listen()
    return sock
def connected(name, to):
    sock = give(name, socket.socket(to.family))
    sock.connect(to.getsockname())
    return sock
listener = give('listener', listening(socket.AF_INET, ('127.0.0.1', 0)))
connected('early', listener).sendall(b'early\\n')
unix = give('unixListener', listening(socket.AF_UNIX, sys.argv[1]))
connected('unixEarly', unix).sendall(b'early\\n')
other = give('other', listening(socket.AF_INET, ('127.0.0.1', 0)))
connected('one', other)
give('two', other.accept()[0])
left, right = socket.socketpair()
give('left', left)
give('right', right)
give('bound', socket.socket()).bind(('127.0.0.1', 0))
give('fresh', socket.socket())
give('unixFresh', socket.socket(socket.AF_UNIX))
give('datagram', socket.socket(type=socket.SOCK_DGRAM)).bind(('127.0.0.1', 0))
os.execv(sys.argv[2], [*sys.argv[2:], json.dumps(fds)])`;

/** What the scenario prints; null if the machine cannot run it. The process ends by itself, and prints nothing else. */
async function run(t: ExecutionContext, scenario: string): Promise<{ outcome: unknown; file: string } | null> {
  if (process.platform === 'win32') {
    t.log('sockets have no fds here');
    return null;
  }
  if (!installed(t, 'python3')) return null;
  const file = unixPath(t);
  const program = fileURLToPath(new URL('./inherited.js', import.meta.url));
  const child = new Process(t, 'python3', ['-c', LAUNCHER, file, process.execPath, program, scenario]);
  const { code, stdout, stderr } = await child.ended;
  t.is(stderr, '');
  t.is(code, 0);
  return { outcome: JSON.parse(stdout), file };
}

test('a listening TCP socket: the server has its address, and accepts earlier and later connections', async (t) => {
  const result = await run(t, 'serveTcp');
  if (result === null) return;
  const { port, ...outcome } = result.outcome as { port: number };
  const answers = ['heard early\n', 'heard late\n'];
  t.deepEqual(outcome, { address: '127.0.0.1', length: 1, answers, bound: false, listens: false });
  t.true(port > 0);
});

test('a listening Unix socket: the server accepts earlier connections, and the file stays', async (t) => {
  const result = await run(t, 'serveUnix');
  if (result === null) return;
  t.deepEqual(result.outcome, { answers: ['heard early\n'], bound: false });
  t.true((await stat(result.file)).isSocket());
});

test('connected sockets, TCP and Unix, become streams', async (t) => {
  const result = await run(t, 'talk');
  if (result === null) return;
  const [tcp, unix] = result.outcome as object[];
  t.like(tcp, { limit: 50, whole: true, back: 'and back\n', peername: { address: '127.0.0.1' } });
  t.like(unix, { limit: 50, whole: true, back: 'and back\n' });
});

test('other fds are refused with a typed error each, which names the fd', async (t) => {
  const result = await run(t, 'refused');
  if (result === null) return;
  const expected: Record<string, [name: RegExp, code: string, message: RegExp]> = {
    'StreamServer unixListener': [
      /^TypeError$/,
      'ERR_INVALID_ARG_TYPE',
      /^bind: sock must be a TCP socket, not a Unix socket/,
    ],
    'UnixStreamServer listener': [
      /^TypeError$/,
      'ERR_INVALID_ARG_TYPE',
      /^bind: sock must be a Unix socket, not a TCP socket/,
    ],
    'StreamServer one': [/^ConnectionError$/, 'EINVAL', /^bind: fd \d+: /],
    'StreamServer datagram': [/./, 'EINVAL', /^bind: fd \d+: /],
    'StreamServer closed': [/^ConnectionError$/, 'EBADF', /^bind: fd 999: bad file descriptor/],
    'connect fresh': [/^ConnectionError$/, 'ENOTCONN', /^connect: fd \d+: socket is not connected$/],
    'connect bound': [/^ConnectionError$/, 'ENOTCONN', /^connect: fd \d+: socket is not connected$/],
    'connect other': [/^ConnectionError$/, 'ENOTCONN', /^connect: fd \d+: socket is not connected$/],
    'connect datagram': [/./, 'ERR_INVALID_FD_TYPE', /^connect: fd \d+/],
    'connect closed': [/^ConnectionError$/, 'EBADF', /^connect: fd 999: bad file descriptor/],
    'connectUnix two': [
      /^TypeError$/,
      'ERR_INVALID_ARG_TYPE',
      /^connectUnix: sock must be a Unix socket, not a TCP socket/,
    ],
    'connectUnix unixFresh': [/^ConnectionError$/, 'ENOTCONN', /socket is not connected$/],
  };
  const failures = result.outcome as Record<string, { name: string; code: string; message: string } | null>;
  t.deepEqual(Object.keys(failures).sort(), Object.keys(expected).sort());
  for (const [what, [name, code, message]] of Object.entries(expected)) {
    const failure = failures[what];
    t.regex(failure?.name ?? '', name, what);
    t.is(failure?.code, code, what);
    t.regex(failure?.message ?? '', message, what);
  }
});
