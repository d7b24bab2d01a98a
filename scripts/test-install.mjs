/**
 * `npm run test:install`: builds and packs everything that can be built here, publishes it to a registry on this machine, and
 * installs and uses it from there in empty folders, with nothing but Node on PATH, as a user would.
 *
 * The first stage may need compilers. If the binary for this platform exists, it needs none. The last line is `N passed, N
 * failed`.
 */
import { strict as assert } from 'node:assert';
import * as fs from 'node:fs';
import path from 'node:path';
import * as attw from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { buildBinary, canBuild } from './build-binary.mjs';
import { faultsOf, isChecked } from './check-binary.mjs';
import { User } from './install/user.mjs';
import { builtBinaries, pack } from './pack.mjs';
import { binaryFile, binaryName, ownPlatform, packageName, platforms, readManifest } from './platforms.mjs';
import { inPairs, outcomeOf } from './processes.mjs';
import { installRegistry, startRegistry } from './registry.mjs';
import { binOf, main, root, SetupError } from './setup.mjs';

const ECHOED = '["one\\n","two\\n","three"]';
const BUNDLER = 'esbuild@0.28.2';
const PLACE = path.join(root, 'build', 'test-install');

/** The number of tests that passed and failed. */
const counts = { passed: 0, failed: 0 };

