/** `npm start [-- FILE]`: sets everything up, then sends a file through a server and reads it back: examples/serve-file.ts. */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { main, root, setup } from './setup.mjs';

await main(async () => {
  await setup();
  // npm runs scripts in the root of the package; a FILE is meant from where the user stands.
  if (process.env.INIT_CWD !== undefined) process.chdir(process.env.INIT_CWD);
  const program = path.join(root, 'out', 'examples', 'serve-file.js');
  process.argv[1] = program;
  await import(pathToFileURL(program).href);
  return process.exitCode;
});
