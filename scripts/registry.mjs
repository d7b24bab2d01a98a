/**
 * A registry of npm packages on this machine, for the duration of a test. It serves the packages that are published to it, and
 * forwards requests for all others to the registry that npm is configured with.
 *
 * It runs as a separate program, so that it ends with its parent. Its arguments are FOLDER, which contains verdaccio, and UPLINK.
 */
import { fork } from 'node:child_process';
import * as fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { npmCommand, outputOf } from './processes.mjs';

/** 6.7 depends on a version of fetch that requires Node 22. The previous version does not, and is sufficient. */
const MANIFEST = { private: true, dependencies: { verdaccio: '~6.7.0' }, overrides: { 'node-fetch': '2.7.0' } };

/** Installs the registry program into `folder` unless it is already there. */
export async function installRegistry(folder) {
  const wanted = `${JSON.stringify(MANIFEST, null, 2)}\n`;
  const stamp = path.join(folder, 'installed.json');
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === wanted) return;
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, 'package.json'), wanted);
  const [npm, args] = npmCommand();
  await outputOf(npm, [...args, 'install', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: folder });
  fs.writeFileSync(stamp, wanted);
}

/**
 * Starts a registry with the program in `folder` and an empty storage.
 *
 * @returns its address, and a function that stops it and deletes its storage
 */
export async function startRegistry(folder, storage) {
  const [npm, args] = npmCommand();
  const setting = async (name) => (await outputOf(npm, [...args, 'config', 'get', name])).trim();
  const uplink = await setting('registry');
  const authorities = await setting('cafile');
  const env = { ...process.env };
  if (authorities !== 'null' && authorities !== '') env.NODE_EXTRA_CA_CERTS ??= authorities;
  fs.mkdirSync(storage, { recursive: true });
  const child = fork(fileURLToPath(import.meta.url), [folder, storage, uplink], { env, silent: true });
  const output = [];
  child.stdout.on('data', (piece) => output.push(piece));
  child.stderr.on('data', (piece) => output.push(piece));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const port = await Promise.race([new Promise((resolve) => child.once('message', resolve)), ended.then(() => null)]);
  if (port === null) throw new Error(`The registry did not start:\n${Buffer.concat(output).toString()}`);
  return {
    address: `http://127.0.0.1:${port}/`,
    log: () => Buffer.concat(output).toString(),
    async stop() {
      child.kill();
      await ended;
      fs.rmSync(storage, { recursive: true, force: true });
    },
  };
}

async function serve(folder, storage, uplink) {
  const { runServer } = createRequire(path.join(path.resolve(folder), 'package.json'))('verdaccio');
  const everyone = { access: '$all', publish: '$all', unpublish: '$all' };
  const server = await runServer({
    self_path: storage,
    configPath: path.join(storage, 'config.yaml'),
    storage,
    auth: { htpasswd: { file: path.join(storage, 'htpasswd') } },
    uplinks: { registry: { url: uplink, timeout: '60s', max_fails: 10 } },
    packages: {
      sluice: everyone,
      'sluice-*': everyone,
      '**': { access: '$all', proxy: 'registry' },
    },
    max_body_size: '100mb',
    web: { enable: false },
    log: { type: 'stdout', format: 'pretty', level: 'warn' },
  });
  server.listen(0, '127.0.0.1', () => process.send(server.address().port));
  process.once('disconnect', () => process.exit());
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(fs.realpathSync(process.argv[1])).href) {
  const [folder, storage, uplink] = process.argv.slice(2);
  await serve(folder, storage, uplink);
}
