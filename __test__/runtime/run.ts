/**
 * `run.js FILE RESULTS [TITLES]`: runs one compiled test file with `./ava.js` in the place of ava, as the runtime was told to resolve
 * it, and appends what happens to the file RESULTS, an object of JSON a line: a crash of the process loses nothing. What the
 * test prints stays its own. TITLES is an array of JSON: the tests to skip.
 *
 * - `{ planned }`: the titles of all tests
 * - `{ title, error?, skipped? }`: a test ended
 * - `{ stray }`: an error that belongs to no test
 * - `{ over }`: all tests have ended; the process goes by itself from here on, else there is a `stray` more
 */
import { appendFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { runTests } from './ava.js';

/** How long the process may stay when all tests have ended. */
const LINGER_MS = 10_000;

const [file, results, titles = '[]'] = process.argv.slice(2) as [string, string, string?];
const record = (entry: object): void => appendFileSync(results, `${JSON.stringify(entry)}\n`);

process.on('uncaughtException', (error) => record({ stray: `uncaught: ${inspect(error)}` }));
process.on('unhandledRejection', (reason) => record({ stray: `unhandled rejection: ${inspect(reason)}` }));

let late = false;
await import(pathToFileURL(path.resolve(file)).href);
await runTests(
  new Set(JSON.parse(titles) as string[]),
  (planned) => record({ planned }),
  (result) => {
    late ||= result.error?.includes('did not end within') ?? false;
    record(result);
  },
);
record({ over: true });
// What a test that was given up has left open is its own failure, not one more.
if (late) process.exit();
setTimeout(() => {
  record({ stray: 'the process did not exit by itself' });
  process.exit();
}, LINGER_MS).unref();
