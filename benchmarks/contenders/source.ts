/**
 * Where a contender reads from: the sender at its port, over TLS if the environment names the certificate to trust; or stdin if the port is 0.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Readable } from 'node:stream';
import { connect as connectTls } from 'node:tls';

import { port } from './program.js';

export const HOST = '127.0.0.1';
const path = process.env['SLUICE_BENCH_CA'];

/** The certificate to trust; undefined without TLS. */
export const ca = path === undefined ? undefined : readFileSync(path);

/** The source as a stream of Node, which is connected. */
export async function source(): Promise<Readable> {
  if (port === 0) return process.stdin;
  const socket = ca === undefined ? connect({ host: HOST, port }) : connectTls({ host: HOST, port, ca });
  await once(socket, ca === undefined ? 'connect' : 'secureConnect');
  return socket;
}
