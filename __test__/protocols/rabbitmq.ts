/** Debian's RabbitMQ, in the foreground and on ports of its own. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { RABBITMQ, rabbitmqEnvironment, registerArguments, unprivileged } from '../../benchmarks/debian.js';
import { sparePort } from '../loopback.js';
import { installed, Process } from '../program.js';
import { dataFolder, peer } from './peers.js';

/** Starts a broker, which takes some seconds, and returns its port; null if it is not installed. It is killed after the test. */
export async function rabbitmq(t: ExecutionContext): Promise<number | null> {
  if (!installed(t, RABBITMQ, 'epmd')) return null;
  const ports = { port: await sparePort(t), nodes: await sparePort(t), names: await sparePort(t) };
  const folder = dataFolder(t);
  const file = (name: string, text: string): string => {
    writeFileSync(path.join(folder, name), text);
    return path.join(folder, name);
  };
  await peer(t, ports.names, 'epmd', registerArguments(ports), unprivileged());
  const env = rabbitmqEnvironment({ folder, file, ...ports, processors: 1 });
  const server = new Process(t, 'taskset', ['-c', processor(), RABBITMQ], { env, cwd: folder, ...unprivileged() });
  await server.prints(/Server startup complete/);
  return ports.port;
}

/**
 * The number of a processor. On one alone, RabbitMQ starts with 5 seconds of processor time instead of 8: its threads wake each other
 * for every file that they read, which is more expensive between processors.
 */
function processor(): string {
  const status = readFileSync('/proc/self/status', 'utf8');
  return /^Cpus_allowed_list:.*?(\d+)$/m.exec(status)?.[1] ?? '0';
}
