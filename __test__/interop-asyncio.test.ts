/** CPython's asyncio as the peer of the four examples in its documentation, in both roles. */
// Runs once for each way of reading: the peer sends the same bytes to either engine.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { connect, StreamServer, type Stream } from 'sluice';
import { answer } from './http.js';
import { portOf } from './loopback.js';
import { Process, example, installed } from './program.js';

/** Runs a Python program, with the arguments as `sys.argv[1:]`. */
function python(t: ExecutionContext, code: string, ...args: readonly string[]): Process {
  return new Process(t, 'python3', ['-c', `import asyncio, sys\n${code}\nasyncio.run(main(*sys.argv[1:]))\n`, ...args]);
}

async function portPrinted(program: Process): Promise<string> {
  return (await program.prints(/^port (\d+)$/m))[1]!;
}

const ECHO_SERVER = `
async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    print('end of file', flush=True)
    writer.close()

async def main():
    server = await asyncio.start_server(echo, '127.0.0.1', 0)
    print('port', server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
`;

test('the echo client talks to an asyncio server', async (t) => {
  if (!installed(t, 'python3')) return;
  const server = python(t, ECHO_SERVER);
  const port = await portPrinted(server);
  const client = new Process(t, process.execPath, [example('tcp-echo-client'), port, '127.0.0.1', 'Grüße']);
  const { code, stdout, stderr } = await client.ended;
  t.is(code, 0, stderr);
  t.is(stdout, 'Send: Grüße\nReceived: Grüße\nClose the connection\n');
  await server.prints(/^end of file$/m);
});

test('the echo server talks to an asyncio client', async (t) => {
  if (!installed(t, 'python3')) return;
  const server = new Process(t, process.execPath, [example('tcp-echo-server'), '0']);
  const [, port] = await server.prints(/^Serving on 127\.0\.0\.1:(\d+)$/m);
  const client = python(
    t,
    `
async def main(port):
    reader, writer = await asyncio.open_connection('127.0.0.1', int(port))
    sent = [b'%d %s\\n' % (i, b'x' * (i % 1000)) for i in range(5000)]

    async def send():
        for line in sent:
            writer.write(line)
            await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    received = [line async for line in reader]
    await sending
    print('equal', received == sent)
    writer.close()
    await writer.wait_closed()
`,
    port!,
  );
  const { code, stdout, stderr } = await client.ended;
  t.is(code, 0, stderr);
  t.is(stdout, 'equal True\n');
  await server.prints(/ sent \d+ bytes$/m);
});

test('http-headers reads the headers of an asyncio server', async (t) => {
  if (!installed(t, 'python3')) return;
  const server = python(
    t,
    `
async def serve(reader, writer):
    head = await reader.readuntil(b'\\r\\n\\r\\n')
    writer.write(b'HTTP/1.1 204 No Content\\r\\nX-Asked: ' + head.split(b'\\r\\n')[0] + b'\\r\\n\\r\\n')
    await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(serve, '127.0.0.1', 0)
    print('port', server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
`,
  );
  const url = `http://127.0.0.1:${await portPrinted(server)}/some/path`;
  const { code, stdout, stderr } = await new Process(t, process.execPath, [example('http-headers'), url]).ended;
  t.is(code, 0, stderr);
  t.is(stdout, 'HTTP header> HTTP/1.1 204 No Content\nHTTP header> X-Asked: HEAD /some/path HTTP/1.1\n');
});

test('an asyncio client reads the headers of our HTTP server', async (t) => {
  if (!installed(t, 'python3')) return;
  const server = new StreamServer(answer, '127.0.0.1', 0);
  t.teardown(() => server.abort());
  await server.startServing();
  const client = python(
    t,
    `
async def main(port):
    reader, writer = await asyncio.open_connection('127.0.0.1', int(port))
    writer.write(b'HEAD / HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n')
    while line := (await reader.readline()).rstrip():
        print('HTTP header>', line.decode('latin1'))
    print('rest', await reader.read())
    writer.close()
    await writer.wait_closed()
`,
    String(portOf(server)),
  );
  const { code, stdout, stderr } = await client.ended;
  t.is(code, 0, stderr);
  const lines = stdout.split('\n');
  t.is(lines[0], 'HTTP header> HTTP/1.1 200 OK');
  t.true(lines.includes('HTTP header> X-Request: HEAD / of localhost'));
  t.is(lines.at(-2), "rest b''");
});

/** A Python program at the other end of a socket pair, as its file descriptor 3. */
async function atOtherEnd(
  t: ExecutionContext,
  code: string,
): Promise<{ stream: Stream; ended: Promise<{ code: number | null; stdout: string; stderr: string }> }> {
  const head = 'import asyncio, socket\nsock = socket.socket(fileno=3)\nsock.setblocking(False)\n';
  // Node uses pairs of Unix sockets as pipes to a child.
  const child = spawn('python3', ['-c', `${head}${code}\nasyncio.run(main())\n`], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (piece: Buffer) => (stdout += piece.toString()));
  child.stderr?.on('data', (piece: Buffer) => (stderr += piece.toString()));
  const ended = once(child, 'close').then(([status]) => ({ code: status as number | null, stdout, stderr }));
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const stream = await connect({ sock: child.stdio[3] as Socket });
  t.teardown(() => stream.abort());
  return { stream, ended };
}

test('a stream waits for data that asyncio sends over a socket pair', async (t) => {
  if (!installed(t, 'python3')) return;
  const { stream, ended } = await atOtherEnd(
    t,
    `
async def main():
    reader, writer = await asyncio.open_connection(sock=sock)
    await asyncio.sleep(0.05)
    writer.write(b'abc')
    writer.write_eof()
    print('Answered:', (await reader.readline()).decode())
    writer.close()
    await writer.wait_closed()
`,
  );
  t.is((await stream.read(100)).toString(), 'abc');
  t.is((await stream.read()).length, 0);
  await stream.write('thanks\n');
  await stream.close();
  const { code, stdout, stderr } = await ended;
  t.is(code, 0, stderr);
  t.is(stdout, 'Answered: thanks\n\n');
});

test('asyncio waits for data that a stream sends over a socket pair', async (t) => {
  if (!installed(t, 'python3')) return;
  const { stream, ended } = await atOtherEnd(
    t,
    `
async def main():
    reader, writer = await asyncio.open_connection(sock=sock)
    writer.write(b'ready\\n')
    print('Received:', (await reader.read(100)).decode())
    print('Rest:', len(await reader.read()))
    writer.close()
    await writer.wait_closed()
`,
  );
  t.is((await stream.readline()).toString(), 'ready\n');
  await stream.write('abc');
  await stream.writeEof();
  t.is((await stream.read()).length, 0);
  const { code, stdout, stderr } = await ended;
  t.is(code, 0, stderr);
  t.is(stdout, 'Received: abc\nRest: 0\n');
});
