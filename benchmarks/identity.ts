/** The certificate of the TLS sender: made for each run, for 127.0.0.1, and signed by itself. */
import { join } from 'node:path';

import { run } from './programs.js';

/** The paths of a certificate and its key. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

/** The program that makes them. */
export const OPENSSL = 'openssl';

export async function makeIdentity(directory: string): Promise<Identity> {
  const identity = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') };
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const names = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  await run({
    command: OPENSSL,
    args: ['req', ...kind, ...names, '-keyout', identity.key, '-out', identity.cert],
  });
  return identity;
}
