/**
 * sluice: the parser of requests of examples/protocols/resp, on `stream.window()` and `stream.consume()`. It recognises the command in
 * place, and says where in the window each argument is: the command that is executed makes of it what it needs.
 */
import { connect } from 'sluice';

import { RequestParser } from '../../examples/protocols/resp/requests.js';
import { answer, commandAt, executeInPlace } from './commands.js';
import { now, port } from './program.js';

const stream = await connect('127.0.0.1', port);
const start = now();
const request = new RequestParser();
for (;;) {
  const window = stream.tryWindow(request.need) ?? (await stream.window(request.need));
  if (window.length < request.need) {
    if (window.length > 0) throw new Error(`${window.length} bytes of a request before EOF`);
    break;
  }
  let end = 0;
  for (let next; (next = request.next(window, end)) !== -1; end = next) {
    const name = request.begin(0);
    executeInPlace(commandAt(window, name, request.end(0) - name), request);
  }
  stream.consume(end);
}
answer(now() - start);
await stream.close();
