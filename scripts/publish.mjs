/**
 * `node scripts/publish.mjs [--dry-run] [FOLDER]`: publishes the packages in a folder, by default build/packages where
 * scripts/pack.mjs leaves them: the platforms first, then the library that depends on them. What the registry has already in this
 * version is left as it is, so that a release which broke off can be run again.
 *
 * NPM_TOKEN is the token for the registry that npm is set up with. In a workflow that may ask for an identity, provenance is added.
 */
import * as fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { packageName, platforms, readManifest } from './platforms.mjs';
import { inPairs, npmCommand, outcomeOf, outputOf } from './processes.mjs';
import { main, SetupError } from './setup.mjs';

const [npm, npmArgs] = npmCommand();

await main(async () => {
  const { values, positionals } = parseArgs({
    options: { 'dry-run': { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const folder = path.resolve(positionals[0] ?? path.join('build', 'packages'));
  const { version } = readManifest();
  const files = [...platforms.map(packageName), 'sluice'].map((name) => ({
    name,
    file: path.join(folder, `${name}-${version}.tgz`),
  }));
  const missing = files.filter(({ file }) => !fs.existsSync(file)).map(({ file }) => path.basename(file));
  if (missing.length > 0) throw new SetupError(`${folder} has no ${missing.join(', ')}: node scripts/pack.mjs --all`);

  const options = ['--access', 'public', '--tag', version.includes('-') ? 'next' : 'latest'];
  if (values['dry-run']) options.push('--dry-run');
  else if (process.env.ACTIONS_ID_TOKEN_REQUEST_URL) options.push('--provenance');
  await withToken(async (env) => {
    const publish = async ({ name, file }) => {
      const { code, stdout, stderr } = await outcomeOf(npm, [...npmArgs, 'publish', file, ...options], { env });
      if (code === 0) console.log(`${name} ${version} ${values['dry-run'] ? 'could be published' : 'is published'}`);
      else if (await isPublished(name, version, env)) console.log(`${name} ${version} was published already`);
      else throw new SetupError(`npm publish ${file} failed (${code}):\n\n${stdout}${stderr}`);
    };
    const [library] = files.splice(-1);
    await inPairs(files, publish);
    await publish(library);
  });
  return 0;
});

async function isPublished(name, version, env) {
  const { code, stdout } = await outcomeOf(npm, [...npmArgs, 'view', `${name}@${version}`, 'version'], { env });
  return code === 0 && stdout.trim() === version;
}

/** Runs with the token in a file of settings of its own, which is gone afterwards; without a token, with the settings there are. */
async function withToken(work) {
  const token = process.env.NPM_TOKEN;
  if (!token) return work(process.env);
  const registry = (await outputOf(npm, [...npmArgs, 'config', 'get', 'registry'])).trim();
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sluice-publish-'));
  try {
    const settings = path.join(folder, 'npmrc');
    fs.writeFileSync(settings, `registry=${registry}\n${registry.replace(/^https?:/, '')}:_authToken=${token}\n`, {
      mode: 0o600,
    });
    return await work({ ...process.env, npm_config_userconfig: settings });
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}
