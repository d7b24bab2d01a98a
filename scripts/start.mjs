/**
 * `npm start [-- FILE]`: sets the library and the examples up, then sends a file through a server and reads it back:
 * examples/serve-file.ts.
 */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { examples, main, root, setup } from './setup.mjs';

/** The environment asks for an engine that cannot be had: the message has the reasons, and a stack trace would hide them. */
const engineErrors = ['ERR_NATIVE_UNAVAILABLE', 'ERR_INVALID_ARG_VALUE'];

await main(async () => {
  await setup([examples]);
  // npm runs scripts in the root of the package; a FILE is meant from where the user stands.
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
