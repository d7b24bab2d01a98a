/**
 * `run.js FILE RESULTS [TITLES]`: runs one compiled test file with `./ava.js` in place of ava, which the runtime is
 * configured to
 * resolve, and appends the results to the file RESULTS, one JSON object per line: a crash of the process loses none.
 * The
 * output of the test stays its own. TITLES is a JSON array: the tests to skip.
 *
 * - `{ planned }`: the titles of all tests
 * - `{ title, error?, skipped? }`: a test ended
 * - `{ stray }`: an error that belongs to no test
 * - `{ over }`: all tests have ended; from here on the process must end by itself, or a `stray` follows
 */
import { appendFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { runTests } from './ava.js';

/** How long the process may stay after all tests have ended. */
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
// What a test that timed out has left open is part of its own failure, not another one.
if (late) process.exit();
setTimeout(() => {
  record({ stray: 'the process did not exit by itself' });
  process.exit();
}, LINGER_MS).unref();
