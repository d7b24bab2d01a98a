/** Resolves a host name to its addresses, with the system's resolver. */
import { lookup } from 'node:dns/promises';
import { unlessAborted } from '../abort.js';
import { ConnectionError } from '../errors.js';

/** One address of a host. */
export interface ResolvedAddress {
  readonly address: string;
  readonly family: 4 | 6;
}

/** Which addresses are wanted. */
export interface ResolveOptions {
  /** 0 for both families. */
  readonly family: 0 | 4 | 6;
  /** The `hints` of `dns.lookup`. */
  readonly flags: number;
  /** Ends the wait. The system's resolver itself cannot be cancelled. */
  readonly signal: AbortSignal | undefined;
}

/**
 * All addresses of a host, in the order of the resolver. An address resolves to itself.
 *
 * @throws (as a rejection) ConnectionError `ENOTFOUND`, `EAI_AGAIN`, ... if the name does not resolve, or has no address;
 * `EAI_ADDRFAMILY` if the host is an address of the other family, or has only such addresses
 * @throws (as a rejection) the reason of the signal
 */
export async function resolve(host: string, options: ResolveOptions, action: string): Promise<ResolvedAddress[]> {
  const { family, flags, signal } = options;
  signal?.throwIfAborted();
  let found: ResolvedAddress[];
  try {
    const looking = lookup(host, { all: true, family, hints: flags });
    found = (await unlessAborted(signal, looking)) as ResolvedAddress[];
  } catch (error) {
    if (signal?.aborted === true) throw signal.reason;
    const { code = 'ENOTFOUND', message } = error as NodeJS.ErrnoException;
    throw new ConnectionError(code, `${action}: ${message}`, { cause: error });
  }
  // `lookup` returns a literal address whatever family was requested.
  const wanted = found.filter((each) => family === 0 || each.family === family);
  if (wanted.length > 0) return wanted;
  if (found.length === 0) throw new ConnectionError('ENOTFOUND', `${action}: no address found for ${host}`);
  const lacks = found.some(({ address }) => address === host) ? 'is not an' : 'has no';
  throw new ConnectionError('EAI_ADDRFAMILY', `${action}: ${host} ${lacks} IPv${family} address`);
}
