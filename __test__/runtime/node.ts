/** Imported first by Node for Windows and for other processors: makes it use `./ava.js` for ava. */
import { once } from 'node:events';
import { register } from 'node:module';
import { createServer } from 'node:net';

const standIn = JSON.stringify(new URL('./ava.js', import.meta.url).href);
const hook = `export const resolve = (specifier, context, next) =>
  specifier === 'ava' ? { url: ${standIn}, shortCircuit: true } : next(specifier, context);`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);

if (process.platform !== 'win32') {
  // With the first server, libuv opens a descriptor that it keeps in reserve. In the processes of ava, it is open before the tests are.
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  server.close();
  await once(server, 'close');
}