async function check(title, run) {
  const start = Date.now();
  try {
    await run();
    counts.passed += 1;
    console.log(`ok      ${title} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
  } catch (error) {
    counts.failed += 1;
    console.log(`FAILED  ${title}\n${String(error?.stack ?? error).replace(/^/gm, '        ')}`);
  }
}

await main(async () => {
  fs.rmSync(PLACE, { recursive: true, force: true });
  const { tarballs, own, real } = await build();
  checkTarballs(tarballs, own, real);
  await checkContents(tarballs, real);

  const program = path.join(root, 'build', 'verdaccio');
  await installRegistry(program);
  const registry = await startRegistry(program, path.join(PLACE, 'storage'));
  try {
    const user = new User(registry.address, PLACE);
    await checkInstallation(user, tarballs, own);
  } finally {
    await registry.stop();
    if (counts.failed > 0) console.log(registry.log());
  }
  if (counts.failed === 0) fs.rmSync(PLACE, { recursive: true, force: true });
  console.log(`${counts.passed} passed, ${counts.failed} failed`);
  return counts.failed === 0 ? 0 : 1;
});

// The first stage

/**
 * Creates the packages of all platforms. If the binary of a platform cannot be built here, its package contains a text file
 * instead, because a package manager's choice of package does not depend on the contents.
 */
async function build() {
  const own = ownPlatform();
  if (own !== undefined) await makeOwnBinary(own);
  const binaries = builtBinaries();
  const real = platforms.filter(({ name }) => binaries[name] !== undefined);
  const standIn = path.join(PLACE, 'not-built');
  fs.mkdirSync(PLACE, { recursive: true });
  fs.writeFileSync(standIn, 'not built on this machine\n');
  const all = Object.fromEntries(platforms.map(({ name }) => [name, binaries[name] ?? standIn]));
  console.log(`Packing; there are binaries for ${real.map(({ name }) => name).join(', ') || 'no platform'} ...`);
  return { tarballs: await pack(path.join(PLACE, 'packages'), all), own, real };
}

async function makeOwnBinary(own) {
  const file = binaryFile(own);
  if (await canBuild()) {
    console.log(`Building the binary for ${own.title} unless it is up to date ...`);
    await buildBinary(own);
  } else if (fs.existsSync(file)) {
    console.log(`Using the existing ${path.relative(root, file)}: there is no cargo on PATH`);
  } else {
    throw new SetupError(`There is no cargo on PATH, and ${path.relative(root, file)} does not exist`);
  }
}

// What is in the packages

async function checkContents(tarballs, real) {
  const listed = (name) => {
    const files = attw.createPackageFromTarballData(new Uint8Array(fs.readFileSync(tarballs[name]))).listFiles();
    return files.map((file) => file.replace(`/node_modules/${name}/`, '')).sort();
  };

  await check(
    'the main package holds the compiled library, its types and four documents, and nothing else',
    async () => {
      const sources = fs.readdirSync(path.join(root, 'ts'), { recursive: true }).filter((name) => name.endsWith('.ts'));
      const stems = sources.map((name) => `dist/${name.split(path.sep).join('/').replace(/\.ts$/, '')}`);
      const programs = ['sluice', 'index', 'testing/index'];
      const content = listed('sluice');
      const types = content.filter((name) => name.endsWith('.d.ts'));
      assert.deepEqual(
        content.filter((name) => !types.includes(name)),
        ['CHANGELOG.md', 'LICENSE', 'README.md', ...programs.map((name) => `dist/${name}.js`), 'package.json'].sort(),
      );
      assert.deepEqual(
        types.filter((name) => !stems.includes(name.replace(/\.d\.ts$/, ''))),
        [],
      );
      assert(types.includes('dist/index.d.ts'));
      // The engines are internal. If they are among the types, something internal was not removed.
      for (const name of [
        'buffer/ring',
        'buffer/native',
        'buffer/native-ring',
        'buffer/slab',
        'transports/node-internals',
      ]) {
        assert(!types.includes(`dist/${name}.d.ts`), `${name}.d.ts`);
      }
    },
  );

  for (const platform of platforms) {
    await check(`${packageName(platform)} contains the binary and three documents`, async () => {
      const expected = ['LICENSE', 'README.md', 'THIRD-PARTY.md', 'package.json', binaryName(platform)];
      assert.deepEqual(listed(packageName(platform)), expected.sort());
    });
  }

  await check('the release builds and tests every platform', () => {
    const workflow = fs.readFileSync(path.join(root, '.github', 'workflows', 'release.yml'), 'utf8');
    for (const { name, target, untested = false } of platforms) {
      assert(workflow.includes(`- { platform: ${name}, target: ${target}, runner: `), `build ${name}`);
      assert.equal(workflow.includes(`- { platform: ${name}, runner: `), !untested, `test ${name}`);
    }
  });

  for (const platform of real.filter(isChecked)) {
    await check(`the binary for ${platform.title} runs on old systems`, () => {
      assert.deepEqual(faultsOf(binaryFile(platform), platform), []);
      const other = platforms.find((candidate) => isChecked(candidate) && candidate.cpu !== platform.cpu);
      assert.notDeepEqual(faultsOf(binaryFile(platform), other), []);
    });
  }
}

/** The manifests in the packages. */
function checkTarballs(tarballs, own, real) {
  assert.deepEqual(Object.keys(tarballs).sort(), ['sluice', ...platforms.map(packageName)].sort());
  if (own !== undefined) assert(real.includes(own), 'the binary of this platform is missing');
}

// Installing and using

/** The sluice packages that are installed in a folder. */
function installed(folder) {
  const names = fs.readdirSync(path.join(folder, 'node_modules')).filter((name) => name.startsWith('sluice'));
  return names.sort();
}

function copyProgram(name, folder, as = name) {
  fs.copyFileSync(path.join(root, 'scripts', 'install', name), path.join(folder, as));
}

async function checkInstallation(user, tarballs, own) {
  const native = own === undefined ? 'typescript' : 'native';
  const ownPackages = own === undefined ? ['sluice'] : ['sluice', packageName(own)];

  await check('the user has no compilers', async () => {
    for (const program of ['cargo', 'rustc', 'cc', 'gcc', 'clang', 'make', 'python3']) {
      assert.equal((await user.run(program, ['--version'], { cwd: PLACE })).code, 127, program);
    }
  });

  await check('everything is published, and publishing it again changes nothing', async () => {
    const publish = () => user.publish(path.join(root, 'scripts', 'publish.mjs'), path.join(PLACE, 'packages'));
    const lines = (await publish()).split('\n').sort();
    assert.deepEqual(
      lines,
      Object.keys(tarballs)
        .map((name) => `${name} ${readManifest().version} is published`)
        .sort(),
    );
    for (const line of (await publish()).split('\n')) assert.match(line, /^sluice\S* \S+ was already published$/);
  });

  await check('publint reports nothing', async () => {
    for (const name of ['sluice', ...(own === undefined ? [] : [packageName(own)])]) {
      const pkgDir = path.join(PLACE, 'packages', 'stage', name);
      const { messages, pkg } = await publint({ pkgDir, strict: true, pack: false });
      assert.deepEqual(
        messages.map((message) => formatMessage(message, pkg, { color: false })),
        [],
      );
    }
  });

  await check('the types resolve wherever ES modules can be imported', async () => {
    const tarball = attw.createPackageFromTarballData(new Uint8Array(fs.readFileSync(tarballs.sluice)));
    const result = await attw.checkPackage(tarball);
    assert.notEqual(result.types, false);
    // The package has only an ES module. Node decides whether require() can load it, and old versions of TypeScript do not know
    // exports.
    const problems = result.problems.filter(
      ({ resolutionKind }) => resolutionKind !== 'node10' && resolutionKind !== 'node16-cjs',
    );
    assert.deepEqual(problems, []);
  });

  const modules = user.project('modules', { type: 'module' });
  await check('npm install sluice: the library and the binary of this platform, without any script', async () => {
    await user.npm(modules, 'install', 'sluice');
    assert.deepEqual(installed(modules), ownPackages);
    const { packages } = JSON.parse(fs.readFileSync(path.join(modules, 'package-lock.json'), 'utf8'));
    assert.deepEqual(
      Object.keys(packages).filter((place) => packages[place].hasInstallScript),
      [],
    );
    const named = Object.keys(packages).filter((place) => place.includes('/sluice'));
    assert.deepEqual(
      named.sort(),
      ['sluice', ...platforms.map(packageName)].map((name) => `node_modules/${name}`).sort(),
    );
    for (const name of installed(modules)) {
      const { scripts, engines } = JSON.parse(
        fs.readFileSync(path.join(modules, 'node_modules', name, 'package.json'), 'utf8'),
      );
      assert.equal(scripts, undefined);
      assert.deepEqual(engines, readManifest().engines);
    }
  });

  await check('an ES module uses it, on the native engine', async () => {
    copyProgram('client.mjs', modules);
    assert.deepEqual(await user.node(modules, ['client.mjs']), { stdout: `${native} ${ECHOED}`, stderr: '' });
    const { stderr } = await user.node(modules, ['client.mjs'], { SLUICE_DEBUG: '1' });
    if (own === undefined) assert.match(stderr, /^sluice: the TypeScript engine is used; no binary\n/);
    else assert.match(stderr, new RegExp(`^sluice: the native engine is used: package ${packageName(own)}\n`));
  });

  await check('a CommonJS module uses it', async () => {
    copyProgram('client.cjs', modules);
    const { stdout } = await user.node(modules, ['client.cjs']);
    assert.equal(stdout, `${native} ${ECHOED}`);
  });

  await check('npm ci installs the same packages', async () => {
    fs.rmSync(path.join(modules, 'node_modules'), { recursive: true });
    await user.npm(modules, 'ci');
    assert.deepEqual(installed(modules), ownPackages);
    assert.equal((await user.node(modules, ['client.mjs'])).stdout, `${native} ${ECHOED}`);
  });

  await check('a binary that cannot be loaded is ignored, and the reason is reported', async () => {
    if (own === undefined) return;
    const file = path.join(modules, 'node_modules', packageName(own), binaryName(own));
    fs.writeFileSync(file, 'this is no binary');
    const { stdout, stderr } = await user.node(modules, ['client.mjs'], { SLUICE_DEBUG: '1' });
    assert.equal(stdout, `typescript ${ECHOED}`);
    assert.match(stderr, new RegExp(`^ {2}- package ${packageName(own)}: \\S`, 'm'));
  });

  await check('a binary of another version is ignored, and the reason is reported', async () => {
    if (own === undefined) return;
    const file = path.join(modules, 'node_modules', packageName(own), 'package.json');
    const manifest = JSON.parse(fs.readFileSync(file, 'utf8'));
    fs.writeFileSync(file, JSON.stringify({ ...manifest, version: '99.0.0' }));
    const outcome = await user.run(process.execPath, ['client.mjs'], {
      cwd: modules,
      env: { SLUICE_ENGINE: 'native' },
    });
    assert.equal(outcome.code, 1);
    assert.match(outcome.stderr, /ERR_NATIVE_UNAVAILABLE/);
    assert.match(
      outcome.stderr,
      new RegExp(`- package ${packageName(own)}: its version is 99\\.0\\.0, and sluice is \\d`),
    );
  });

  await check('--ignore-scripts changes nothing', async () => {
    const folder = user.project('no-scripts', { type: 'module' });
    await user.npm(folder, 'install', '--ignore-scripts', 'sluice');
    copyProgram('client.mjs', folder);
    assert.equal((await user.node(folder, ['client.mjs'])).stdout, `${native} ${ECHOED}`);
  });

  await check(
    '--omit=optional leaves the TypeScript engine, and forcing the native one says what is missing',
    async () => {
      const folder = user.project('no-binary', { type: 'module' });
      await user.npm(folder, 'install', '--omit=optional', 'sluice');
      assert.deepEqual(installed(folder), ['sluice']);
      copyProgram('client.mjs', folder);
      assert.deepEqual(await user.node(folder, ['client.mjs']), { stdout: `typescript ${ECHOED}`, stderr: '' });
      const forced = await user.run(process.execPath, ['client.mjs'], {
        cwd: folder,
        env: { SLUICE_ENGINE: 'native' },
      });
      assert.equal(forced.code, 1);
      assert.match(forced.stderr, /- built on this machine: No native build was found/);
      assert.match(
        forced.stderr,
        own === undefined ? /none is made for/ : new RegExp(`${packageName(own)}: not installed`),
      );
    },
  );

  await inPairs(platforms, (platform) =>
    check(`on ${platform.title} the package for it is chosen`, async () => {
      const folder = user.project(`for-${platform.name}`);
      const libc = platform.libc === undefined ? [] : [`--libc=${platform.libc}`];
      await user.npm(folder, 'install', `--os=${platform.os}`, `--cpu=${platform.cpu}`, ...libc, 'sluice');
      assert.deepEqual(installed(folder), ['sluice', packageName(platform)]);
    }),
  );

  await check('on a platform without a binary it installs without one', async () => {
    for (const [system, cpu, ...libc] of [
      ['sunos', 'x64'],
      ['freebsd', 'arm64'],
      ['linux', 'mips64el', '--libc=glibc'],
      ['linux', 'arm', '--libc=musl'],
    ]) {
      const folder = user.project(`without-${system}-${cpu}`, { type: 'module' });
      await user.npm(folder, 'install', `--os=${system}`, `--cpu=${cpu}`, ...libc, 'sluice');
      assert.deepEqual(installed(folder), ['sluice']);
      copyProgram('client.mjs', folder);
      assert.deepEqual(await user.node(folder, ['client.mjs']), { stdout: `typescript ${ECHOED}`, stderr: '' });
    }
  });

  await checkBundles(user, native);
  await checkTypeScript(user, native);
}

/** A bundle finds the binary in `node_modules` next to it, and works without it if there is none. */
async function checkBundles(user, native) {
  const folder = user.project('bundled');
  await check('a bundler installs next to it', () =>
    user.npm(folder, 'install', '--ignore-scripts', 'sluice', BUNDLER),
  );
  for (const [format, program] of [
    ['esm', 'client.mjs'],
    ['cjs', 'client.cjs'],
  ]) {
    await check(`a bundle in the format ${format} works, with the binary and without`, async () => {
      copyProgram(program, folder);
      const bundle = `bundle${path.extname(program)}`;
      const options = { entryPoints: [program], outfile: bundle, bundle: true, platform: 'node', format };
      await user.node(folder, [
        '-e',
        `require('esbuild').buildSync(${JSON.stringify({ ...options, logLevel: 'error' })})`,
      ]);
      assert.equal((await user.node(folder, [bundle])).stdout, `${native} ${ECHOED}`);
      const alone = user.project(`bundled-${format}`);
      fs.copyFileSync(path.join(folder, bundle), path.join(alone, bundle));
      assert.equal((await user.node(alone, [bundle])).stdout, `typescript ${ECHOED}`);
    });
  }
}

async function checkTypeScript(user, native) {
  const folder = user.project('typed', { type: 'module' });
  await check('TypeScript projects install the types of Node', async () => {
    await user.npm(folder, 'install', 'sluice', `@types/node@${readManifest().devDependencies['@types/node']}`);
  });
  copyProgram('client.ts', folder);
  const tsc = binOf('typescript', 'tsc');
  const compile = (...options) => {
    const language = ['--target', 'es2022', '--lib', 'es2023,esnext.disposable', '--types', 'node'];
    const strict = [
      '--strict',
      '--exactOptionalPropertyTypes',
      '--noUncheckedIndexedAccess',
      '--skipLibCheck',
      'false',
    ];
    return outcomeOf(process.execPath, [tsc, '--ignoreConfig', ...language, ...strict, ...options], { cwd: folder });
  };
  for (const [module, resolution] of [
    ['node16', 'node16'],
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ]) {
    await check(`types resolve and compile with module ${module}, moduleResolution ${resolution}`, async () => {
      const output = `out-${module}`;
      const options = ['--module', module, '--moduleResolution', resolution, '--outDir', output];
      // Checking all declarations takes most of the time, and the result is the same each time.
      options.push('--skipLibCheck', String(module !== 'nodenext'));
      const { code, stdout } = await compile(...options, 'client.ts');
      assert.equal(code, 0, stdout);
      const { stdout: printed } = await user.node(folder, [path.join(output, 'client.js')]);
      assert.equal(printed, `${native} ["one","two","three"] 2`);
    });
  }
}
