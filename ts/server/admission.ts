/**
 * Which connections a server admits: the options `blockList`, `maxConnectionsPerAddress` and `accept`.
 *
 *     accepted ---admit---> refused                                          nothing is counted
 *                      \
 *                       '-> admitted ---release---> the address has room for another connection
 *
 * A connection is admitted by the address of its peer, before anything is read from it. The options are asked in the order above, so
 * that `accept` is called only for connections that nothing else refuses, and a connection is counted only if nothing refuses it.
 *
 * The counts take memory for addresses with open connections only: one {@link AddressCount} for each address, which all its connections
 * share.
 */
import { BlockList, isIP, type Socket } from 'node:net';
import { checkInteger } from '../checks.js';
import { coded, ignore, invalidKind, invalidType } from '../errors.js';
import { hostAndPort } from '../transports/transport.js';
import { isThenable, whenSettled } from './client.js';
import { groupsOf, mappedAddress, withoutZone } from './ip-address.js';
import type { ProxyInfo } from './proxy-header.js';

/** At most one refusal of each kind is reported in this interval, in ms. */
const REPORT_INTERVAL_MS = 1000;

/** What a server knows about a peer before anything is read from it. */
export interface Peer {
  /**
   * The IP address. An IPv4 address in its IPv6 form (`::ffff:192.0.2.1`) is given as IPv4. '' for a peer of a Unix socket, about which
   * Node reports nothing, and for a client that a proxy announces with the path of a Unix socket.
   */
  readonly address: string;
  /** What kind of address it is. */
  readonly family: 'IPv4' | 'IPv6' | 'Unix';
  /** 0 for a Unix socket. */
  readonly port: number;
}

/** Decides whether a server admits a connection. */
export type AcceptHook = (peer: Peer) => boolean;

/** Options of a server that refuse connections. */
export interface AdmissionOptions {
  blockList?: BlockList | undefined;
  maxConnectionsPerAddress?: number | undefined;
  accept?: AcceptHook | undefined;
}

/** How many connections of one address, or of one IPv6 network, are open. */
export interface AddressCount {
  /** An IPv4 address, or an IPv6 network such as `2001:db8:0:1::/64`. */
  readonly key: string;
  connections: number;
}

/** Which option has refused a connection; `failed`: the option itself has failed. */
export type RefusalKind = 'blockList' | 'maxConnectionsPerAddress' | 'accept' | 'failed';

/** A connection was refused. */
export class Refusal {
  readonly kind: RefusalKind;
  readonly #peer: Peer;
  readonly #reason: string;
  /** What `accept` has thrown, if the kind is `failed`. */
  readonly failure: unknown;

  constructor(kind: RefusalKind, peer: Peer, reason: string, failure?: unknown) {
    this.kind = kind;
    this.#peer = peer;
    this.#reason = reason;
    this.failure = failure;
  }

  /** `refused 192.0.2.1:50123: it is in the blockList`, or the call that has failed: `accept of 192.0.2.1:50123 failed` */
  toString(): string {
    const { address, port } = this.#peer;
    const peer = address === '' ? null : hostAndPort(address, port);
    if (this.kind === 'failed') return peer === null ? `${this.#reason} failed` : `${this.#reason} of ${peer} failed`;
    return `refused ${peer ?? 'a connection'}: ${this.#reason}`;
  }
}

/** Admits and counts the connections of one server. */
export class Admission {
  readonly #blockList: BlockList | null;
  readonly #most: number;
  readonly #accept: AcceptHook | null;
  /** By address, for the addresses that have connections. */
  readonly #counts = new Map<string, AddressCount>();

  constructor({ blockList, maxConnectionsPerAddress, accept }: AdmissionOptions) {
    this.#blockList = blockList ?? null;
    this.#most = maxConnectionsPerAddress ?? Infinity;
    this.#accept = accept ?? null;
  }

  /** How many addresses and IPv6 networks have counted connections. */
  get addresses(): number {
    return this.#counts.size;
  }

  /**
   * Decides about a connection, and counts it if it is admitted. Does not throw.
   *
   * @returns what to pass to {@link release} once when the connection is over: null if its address is not counted; or the refusal
   */
  admit(peer: Peer): AddressCount | null | Refusal {
    const key = this.#most === Infinity || peer.family === 'Unix' ? null : countingKey(peer.address);
    const refusal = this.#listed(peer) ?? this.#crowded(peer, key) ?? this.#unwanted(peer);
    return refusal ?? this.#counted(key);
  }

  /** The connection is over. */
  release(count: AddressCount | null): void {
    if (count === null) return;
    count.connections--;
    if (count.connections === 0) this.#counts.delete(count.key);
  }

  #listed(peer: Peer): Refusal | null {
    if (this.#blockList === null || peer.family === 'Unix') return null;
    try {
      const listed = this.#blockList.check(withoutZone(peer.address), peer.family === 'IPv4' ? 'ipv4' : 'ipv6');
      return listed ? new Refusal('blockList', peer, 'it is in the blockList') : null;
    } catch (error) {
      return new Refusal('failed', peer, 'blockList.check', error);
    }
  }

