/** From the name of a host to its addresses, by the resolver of the system. */
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
  /** 0: of any family. */
  readonly family: 0 | 4 | 6;
  /** The hints of `dns.lookup`. */
  readonly flags: number;
  /** Ends the wait; the resolver itself cannot be called off. */
  readonly signal: AbortSignal | undefined;
}

/**
 * All addresses of a host, in the order of the resolver; an address stands for itself.
 *
 * @throws (as a rejection) ConnectionError `ENOTFOUND`, `EAI_AGAIN`, ... when the name does not resolve, or to no address,
 * `EAI_ADDRFAMILY` when the host is, or has only, addresses of the other family
 * @throws (as a rejection) the reason of the signal
 */
export async function resolve(host: string, options: ResolveOptions, action: string): Promise<ResolvedAddress[]> {
  const { family, flags, signal } = options;
  signal?.throwIfAborted();
  let found: ResolvedAddress[];
  try {
    // The system's resolver cannot be called off.
    const looking = lookup(host, { all: true, family, hints: flags });
    found = (await unlessAborted(signal, looking)) as ResolvedAddress[];
  } catch (error) {
    if (signal?.aborted === true) throw signal.reason;
    const { code = 'ENOTFOUND', message } = error as NodeJS.ErrnoException;
    throw new ConnectionError(code, `${action}: ${message}`, { cause: error });
  } // What is an address already comes back as it is.
  const wanted = found.filter((each) => family === 0 || each.family === family);
  if (wanted.length > 0) return wanted;
  if (found.length === 0) throw new ConnectionError('ENOTFOUND', `${action}: no address found for ${host}`);
  const lacks = found.some(({ address }) => address === host) ? 'is not an' : 'has no';
  throw new ConnectionError('EAI_ADDRFAMILY', `${action}: ${host} ${lacks} IPv${family} address`);
}
