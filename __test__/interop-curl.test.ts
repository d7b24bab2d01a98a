/** curl as the client of an HTTP server written with StreamServer, plain and over TLS. */
// Runs once for each way of reading: the peer sends the same bytes to either engine.
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { StreamServerOptions } from 'sluice';
import { certificates } from './certificates.js';
import { directory } from './fifo.js';
import { answer, bytes } from './http.js';
import { serving, until } from './loopback.js';
import { Process, installed, type Ended } from './program.js';

interface Served {
  readonly errors: unknown[];
  readonly where: string;
  readonly url: string;
  curl(...args: readonly string[]): Promise<Ended>;
}

async function serve(t: ExecutionContext, ssl?: StreamServerOptions['ssl']): Promise<Served> {
  const { port, errors } = await serving(t, answer, { ssl });
  const where = directory(t);
  return {
    errors,
    where,
    url: `${ssl === undefined ? 'http' : 'https'}://localhost:${port}`,
    curl: (...args) =>
      new Process(t, 'curl', ['-4', '-q', '-sS', '--noproxy', '*', '--max-time', '120', ...args], { cwd: where }).ended,
  };
}

const kinds = [
  { kind: 'plain', secure: false },
  { kind: 'TLS', secure: true },
];

for (const { kind, secure } of kinds) {
  const start = async (t: ExecutionContext): Promise<Served & { readonly trust: readonly string[] }> => {
    if (!secure) return { ...(await serve(t)), trust: [] };
    const { ca, server } = await certificates();
    const served = await serve(t, server);
    await writeFile(path.join(served.where, 'ca.pem'), ca);
    return { ...served, trust: ['--cacert', 'ca.pem'] };
  };

  test(`${kind}: curl makes several requests on one connection`, async (t) => {
    if (!installed(t, 'curl')) return;
    const { curl, url, trust, errors } = await start(t);
    const count = ['-w', '%{num_connects} '];
    const { code, stdout, stderr } = await curl(...trust, ...count, `${url}/one`, `${url}/two`, `${url}/three`);
    t.is(code, 0, stderr);
    t.is(stdout, 'GET /one\n1 GET /two\n0 GET /three\n0 ');
    t.deepEqual(errors, []);
  });

  test(`${kind}: curl requests headers only, and HTTP/1.0, which ends with the connection`, async (t) => {
    if (!installed(t, 'curl')) return;
    const { curl, url, trust, errors } = await start(t);
    const head = await curl(...trust, '-I', `${url}/x`);
    t.is(head.code, 0, head.stderr);
    t.regex(head.stdout, /^HTTP\/1\.1 200 OK\r\n(.*\r\n)*X-Request: HEAD \/x of localhost:\d+\r\n/);
    const old = await curl(...trust, '--http1.0', `${url}/old`);
    t.is(old.code, 0, old.stderr);
    t.is(old.stdout, 'GET /old\n');
    t.deepEqual(errors, []);
  });

  test(`${kind}: curl transfers megabytes in both directions, with known and unknown length`, async (t) => {
    if (!installed(t, 'curl')) return;
    const { curl, url, trust, errors, where } = await start(t);
    const content = bytes(5_000_001);
    const down = await curl(...trust, '-o', 'down', `${url}/bytes/${content.length}`);
    t.is(down.code, 0, down.stderr);
    t.true(content.equals(await readFile(path.join(where, 'down'))));

    // curl asks for `100 Continue` before it sends that much.
    const expect = ['-H', 'Expect: 100-continue'];
    const up = await curl(...trust, ...expect, '--data-binary', '@down', '-o', 'up', `${url}/echo`);
    t.is(up.code, 0, up.stderr);
    t.true(content.equals(await readFile(path.join(where, 'up'))));

    const chunked = ['-X', 'POST', '-H', 'Transfer-Encoding: chunked', '--data-binary', '@down'];
    const unknown = await curl(...trust, ...chunked, '-o', 'chunked', `${url}/echo`);
    t.is(unknown.code, 0, unknown.stderr);
    t.true(content.equals(await readFile(path.join(where, 'chunked'))));
    t.deepEqual(errors, []);
  });

  test(`${kind}: a client that hangs up during the answer does not affect the next`, async (t) => {
    if (!installed(t, 'curl')) return;
    const { curl, url, trust, errors } = await start(t);
    const cut = await curl(...trust, '--max-filesize', '1000', `${url}/bytes/50000000`);
    t.is(cut.code, 63, cut.stderr);
    const next = await curl(...trust, `${url}/next`);
    t.is(next.stdout, 'GET /next\n', next.stderr);
    t.true(errors.length <= 1);
  });
}

test('TLS: curl refuses an unknown authority, and the server reports it', async (t) => {
  if (!installed(t, 'curl')) return;
  const { otherCa, server } = await certificates();
  const { curl, url, where, errors } = await serve(t, server);
  await writeFile(path.join(where, 'ca.pem'), otherCa);
  const { code, stderr } = await curl('--cacert', 'ca.pem', `${url}/`);
  t.is(code, 60, stderr);
  await until(() => errors.length > 0);
  t.is(errors.length, 1);
  t.regex((errors[0] as Error).message, /TLS handshake/);
});

test('TLS: plain HTTP to a TLS server fails on both sides', async (t) => {
  if (!installed(t, 'curl')) return;
  const { server } = await certificates();
  const { curl, url, errors } = await serve(t, server);
  const { code } = await curl(url.replace('https', 'http'));
  t.not(code, 0);
  await until(() => errors.length > 0);
  t.is(errors.length, 1);
  t.regex((errors[0] as Error).message, /TLS handshake/);
});
