/** Certificates for the tests, made when a test first asks for them, with one certificate authority to trust. */
import { webcrypto } from 'node:crypto';
import type * as library from '@peculiar/x509';

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

type X509 = typeof library;

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;

let made: Promise<Certificates> | undefined;

export function certificates(): Promise<Certificates> {
  return (made ??= make());
}

interface Authority {
  readonly certificate: library.X509Certificate;
  readonly keys: webcrypto.CryptoKeyPair;
}

async function make(): Promise<Certificates> {
  provideMetadata();
  const x509 = await import('@peculiar/x509');
  const [ca, otherCa] = await Promise.all([
    authority(x509, 'sluice test authority'),
    authority(x509, 'another authority'),
  ]);
  const names = ['localhost', '127.0.0.1', '::1'];
  const [server, otherHost, expired, stranger, client] = await Promise.all([
    issue(x509, ca, 'localhost', names),
    issue(x509, ca, 'other.example', ['other.example']),
    issue(x509, ca, 'localhost', names, -DAY_MS),
    issue(x509, otherCa, 'localhost', names),
    issue(x509, ca, 'a client', []),
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

async function authority(x509: X509, name: string): Promise<Authority> {
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

async function issue(x509: X509, issuer: Authority, name: string, hosts: string[], endsIn = DAY_MS): Promise<Identity> {
  const keys = await keyPair();
  const extensions: library.Extension[] = [
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

/**
 * The library finds its parts through the metadata that decorators leave, and wants a polyfill of that proposal to be there
 * before it is loaded. This much of it is what it calls.
 */
function provideMetadata(): void {
  const reflect = Reflect as unknown as Record<string, unknown>;
  if (typeof reflect.getMetadata === 'function') return;
  const all = new WeakMap<object, Map<unknown, unknown>>();
  const own = (key: unknown, target: object): unknown => all.get(target)?.get(key);
  reflect.defineMetadata = (key: unknown, value: unknown, target: object): void => {
    const entries = all.get(target) ?? new Map<unknown, unknown>();
    all.set(target, entries.set(key, value));
  };
  reflect.getOwnMetadata = own;
  reflect.getMetadata = (key: unknown, target: object): unknown => {
    for (let at: object | null = target; at !== null; at = Object.getPrototypeOf(at) as object | null) {
      const value = own(key, at);
      if (value !== undefined) return value;
    }
    return undefined;
  };
}
