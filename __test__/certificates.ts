/**
 * Certificates for the tests, with one certificate authority to trust: made when a test first asks for them, and kept in a file
 * for the other test files, since loading what makes them takes longer than most of these run.
 */
import { webcrypto } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type * as x509Types from '@peculiar/x509';
import type { DuplexTransport } from '#ts/transports/duplex.js';
import type { SocketTransport } from '#ts/transports/socket.js';
import { secure } from '#ts/tls/handshake.js';
import { checkClientTls, checkServerTls } from '#ts/tls/options.js';
import { root } from './program.js';

/** A certificate and its key, both as PEM: what the options of TLS take. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

export interface Certificates {
  /** The authority to trust, as PEM. */
  readonly ca: string;
  /** An authority that signed `stranger` only. */
  readonly otherCa: string;
  /** For localhost, 127.0.0.1 and ::1. */
  readonly server: Identity;
  /** For other.example. */
  readonly otherHost: Identity;
  /** For localhost, until a day ago. */
  readonly expired: Identity;
  /** For localhost, of the other authority. */
  readonly stranger: Identity;
  /** For a client that has to show one. */
  readonly client: Identity;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;

const FILE = path.join(root, 'out', 'certificates.json');
/** How old what is kept may be: valid for a day, it outlives every run that begins with it. */
const KEPT_MS = DAY_MS / 2;

let found: Promise<Certificates> | undefined;

export function certificates(): Promise<Certificates> {
  return (found ??= kept().then((certificates) => certificates ?? makeAndKeep()));
}

interface Kept {
  /** When they were made, and the code that made them: another one may make others. */
  readonly madeAt: number;
  readonly code: string;
  readonly certificates: Certificates;
}

async function kept(): Promise<Certificates | null> {
  try {
    const { madeAt, code, certificates } = JSON.parse(await readFile(FILE, 'utf8')) as Kept;
    return Math.abs(Date.now() - madeAt) < KEPT_MS && code === (await ownCode()) ? certificates : null;
  } catch {
    return null;
  }
}

function ownCode(): Promise<string> {
  return readFile(fileURLToPath(import.meta.url), 'utf8');
}

/** Of several processes that find none each goes on with its own, and one of them leaves its own for the rest. */
async function makeAndKeep(): Promise<Certificates> {
  const kept: Kept = { madeAt: Date.now(), code: await ownCode(), certificates: await make() };
  const draft = `${FILE}.${process.pid}`;
  await writeFile(draft, JSON.stringify(kept));
  await rename(draft, FILE);
  return kept.certificates;
}

/** TLS of ours over two plain transports that are connected: a client that trusts the authority, and the server. */
export async function secured(
  client: DuplexTransport,
  served: DuplexTransport,
  maxVersion: 'TLSv1.2' | 'TLSv1.3' = 'TLSv1.3',
): Promise<{ client: SocketTransport; served: SocketTransport }> {
  const { ca, server } = await certificates();
  // Many a peer of the contract keeps its end to itself.
  const options = { sslShutdownTimeout: 1000 };
  const serverTls = checkServerTls('test', server, options);
  const clientTls = checkClientTls('test', { ca, maxVersion }, options, 'localhost');
  const [a, b] = await Promise.all([secure(clientTls, client, undefined), secure(serverTls, served, undefined)]);
  return { client: a, served: b };
}

interface Authority {
  readonly certificate: x509Types.X509Certificate;
  readonly keys: webcrypto.CryptoKeyPair;
}

let x509: typeof x509Types;

async function make(): Promise<Certificates> {
  // Wanted by the library, which finds its parts through the metadata that decorators leave.
  await import('reflect-metadata');
  x509 = await import('@peculiar/x509');
  const [ca, otherCa] = await Promise.all([authority('sluice test authority'), authority('another authority')]);
  const names = ['localhost', '127.0.0.1', '::1'];
  const [server, otherHost, expired, stranger, client] = await Promise.all([
    issue(ca, 'localhost', names),
    issue(ca, 'other.example', ['other.example']),
    issue(ca, 'localhost', names, -DAY_MS),
    issue(otherCa, 'localhost', names),
    issue(ca, 'a client', []),
  ]);
  return {
    ca: ca.certificate.toString('pem'),
    otherCa: otherCa.certificate.toString('pem'),
    server,
    otherHost,
    expired,
    stranger,
    client,
  };
}

function keyPair(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function authority(name: string): Promise<Authority> {
  const keys = await keyPair();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    notBefore: new Date(Date.now() - 10 * DAY_MS),
    notAfter: new Date(Date.now() + DAY_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  return { certificate, keys };
}

async function issue(issuer: Authority, name: string, hosts: string[], endsIn = DAY_MS): Promise<Identity> {
  const keys = await keyPair();
  const extensions: x509Types.Extension[] = [
    new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
  ];
  if (hosts.length > 0) {
    extensions.push(
      new x509.SubjectAlternativeNameExtension(
        hosts.map((value) => ({ type: /^[\d.]+$|:/.test(value) ? ('ip' as const) : ('dns' as const), value })),
      ),
    );
  }
  const certificate = await x509.X509CertificateGenerator.create({
    subject: `CN=${name}`,
    issuer: issuer.certificate.subject,
    notBefore: new Date(Date.now() - 10 * DAY_MS),
    notAfter: new Date(Date.now() + endsIn),
    signingKey: issuer.keys.privateKey,
    publicKey: keys.publicKey,
    signingAlgorithm: ALGORITHM,
    extensions,
  });
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { cert: certificate.toString('pem'), key: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY') };
}
