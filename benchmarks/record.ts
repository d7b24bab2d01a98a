import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { page, type Results } from './report.js';
import { root } from './toolchain.js';

/** Keeps results as a dated pair of files, JSON with every sample and a page to read; returns the path of the page. */
export async function record(results: Results, command: string): Promise<string> {
  const directory = join(root, 'benchmarks', 'records');
  await mkdir(directory, { recursive: true });
  const stem = `${results.machine.date.slice(0, 10)}-node-${results.machine.versions['node'] ?? 'unknown'}`;
  for (let attempt = 1; ; attempt++) {
    const path = join(directory, attempt === 1 ? stem : `${stem}-${attempt}`);
    try {
      await writeFile(`${path}.json`, `${JSON.stringify({ command, ...results }, null, 2)}\n`, { flag: 'wx' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue;
      throw error;
    }
    await writeFile(`${path}.md`, page(results, command));
    return `${path}.md`;
  }
}
