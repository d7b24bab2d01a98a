/**
 * `node scripts/test-binary.mjs [PLATFORM] [-- ARGUMENTS]`: runs the tests on the binary in npm/PLATFORM, by default that of this
 * platform, which may have been built elsewhere. This needs no cargo, and neither uses nor changes a local build. The arguments
 * are passed to ava. The binary for another processor is tested under qemu-user, as `npm run test:runtimes` does, which gets the
 * arguments then.
 */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import path from 'node:path';
import { binaryFile, ownPlatform, platformOf } from './platforms.mjs';
import { outputOf } from './processes.mjs';
import { machines } from './qemu.mjs';
import { binOf, main, root, SetupError } from './setup.mjs';

await main(async () => {
  const args = process.argv.slice(2);
  const named = args[0] !== undefined && !args[0].startsWith('-') ? platformOf(args.shift()) : ownPlatform();
  if (args[0] === '--') args.shift();
  if (named === undefined) throw new SetupError(`There are no binaries for ${process.platform} on ${process.arch}`);
  const file = binaryFile(named);
  if (!fs.existsSync(file)) throw new SetupError(`${path.relative(root, file)} does not exist`);

  const [machine] = Object.entries(machines).find(([, { platform }]) => platform === named.name) ?? [];
  if (machine !== undefined && named !== ownPlatform()) {
    const env = { ...process.env, SLUICE_BINARY: file, SLUICE_ENGINE: 'native' };
    return ended([path.join(root, 'scripts', 'test-runtimes.mjs'), machine, ...args], env);
  }
  for (const config of ['tsconfig', 'tsconfig.examples', 'tsconfig.benchmarks', 'tsconfig.test']) {
    await outputOf(process.execPath, [binOf('typescript', 'tsc'), '-p', path.join(root, `${config}.json`)], {
      cwd: root,
    });
  }
  // node-gyp-build looks there instead of in the root of the package.
  const place = path.join(root, 'build', 'test-binary');
  fs.mkdirSync(path.join(place, 'build', 'Release'), { recursive: true });
  fs.copyFileSync(file, path.join(place, 'build', 'Release', 'sluice.node'));
  const env = { ...process.env, SLUICE_PREBUILD: place, SLUICE_ENGINE: 'native' };
  return ended([binOf('ava', 'ava'), ...args], env);
});

/** Runs a program of Node; returns its exit code. */
function ended(args, env) {
  const child = spawn(process.execPath, args, { cwd: root, stdio: 'inherit', env });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}
