/**
 * Processes that Node restricts: without addons, without files, without the network, without code from strings. The
 * restrictions differ between versions of Node; each test checks the one that runs it.
 */
// Runs once for each engine: loading the addon is one of the things that are restricted.
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { networkDenied } from '#ts/transports/permission.js';
import { engine } from 'sluice';
import { LONGEST_MS, root } from '../program.js';

const flags = process.allowedNodeEnvironmentFlags;
/** The flag of the permission model, which has no prefix since Node 24; null where there is none. */
const PERMISSION = ['--permission', '--experimental-permission'].find((flag) => flags.has(flag)) ?? null;
/** Since Node 25 the network is one of the permissions. */
const NETWORK = flags.has('--allow-net') ? ['--allow-net'] : [];

// eslint-disable-next-line no-restricted-syntax -- there is no permission model on Bun and Deno
const restricted = PERMISSION === null ? test.skip : test;

/** A program that prints its engine, whether the permission model is on, and what a server and a client exchanged. */
const TALK = `
  const { StreamServer, connect, engine } = await import('sluice');
  const server = new StreamServer(async (stream) => {
    for await (const frame of stream) stream.write(Buffer.concat([Buffer.from('> '), frame]));
  }, '127.0.0.1', 0);
  await server.startServing();
  const stream = await connect('127.0.0.1', server.sockets[0].address().port);
  await stream.write('one\\ntwo\\r\\n');
  const lines = [String(await stream.readline()), String(await stream.readuntil(['\\n', '\\r\\n']))];
  await stream.close();
  await server.close();
  console.log(JSON.stringify({ engine, restricted: process.permission !== undefined, lines }));
`;
const LINES = ['> one\n', '> two\r\n'];

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(program: string, nodeFlags: readonly string[], env: NodeJS.ProcessEnv): Ran {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--no-warnings', ...nodeFlags, '--input-type=module', '--eval', program],
    { cwd: root, encoding: 'utf8', timeout: LONGEST_MS, env: { ...process.env, ...env } },
  );
  return { status, stdout, stderr };
}

function says(t: ExecutionContext, { status, stdout, stderr }: Ran): unknown {
  t.is(status, 0, stderr);
  return JSON.parse(stdout);
}

restricted('without addons the TypeScript engine is used, and SLUICE_DEBUG prints the reason', (t) => {
  const allowed = [PERMISSION as string, '--allow-fs-read=*', ...NETWORK];
  const ran = run(TALK, allowed, { SLUICE_ENGINE: '', SLUICE_DEBUG: '1' });
  t.deepEqual(says(t, ran), { engine: 'typescript', restricted: true, lines: LINES });
  t.regex(ran.stderr, /^sluice: the TypeScript engine is used; no binary\n/);
  if (engine === 'native') t.regex(ran.stderr, /built on this machine: .*addon.* disabled/);
});

restricted('without addons SLUICE_ENGINE=native is one error that gives the reason', (t) => {
  const allowed = [PERMISSION as string, '--allow-fs-read=*', ...NETWORK];
  const { status, stderr } = run(TALK, allowed, { SLUICE_ENGINE: 'native' });
  t.is(status, 1);
  t.regex(stderr, /ERR_NATIVE_UNAVAILABLE/);
  if (engine === 'native') t.regex(stderr, /addon.* disabled/);
});

restricted('addons are used if they are allowed', (t) => {
  const allowed = [PERMISSION as string, '--allow-fs-read=*', '--allow-addons', ...NETWORK];
  t.deepEqual(says(t, run(TALK, allowed, { SLUICE_ENGINE: engine })), { engine, restricted: true, lines: LINES });
});

restricted('only the files of the package have to be readable', (t) => {
  const allowed = [PERMISSION as string, `--allow-fs-read=${path.join(root, '*')}`, ...NETWORK];
  const ran = run(TALK, allowed, { SLUICE_ENGINE: '' });
  t.deepEqual(says(t, ran), { engine: 'typescript', restricted: true, lines: LINES });
});

// eslint-disable-next-line no-restricted-syntax -- the network is not a permission before Node 25
(PERMISSION !== null && NETWORK.length > 0 ? test : test.skip)(
  'without the network every way to a connection is one error that names the flag',
  async (t) => {
    const folder = await mkdtemp(path.join(tmpdir(), 'sluice-'));
    t.teardown(() => rm(folder, { recursive: true }));
    const file = path.join(folder, 'sock');
    const program = `
      const { ConnectionError, StreamServer, UnixStreamServer, connect, connectUnix, socketpair } = await import('sluice');
      const ways = {
        listen: () => new StreamServer(() => {}, '127.0.0.1', 0).startServing(),
        listenUnix: () => new UnixStreamServer(() => {}, ${JSON.stringify(file)}).startServing(),
        connect: () => connect('127.0.0.1', 9),
        connectName: () => connect('localhost', 9),
        connectUnix: () => connectUnix(${JSON.stringify(file)}),
        socketpair: () => socketpair(),
      };
      const told = {};
      for (const [name, way] of Object.entries(ways)) {
        told[name] = await way().then(
          () => 'no error',
          (error) => [error instanceof ConnectionError, error.code, error.message],
        );
      }
      console.log(JSON.stringify(told));
    `;
    const allowed = [PERMISSION as string, '--allow-fs-read=*', `--allow-fs-write=${path.join(folder, '*')}`];
    const told = says(t, run(program, allowed, { SLUICE_ENGINE: '' })) as Record<string, [boolean, string, string]>;
    t.deepEqual(Object.keys(told).length, 6);
    for (const [way, [typed, code, message]] of Object.entries(told)) {
      t.true(typed, way);
      t.is(code, 'ERR_ACCESS_DENIED', way);
      // The name is looked up first, and Node gives no details about that.
      if (way !== 'connectName') t.regex(message, /^(bind|connect|socketpair)\b.*--allow-net/, way);
    }
    t.regex(String(told['listen']), /bind 127\.0\.0\.1:0: /);
    t.true(String(told['connectUnix']).includes(`connect ${file}: `));
  },
);

test('networkDenied asks only a runtime that has this permission', (t) => {
  const runtime = (known: boolean, has?: (scope: string) => boolean): Parameters<typeof networkDenied>[0] => ({
    allowedNodeEnvironmentFlags: new Set(known ? ['--allow-net'] : []),
    ...(has === undefined ? {} : { permission: { has } }),
  });
  t.is(networkDenied(), null);
  t.is(networkDenied(runtime(true)), null, 'no model');
  t.is(networkDenied(runtime(false, () => false)), null, 'a model without the network');
  t.is(networkDenied(runtime(true, (scope) => scope === 'net')), null, 'allowed');
  t.like(networkDenied(runtime(true, (scope) => scope !== 'net')), { code: 'ERR_ACCESS_DENIED', permission: 'Net' });
});

test('no code is generated from strings', (t) => {
  const ran = run(TALK, ['--disallow-code-generation-from-strings'], { SLUICE_ENGINE: engine });
  t.deepEqual(says(t, ran), { engine, restricted: false, lines: LINES });
});
