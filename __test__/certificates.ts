/**
 * Certificates for the tests, and an authority to trust. They are made when a test first needs them, and kept in a file
 * for the other test files, since loading the generator takes longer than most of these run.
 */
import { webcrypto } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createSecureContext, type SecureContext } from 'node:tls';
import { fileURLToPath } from 'node:url';
import type * as x509Types from '@peculiar/x509';
import type { DuplexTransport } from '#ts/transports/duplex.js';
import type { TlsTransport } from '#ts/tls/transport.js';
import { secure, type Tls } from '#ts/tls/handshake.js';
import { checkClientTls, checkServerTls } from '#ts/tls/options.js';
import { root } from './program.js';

/** A certificate and its key, as PEM, for the TLS options. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

export interface Certificates {
  /** The authority to trust, as PEM. */
  readonly ca: string;
  /** An authority that signed only `stranger`. */
  readonly otherCa: string;
  /** For localhost, 127.0.0.1 and ::1. */
  readonly server: Identity;
  /** For other.example. */
  readonly otherHost: Identity;
  /** For localhost, expired yesterday. */
  readonly expired: Identity;
  /** For localhost, signed by the other authority. */
  readonly stranger: Identity;
  /** For a client that must present one. */
  readonly client: Identity;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;

const FILE = path.join(root, 'out', 'certificates.json');
/** The maximum age of the kept certificates: they are valid for a day, longer than any run that starts with them. */
const KEPT_MS = DAY_MS / 2;

let found: Promise<Certificates> | undefined;

export function certificates(): Promise<Certificates> {
  return (found ??= kept().then((certificates) => certificates ?? makeAndKeep()));
}

interface Kept {
  /** When they were made, and a hash of the code that made them: other code may make others. */
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

/** If several processes find no file, each continues with its own certificates, and one of them writes the file. */
async function makeAndKeep(): Promise<Certificates> {
  const kept: Kept = { madeAt: Date.now(), code: await ownCode(), certificates: await make() };
  const draft = `${FILE}.${process.pid}`;
  await writeFile(draft, JSON.stringify(kept));
  await rename(draft, FILE);
  return kept.certificates;
}

let trusting: SecureContext | undefined;

/** For clients that trust the authority. Made once, because a context takes longer to make than most tests use it. */
export async function trust(): Promise<SecureContext> {
  const { ca } = await certificates();
  return (trusting ??= createSecureContext({ ca }));
}

type Version = 'TLSv1.2' | 'TLSv1.3';

interface Sides {
  readonly client: Tls;
  readonly served: Tls;
}

const sides = new Map<Version, Sides>();

/** What {@link secured} needs for a version; made once, for the same reason. */
async function sidesOf(maxVersion: Version): Promise<Sides> {
  const { ca, server } = await certificates();
  let found = sides.get(maxVersion);
  if (found === undefined) {
    // Many tests of the contract have a peer that keeps its side open.
    const options = { sslShutdownTimeout: 1000 };
    const client = checkClientTls('test', { ca, maxVersion }, options, 'localhost');
    found = { client, served: checkServerTls('test', server, options) };
    sides.set(maxVersion, found);
  }
  return found;
}

/** TLS of ours over two connected plain transports: a client that trusts the authority, and the server. */
export async function secured(
  client: DuplexTransport,
  served: DuplexTransport,
  maxVersion: Version = 'TLSv1.3',
): Promise<{ client: TlsTransport; served: TlsTransport }> {
  const tls = await sidesOf(maxVersion);
  const [a, b] = await Promise.all([secure(tls.client, client, undefined), secure(tls.served, served, undefined)]);
  return { client: a, served: b };
}

interface Authority {
  readonly certificate: x509Types.X509Certificate;
  readonly keys: webcrypto.CryptoKeyPair;
}

let x509: typeof x509Types;

async function make(): Promise<Certificates> {
  // Required by the library, which finds its parts through decorator metadata.
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
