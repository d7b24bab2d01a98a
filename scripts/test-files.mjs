/**
 * The test files, what each depends on, and the passes of `npm test` that run it.
 *
 * A test file runs in every pass, unless it says otherwise in a line of its source, with the reason behind the colon:
 *
 *     // Runs once: ...
 *     // Runs once for each engine: ...
 *     // Runs once for each way of reading: ...
 *
 * Then it runs in the first pass, or in the first one with each engine, or with each way of reading, of those that run at all:
 * where there is no addon, or SLUICE_ENGINE has chosen one engine, nothing is left out.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { SetupError, root } from './setup.mjs';

/** The variables of the environment that tell the passes apart. */
const ENGINE = 'SLUICE_ENGINE';
const READS = 'SLUICE_READS';

const DECLARATIONS = {
  'Runs once': [],
  'Runs once for each engine': [ENGINE],
  'Runs once for each way of reading': [READS],
};

/** The passes that the environment leaves to run, the variables that it sets for each of them included. */
export function passes(addon, environment = process.env) {
  const { [ENGINE]: engine, [READS]: reads } = environment;
  const fastest = addon ? 'native' : 'typescript';
  const all = [
    { name: 'native engine', env: { [ENGINE]: 'native', [READS]: undefined } },
    { name: 'typescript engine', env: { [ENGINE]: 'typescript', [READS]: undefined } },
    { name: `${engine || fastest} engine, reads by 'data'`, env: { [ENGINE]: engine || fastest, [READS]: 'data' } },
  ];
  return all.filter(({ env }) => {
    if (engine ? env[ENGINE] !== engine : env[ENGINE] === 'native' && !addon) return false;
    return !reads || env[READS] === reads;
  });
}

/** The files that each pass runs: those for which no pass before it was the same in all that they depend on. */
export function plan(chosen, files) {
  return chosen.map((pass, i) => ({
    ...pass,
    files: files.filter(({ dependsOn }) => {
      const same = (before) => dependsOn.every((variable) => before.env[variable] === pass.env[variable]);
      return !chosen.slice(0, i).some(same);
    }),
  }));
}

/** What a test file depends on, by its source: the variables of the environment. */
export function dependencies(source, file) {
  const lines = source.match(/^\/\/ *Runs\b.*$/gim) ?? [];
  const found = lines.map((line) => DECLARATIONS[/^\/\/ (Runs once\b[^:]*): \S/.exec(line)?.[1]]);
  if (found.length > 1 || found.includes(undefined)) {
    throw new SetupError(`${file}: ${lines.join(' and ')} is not one of
${Object.keys(DECLARATIONS)
  .map((words) => `// ${words}: WHY`)
  .join('\n')}`);
  }
  return found[0] ?? [ENGINE, READS];
}

/** All test files, in whichever folder of `__test__`; no two have one name, since a name alone stands for a file. */
export function testFiles() {
  const files = new Map();
  const visit = (folder) => {
    for (const entry of fs.readdirSync(path.join(root, folder), { withFileTypes: true })) {
      const source = `${folder}/${entry.name}`;
      const [, name] = /^(.+)\.test\.ts$/.exec(entry.name) ?? [];
      if (entry.isDirectory()) visit(source);
      else if (name === undefined) continue;
      else if (files.has(name))
        throw new SetupError(`Two test files have one name: ${files.get(name).source}, ${source}`);
      else files.set(name, { name, source, ...described(source) });
    }
  };
  visit('__test__');
  return [...files.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function described(source) {
  return {
    compiled: `out/${source.replace(/\.ts$/, '.js')}`,
    dependsOn: dependencies(fs.readFileSync(path.join(root, source), 'utf8'), source),
  };
}

/** The test files that a word names: by the name of one, by its source or what that was compiled to, or by a folder of them. */
export function named(files, word) {
  const name = path.basename(word).replace(/(\.test)?\.[jt]s$/, '');
  const file = files.find((each) => each.name === name);
  if (file !== undefined && !word.endsWith('/')) return [file];
  const folder = path.relative(root, path.resolve(root, word)).replace(/^out\//, '');
  const within = [`${folder}/`, `__test__/${folder}/`];
  return files.filter(({ source }) => within.some((start) => source.startsWith(start)));
}
