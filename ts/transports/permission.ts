/**
 * Whether the permission model of Node lets the process use the network. Since Node 25, this requires `--allow-net`.
 *
 * In most places Node reports an error of its own. But when a server begins to listen, Node throws on a later turn, where it cannot be
 * caught. So this is checked beforehand.
 */
import { coded } from '../errors.js';

/** An `ERR_ACCESS_DENIED` like Node's if the network is forbidden, else null. */
export function networkDenied(runtime: Pick<NodeJS.Process, 'allowedNodeEnvironmentFlags'> = process): Error | null {
  const { permission } = runtime as { permission?: { has(scope: string): boolean } };
  // Versions of Node without this permission report that it is not granted, but do not enforce it.
  if (permission === undefined || !runtime.allowedNodeEnvironmentFlags.has('--allow-net')) return null;
  if (permission.has('net')) return null;
  const message = "the permission model of Node forbids the network without '--allow-net'";
  return Object.assign(coded(new Error(message), 'ERR_ACCESS_DENIED'), { permission: 'Net' });
}
