/**
 * `npm run bench -- [CASE ...] [--json] [--quick] [--rounds N] [--engine native|typescript] [--record]`: sets up the library and
 * the benchmarks, and runs benchmarks/run.ts.
 */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { benchmarks, main, root, setup } from './setup.mjs';

await main(async () => {
  await setup([benchmarks]);
  await import(pathToFileURL(path.join(root, 'out', 'benchmarks', 'run.js')).href);
  return process.exitCode;
});
