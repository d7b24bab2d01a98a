/** The source of a contender, see `source.ts`, as a stream of sluice. */
import { connect, connectReadPipe, type Stream } from 'sluice';

import { port } from './program.js';
import { HOST, ca } from './source.js';

export function sluiceSource(): Promise<Stream> {
  if (port === 0) return connectReadPipe(0);
  return connect(HOST, port, ca === undefined ? {} : { ssl: { ca } });
}