  #crowded(peer: Peer, key: string | null): Refusal | null {
    if (key === null) return null;
    const open = this.#counts.get(key)?.connections ?? 0;
    if (open < this.#most) return null;
    const most = `maxConnectionsPerAddress is ${this.#most}`;
    const from = `there ${open === 1 ? 'is' : 'are'} ${open} from ${key} already`;
    return new Refusal('maxConnectionsPerAddress', peer, `${from}, and ${most}`);
  }

  #unwanted(peer: Peer): Refusal | null {
    if (this.#accept === null) return null;
    let verdict: unknown;
    try {
      verdict = Reflect.apply(this.#accept, undefined, [peer]);
      if (typeof verdict !== 'boolean') throw notBoolean(verdict);
    } catch (error) {
      return new Refusal('failed', peer, 'accept', error);
    }
    return verdict ? null : new Refusal('accept', peer, 'accept has returned false');
  }

  #counted(key: string | null): AddressCount | null {
    if (key === null) return null;
    let count = this.#counts.get(key);
    if (count === undefined) this.#counts.set(key, (count = { key, connections: 0 }));
    count.connections++;
    return count;
  }
}

/** A hook that waits would need a bound for the wait, so a promise is an error. Its own rejection must not end the process. */
function notBoolean(verdict: unknown): TypeError {
  if (!isThenable(verdict)) return invalidType('accept', 'the result', 'true or false', verdict);
  whenSettled(verdict, ignore, ignore);
  return invalidKind('accept', 'the result', 'true or false', 'a promise: the hook must decide without waiting');
}

// ---------------------------------------------------------------------------------------------- reports

/** Limits how often refusals are reported, so that a flood of connections does not become a flood of reports. */
export class RefusalReports {
  /** When each kind was last reported, and how many refusals were not reported since then. */
  readonly #last = new Map<RefusalKind, { at: number; leftOut: number }>();
  readonly #now: () => number;

  /** @param now - the time in ms */
  constructor(now = (): number => performance.now()) {
    this.#now = now;
  }

  /** @returns how many refusals of this kind were not reported before this one; or null if this one is not to be reported either */
  due(kind: RefusalKind): number | null {
    const now = this.#now();
    const last = this.#last.get(kind);
    if (last !== undefined && now - last.at < REPORT_INTERVAL_MS) {
      last.leftOut++;
      return null;
    }
    this.#last.set(kind, { at: now, leftOut: 0 });
    return last?.leftOut ?? 0;
  }
}

// ---------------------------------------------------------------------------------------------- addresses

/** The peer of a connection that was just accepted; null if it is gone already, so that the system does not know it any more. */
export function peerOf(socket: Socket, path: string | undefined): Peer | null {
  if (path !== undefined) return { address: '', family: 'Unix', port: 0 };
  const { remoteAddress, remotePort } = socket;
  return remoteAddress === undefined || remotePort === undefined ? null : ipPeer(remoteAddress, remotePort);
}

/** The client that a proxy has announced; null if it has announced none. */
export function announcedPeer({ source }: ProxyInfo): Peer | null {
  if (source === null) return null;
  return typeof source === 'string' ? { address: '', family: 'Unix', port: 0 } : ipPeer(source.address, source.port);
}

/** The peer with an IP address and a port. */
export function ipPeer(given: string, port: number): Peer {
  const address = mappedAddress(given) ?? given;
  return { address, family: isIP(address) === 4 ? 'IPv4' : 'IPv6', port };
}

/**
 * What the connections of an address are counted under: an IPv4 address itself, and the /64 of an IPv6 address, because a single host
 * usually has all addresses of a /64 for itself.
 */
function countingKey(address: string): string {
  if (!address.includes(':')) return address;
  const network = groupsOf(address).slice(0, 4);
  return `${network.map((group) => group.toString(16)).join(':')}::/64`;
}

// ---------------------------------------------------------------------------------------------- options

/**
 * Checks the options that refuse connections.
 *
 * @returns null if there are none
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE`
 */
export function checkAdmission(action: string, options: AdmissionOptions): Admission | null {
  const { blockList, maxConnectionsPerAddress: most = Infinity, accept } = options;
  if (blockList !== undefined && !(blockList instanceof BlockList)) {
    throw invalidType(action, 'blockList', 'a net.BlockList', blockList);
  }
  if (most !== Infinity) {
    const expected = 'an integer of 1 or more, or Infinity';
    checkInteger(action, 'maxConnectionsPerAddress', most, 1, Number.MAX_SAFE_INTEGER, expected);
  }
  if (accept !== undefined && typeof accept !== 'function') throw invalidType(action, 'accept', 'a function', accept);
  if (blockList === undefined && most === Infinity && accept === undefined) return null;
  return new Admission({ blockList, maxConnectionsPerAddress: most, accept });
}

/**
 * Refuses options that need the address of the client. The peer of a Unix socket has none, so that only a proxy can announce one.
 *
 * @param proxied - whether a proxy announces the clients
 */
export function checkNoAddresses(action: string, options: AdmissionOptions, proxied: boolean): void {
  if (proxied) return;
  for (const name of ['blockList', 'maxConnectionsPerAddress'] as const) {
    if (options[name] === undefined) continue;
    const message = `${action}: ${name} cannot be used without proxyProtocol: the peer of a Unix socket has no address`;
    throw coded(new TypeError(message), 'ERR_INVALID_ARG_TYPE');
  }
}
