/** Imported first by Node for Windows and for other processors: makes it use `./ava.js` for ava. */
import { register } from 'node:module';

const standIn = JSON.stringify(new URL('./ava.js', import.meta.url).href);
const hook = `export const resolve = (specifier, context, next) =>
  specifier === 'ava' ? { url: ${standIn}, shortCircuit: true } : next(specifier, context);`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);
