/** A user of the packages, for the installation test. */
import { strict as assert } from 'node:assert';
import * as fs from 'node:fs';
import path from 'node:path';
import { npmCommand, outcomeOf } from '../processes.mjs';
import { SetupError } from '../setup.mjs';

/**
 * A user with nothing but Node and npm: no compilers and no settings. All of the user's files are in `place`, and `address` is
 * the only registry.
 */
export class User {
  #place;
  #bin;
  #home;
  #npm;

  constructor(address, place) {
    this.#place = place;
    this.#bin = path.join(place, 'bin');
    this.#home = path.join(place, 'home');
    fs.mkdirSync(this.#bin, { recursive: true });
    fs.mkdirSync(this.#home, { recursive: true });
    const node = path.join(this.#bin, path.basename(process.execPath));
    // On Windows, creating links requires a privilege.
    if (process.platform === 'win32') fs.copyFileSync(process.execPath, node);
    else fs.symlinkSync(process.execPath, node);
    fs.writeFileSync(path.join(this.#home, '.npmrc'), `registry=${address}\n`);
    const [command, args] = npmCommand();
    this.#npm = args.length > 0 ? [command, ...args] : [process.execPath, fs.realpathSync(onPath('npm'))];
  }

  /** The environment of this process, without everything that concerns npm, this package or PATH. */
  get #environment() {
    const kept = Object.entries(process.env).filter(([name]) => !/^(npm_|sluice_|node_|path$|init_cwd$)/i.test(name));
    return {
      ...Object.fromEntries(kept),
      PATH: this.#bin,
      HOME: this.#home,
      USERPROFILE: this.#home,
      npm_config_userconfig: path.join(this.#home, '.npmrc'),
      npm_config_cache: path.join(this.#home, 'cache'),
      npm_config_audit: 'false',
      npm_config_fund: 'false',
      npm_config_update_notifier: 'false',
    };
  }

  /** An empty folder with a manifest. */
  project(name, manifest = {}) {
    const folder = path.join(this.#place, 'projects', name);
    fs.mkdirSync(folder, { recursive: true });
    fs.writeFileSync(
      path.join(folder, 'package.json'),
      JSON.stringify({ name: 'project', private: true, ...manifest }),
    );
    return folder;
  }

  run(program, args, { cwd, env = {} }) {
    return outcomeOf(program, args, { cwd, env: { ...this.#environment, ...env } });
  }

  async npm(cwd, ...args) {
    const [program, ...first] = this.#npm;
    const { code, stdout, stderr } = await this.run(program, [...first, ...args], { cwd });
    assert.equal(code, 0, `npm ${args.join(' ')}\n${stdout}${stderr}`);
    return stdout;
  }

  /** Runs the publishing script and returns its output. */
  async publish(script, folder, ...options) {
    // npm requires a token to publish, even if the registry does not.
    const env = { npm_execpath: this.#npm.at(-1), NPM_TOKEN: 'nobody' };
    return (await this.node(folder, [script, ...options, folder], env)).stdout;
  }

  async node(cwd, args, env) {
    const { code, stdout, stderr } = await this.run(process.execPath, args, { cwd, env });
    assert.equal(code, 0, `node ${args.join(' ')}\n${stdout}${stderr}`);
    return { stdout: stdout.trimEnd(), stderr: stderr.trimEnd() };
  }
}

function onPath(program) {
  for (const folder of (process.env.PATH ?? '').split(path.delimiter)) {
    const file = path.join(folder, program);
    if (fs.existsSync(file)) return file;
  }
  throw new SetupError(`${program} is not on PATH`);
}
