/**
 * `node scripts/publish.mjs [--dry-run] [--built] [FOLDER]`: publishes the packages in a folder, by default build/packages, into which
 * scripts/pack.mjs writes: the platforms first, then the library that depends on them. A package that the registry already has in
 * this version is skipped, so that an interrupted release can be repeated. Every platform must be there; `--built`, for rehearsals, takes
 * those that are.
 *
 * NPM_TOKEN is the token for the registry that npm is configured with. Without it, a workflow that can request an identity token publishes as
 * a trusted publisher, for which npm 11.5.1 is the oldest version. Such a workflow also adds provenance.
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
    options: { 'dry-run': { type: 'boolean', default: false }, built: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const folder = path.resolve(positionals[0] ?? path.join('build', 'packages'));
  const { version } = readManifest();
  const all = [...platforms.map(packageName), 'sluice'].map((name) => ({
    name,
    file: path.join(folder, `${name}-${version}.tgz`),
  }));
  const files = all.filter(({ name, file }) => !values.built || name === 'sluice' || fs.existsSync(file));
  const missing = files.filter(({ file }) => !fs.existsSync(file)).map(({ file }) => path.basename(file));
  if (missing.length > 0)
    throw new SetupError(`${folder} has no ${missing.join(', ')}; run node scripts/pack.mjs --all first`);

  const options = ['--access', 'public', '--tag', version.includes('-') ? 'next' : 'latest'];
  if (values['dry-run']) options.push('--dry-run');
  else if (process.env.ACTIONS_ID_TOKEN_REQUEST_URL) options.push('--provenance');
  await withToken(async (env) => {
    const publish = async ({ name, file }) => {
      const { code, stdout, stderr } = await outcomeOf(npm, [...npmArgs, 'publish', file, ...options], { env });
      if (code === 0) console.log(`${name} ${version} ${values['dry-run'] ? 'could be published' : 'is published'}`);
      else if (await isPublished(name, version, env)) console.log(`${name} ${version} was already published`);
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

/** Runs `work` with the token in a temporary settings file; if there is no token, with the existing settings. */
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
