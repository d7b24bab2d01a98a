/**
 * Whether the permission model of Node lets the process use the network: it does so since Node 25 with `--allow-net` only.
 *
 * Node tells of it by an error of its own in most places. Where a server is to listen it throws on a later turn, past all who
 * could catch it: so that is asked beforehand.
 */
import { coded } from '../errors.js';

/** An `ERR_ACCESS_DENIED` like Node's where the network is forbidden, else null. */
export function networkDenied(runtime: Pick<NodeJS.Process, 'allowedNodeEnvironmentFlags'> = process): Error | null {
  const { permission } = runtime as { permission?: { has(scope: string): boolean } };
  // Nodes that know of no such permission say that it is not given, and let everybody pass.
  if (permission === undefined || !runtime.allowedNodeEnvironmentFlags.has('--allow-net')) return null;
  if (permission.has('net')) return null;
  const message = "the permission model of Node forbids the network without '--allow-net'";
  return Object.assign(coded(new Error(message), 'ERR_ACCESS_DENIED'), { permission: 'Net' });
}
