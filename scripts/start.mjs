/**
 * `npm start [-- FILE]`: sets up the library and the examples, and runs examples/serve-file.ts, which sends a file through a
 * server and reads it back.
 */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { examples, main, root, setup } from './setup.mjs';

/**
 * Errors for an engine that the environment requires and that is not available. The message gives the reasons; a stack trace
 * would hide them.
 */
const engineErrors = ['ERR_NATIVE_UNAVAILABLE', 'ERR_INVALID_ARG_VALUE'];

await main(async () => {
  await setup([examples]);
  // npm runs scripts in the root of the package, but FILE is relative to the user's directory.
  if (process.env.INIT_CWD !== undefined) process.chdir(process.env.INIT_CWD);
  const program = path.join(root, 'out', 'examples', 'serve-file.js');
  process.argv[1] = program;
  try {
    await import(pathToFileURL(program).href);
  } catch (error) {
    if (!engineErrors.includes(error.code)) throw error;
    console.error(error.message);
    return 1;
  }
  return process.exitCode;
});
