/**
 * The command line of the benchmarks; see README.md next to this file.
 *
 * The exit code is 0 if everything ran, whatever the judgement; 1 if an answer was wrong, a program failed, or sluice could not
 * run; and 2 for an invalid command line.
 */
import { judgedOnly } from './case.js';
import { cases, chosen, words } from './cases.js';
import { machine } from './machine.js';
import { stopLasting } from './lasting.js';
import { type Options, parse, usage, UsageError } from './options.js';
import { ProgramError } from './programs.js';
import { record } from './record.js';
import { type Results, missing, summary, table } from './report.js';
import { type CaseResult, runCase } from './runner.js';
import { type Engine, engineFailure } from './toolchain.js';
import { Blocks, WrongAnswerError } from './workload.js';

/** The engine given on the command line or in the environment, or else the first one that loads. */
async function chooseEngine(asked: Engine | null): Promise<Engine> {
  const forced = process.env['SLUICE_ENGINE'];
  const wanted = asked ?? (forced === 'native' || forced === 'typescript' ? forced : null);
  for (const engine of wanted === null ? (['native', 'typescript'] as const) : [wanted]) {
    if ((await engineFailure(engine)) === null) return engine;
  }
  throw new ProgramError(`sluice does not load: ${await engineFailure(wanted ?? 'typescript')}`);
}

async function measure(options: Options): Promise<Results> {
  const engine = await chooseEngine(options.engine);
  const blocks = await Blocks.create();
  try {
    const settings = { engine, bothEngines: options.engine === null, quick: options.quick, blocks };
    const results: CaseResult[] = [];
    for (const wanted of chosen(cases, options.cases, options.quick)) {
      const result = await runCase(options.judged ? judgedOnly(wanted) : wanted, settings, options.rounds, progress);
      progress('');
      console.log(`${table(result)}\n`);
      results.push(result);
    }
    return { machine: await machine(engine), rounds: options.rounds, cases: results };
  } finally {
    await stopLasting();
    await blocks.remove();
  }
}

/** Shows progress in one line that overwrites itself, if stderr is a terminal. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

// Exit handlers stop programs and remove files, but they do not run when a signal ends the process.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

const line = process.argv.slice(2);
try {
  const options = parse(line, words(cases));
  if (options.help) {
    console.log(usage);
    process.exit();
  }
  const results = await measure(options);
  const absent = missing(results);
  if (absent.length > 0) console.log(['Not run here:', ...absent].join('\n  '));
  if (options.complete && absent.some((contender) => !contender.includes('uvloop'))) process.exitCode = 1;
  if (options.record) console.log(`recorded in ${await record(results, ['npm run bench --', ...line].join(' '))}`);
  if (options.json) console.log(JSON.stringify(summary(results)));
} catch (error) {
  progress('');
  if (error instanceof UsageError) {
    console.error(`${error.message}\n\n${usage}`);
    process.exitCode = 2;
  } else if (error instanceof WrongAnswerError || error instanceof ProgramError) {
    console.error(`${error.name}: ${error.message}`);
    process.exitCode = 1;
  } else {
    throw error;
  }
}
