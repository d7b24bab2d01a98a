import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

import { draw, plots } from './plot.js';
import { page, type Results } from './report.js';
import { root } from './toolchain.js';

/**
 * Writes results to dated files: JSON with every sample, a Markdown page, and an SVG for each plot. Returns the path of the page.
 */
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
    const pictures = [];
    for (const { plot, lines } of plots(results.cases)) {
      const picture = `${path}-${plot.name}.svg`;
      await writeFile(picture, draw(plot, lines));
      pictures.push({ title: plot.title, file: basename(picture) });
    }
    await writeFile(`${path}.md`, page(results, command, pictures));
    return `${path}.md`;
  }
}
