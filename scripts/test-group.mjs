/**
 * Runs several compiled test files in one ava process, because the start of a process and of the library takes longer than most
 * files: see `GROUPS` in `test-files.mjs`. The generated file of a group calls {@link runTogether} and does nothing else.
 *
 * The files are kept apart as far as one process allows: the tests of a file start after the tests of the file before it have
 * ended, their teardowns included, so that no two files compete for time or memory. As in a file on its own, the serial tests
 * run before all others. The title of each test begins with the name of its file, so that a report names it.
 */
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './setup.mjs';

/**
 * @param names - the test files, by their paths in `out/__test__` without `.test.js`
 */
export async function runTogether(names) {
  const compiled = (name) => pathToFileURL(path.join(root, 'out', '__test__', `${name}.test.js`)).href;
  const declare = interceptAva();
  const files = [];
  for (const name of names) {
    const calls = [];
    declare.record = (method, args) => calls.push({ method, args });
    await import(compiled(name));
    files.push({ name, calls });
  }
  declare.record = null;
  // ava wants all tests of a process declared within one turn, whereas modules are loaded over many.
  let before = Promise.resolve();
  for (const { name, calls } of files) before = declareAll(declare.real, name, calls, before);
}

/**
 * Declares the tests of a file.
 *
 * @param before - settles when the tests that are not serial may start
 * @returns a promise that resolves when they have ended
 */
export function declareAll(real, name, calls, before) {
  let left = 0;
  let ended;
  const all = new Promise((resolve) => (ended = resolve));
  for (const { method, args } of calls) {
    const [title, implementation, ...rest] = args;
    const declared = [`${name} › ${title}`, implementation, ...rest];
    if (method.length === 0) {
      left++;
      declared[1] = async (t, ...given) => {
        // The first teardown runs last.
        t.teardown(() => {
          if (--left === 0) ended();
        });
        await before;
        return implementation(t, ...given);
      };
    }
    method.reduce((chain, key) => chain[key], real)(...declared);
  }
  if (left === 0) before.then(ended);
  return all;
}

/**
 * Replaces what `import test from 'ava'` gives to the modules that have not been loaded. The object with ava's own function is a
 * private part of ava.
 */
function interceptAva() {
  const require = createRequire(import.meta.url);
  const { refs } = require(path.join(root, 'node_modules', 'ava', 'lib', 'worker', 'state.cjs'));
  const real = refs.runnerChain;
  if (typeof real !== 'function') throw new Error('This version of ava does not keep its test function in refs');
  const declare = { real, record: null };
  const recorder =
    (...method) =>
    (title, implementation, ...rest) => {
      if (declare.record === null) throw new Error(`A test was declared after its file was loaded: ${title}`);
      if (typeof title !== 'string' || typeof implementation !== 'function')
        throw new TypeError('A test in a group is declared by its title and a function');
      declare.record(method, [title, implementation, ...rest]);
    };
  // Hooks are missing, because they would run for the tests of the other files, too.
  const skip = recorder('skip');
  const serial = Object.assign(recorder('serial'), { skip: recorder('serial', 'skip') });
  refs.runnerChain = Object.assign(recorder(), { skip, serial });
  return declare;
}
