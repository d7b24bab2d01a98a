import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { arch, availableParallelism, cpus, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { type Engine, root, versions } from './toolchain.js';

/** The machine, the software and the date of a measurement. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly os: string;
  readonly versions: Readonly<Record<string, string>>;
  /** The version of sluice, with the commit if it is known. */
  readonly sluice: string;
  /** The engine that sluice ran on. */
  readonly engine: Engine;
  readonly date: string;
}

export async function machine(engine: Engine): Promise<Machine> {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  const commit = await git('describe', '--always', '--dirty', '--exclude', '*');
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    os: `${type()} ${release()} ${arch()}`,
    versions: await versions(),
    sluice: commit === null ? version : `${version} (${commit})`,
    engine,
    date: new Date().toISOString(),
  };
}

async function git(...args: string[]): Promise<string | null> {
  try {
    return (await promisify(execFile)('git', args, { cwd: root })).stdout.trim();
  } catch {
    return null;
  }
}
