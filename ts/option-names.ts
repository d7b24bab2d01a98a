/**
 * Options under the names that asyncio gives them. An option that is not known is passed over, as everywhere on Node; but who
 * ports a program would lose an address, a name or a timeout by that, without a word.
 */
import { coded } from './errors.js';

const NAMES: readonly (readonly [asyncio: string, sluice: string])[] = [
  ['local_addr', 'localAddr'],
  ['server_hostname', 'serverHostname'],
  ['ssl_handshake_timeout', 'sslHandshakeTimeout'],
  ['ssl_shutdown_timeout', 'sslShutdownTimeout'],
  ['happy_eyeballs_delay', 'happyEyeballsDelay'],
  ['reuse_address', 'reuseAddress'],
  ['reuse_port', 'reusePort'],
  ['keep_alive', 'keepAlive'],
  ['shutdown_timeout', 'shutdownTimeout'],
  ['start_serving', 'startServing'],
];

/** @throws TypeError `ERR_INVALID_ARG_TYPE` when an option is given by the name that it has in asyncio */
export function checkOptionNames(action: string, options: object): void {
  for (const [asyncio, sluice] of NAMES) {
    if ((options as Record<string, unknown>)[asyncio] === undefined) continue;
    const message = `${action}: the option is called ${sluice} here, not ${asyncio}`;
    throw coded(new TypeError(message), 'ERR_INVALID_ARG_TYPE');
  }
}
