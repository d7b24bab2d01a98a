// Runs once: the benchmarks choose the engine of each program themselves.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { lasting, stopLasting, type Site } from '../benchmarks/lasting.js';
import { ProgramError } from '../benchmarks/programs.js';

/** Whether a process runs. */
function runs(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

// eslint-disable-next-line no-restricted-syntax -- the programs are shells, and the servers that last are looked for on Linux only
const posix = process.platform === 'win32' ? test.skip : test.serial;
posix('a server that lasts starts once, when it is needed, and is gone at the end with its folder', async (t) => {
  const sites: Site[] = [];
  const port = lasting(async (site) => {
    sites.push(site);
    const file = site.file('greeting', 'serving ');
    site.run('/bin/sh', ['-c', 'cat >input'], { input: 'prepared' });
    const script = `cat ${file} input; echo " $NAME $$"; exec sleep 1000`;
    await site.start('/bin/sh', ['-c', script], (output) => output.includes('\n'), { env: { NAME: 'x' } });
    return 17;
  });
  t.is(sites.length, 0);
  t.deepEqual(await Promise.all([port(), port()]), [17, 17]);
  t.is(await port(), 17);
  t.is(sites.length, 1);
  const { folder } = sites[0]!;
  const [, greeting, pid] = /^(.*) (\d+)\n$/.exec(await readFile(path.join(folder, 'log-0'), 'utf8'))!;
  t.is(greeting, 'serving prepared x');
  t.true(runs(Number(pid)));
  await stopLasting();
  t.false(runs(Number(pid)));
  t.false(existsSync(folder));
});

posix('a server that ends before it is ready, or cannot start, fails with its output', async (t) => {
  const fails = (action: (site: Site) => Promise<void>): Promise<ProgramError | undefined> =>
    t.throwsAsync(lasting((site) => action(site).then(() => 1))(), { instanceOf: ProgramError });
  const never = (): boolean => false;
  const ended = await fails((site) => site.start('/bin/sh', ['-c', 'echo no such luck >&2; exit 3'], never));
  t.regex(ended!.message, /^\/bin\/sh ended before it was ready\nno such luck\n$/);
  await fails((site) => site.start('/nonexistent/program', [], never));
  const failed = await fails(async (site) => site.run('/bin/sh', ['-c', 'echo out of luck >&2; exit 3']));
  t.regex(failed!.message, /out of luck/);
  await stopLasting();
});
