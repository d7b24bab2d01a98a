/** Where a Node contender reads from: the sender at its port, or stdin if the port is 0. */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Readable } from 'node:stream';

import { port } from './program.js';

export async function source(): Promise<Readable> {
  if (port === 0) return process.stdin;
  const socket = connect({ host: '127.0.0.1', port });
  await once(socket, 'connect');
  return socket;
}
