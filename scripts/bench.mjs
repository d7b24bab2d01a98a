/**
 * `npm run bench -- [CASE ...] [--json] [--quick] [--rounds N] [--engine native|typescript] [--record]`: sets everything
 * up, then runs the benchmarks: benchmarks/run.ts.
 */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { main, root, setup } from './setup.mjs';

await main(async () => {
  await setup();
  await import(pathToFileURL(path.join(root, 'out', 'benchmarks', 'run.js')).href);
  return process.exitCode;
});
