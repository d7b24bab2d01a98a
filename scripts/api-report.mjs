/**
 * `npm run api-report [-- --check]`: writes docs/sluice.api.md and docs/sluice-testing.api.md, the public API according to the
 * published declarations, so that every change to it shows up in a diff. With `--check` it writes nothing, and fails if a file is out of
 * date.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { Extractor, ExtractorConfig, ExtractorLogLevel, ExtractorMessageCategory } from '@microsoft/api-extractor';
import { compileInto } from './pack.mjs';
import { readManifest } from './platforms.mjs';
import { main, root, SetupError } from './setup.mjs';

/** The report of each module that the package exports. */
const REPORTS = { 'sluice.api.md': 'index', 'sluice-testing.api.md': 'testing/index' };
const PLACE = path.join(root, 'build', 'api');

await main(async () => {
  fs.rmSync(PLACE, { recursive: true, force: true });
  fs.mkdirSync(path.join(PLACE, 'kept'), { recursive: true });
  fs.writeFileSync(path.join(PLACE, 'package.json'), JSON.stringify(readManifest()));
  await compileInto(path.join(PLACE, 'dist'));
  for (const [report, entry] of Object.entries(REPORTS)) writeReport(report, path.join(PLACE, 'dist', `${entry}.d.ts`));
  return 0;
});

function writeReport(name, entry) {
  const report = path.join(root, 'docs', name);
  const before = fs.existsSync(report) ? fs.readFileSync(report, 'utf8') : '';
  if (before !== '') fs.copyFileSync(report, path.join(PLACE, 'kept', name));

  const complaints = [];
  const extractorConfig = ExtractorConfig.prepare({
    configObject: {
      projectFolder: PLACE,
      mainEntryPointFilePath: entry,
      compiler: { overrideTsconfig: compilerSettings(entry) },
      apiReport: { enabled: true, reportFileName: name, reportFolder: 'kept', reportTempFolder: 'made' },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      newlineKind: 'lf',
      messages: messageSettings(),
    },
    configObjectFullPath: path.join(PLACE, 'api-extractor.json'),
    packageJsonFullPath: path.join(PLACE, 'package.json'),
  });
  Extractor.invoke(extractorConfig, {
    localBuild: true,
    messageCallback: (message) => {
      message.handled = true;
      // These messages only say that the report is new or has changed, which is checked below.
      if (message.category === ExtractorMessageCategory.Console) return;
      if (message.logLevel === ExtractorLogLevel.Error || message.logLevel === ExtractorLogLevel.Warning) {
        complaints.push(
          `${message.sourceFilePath ?? ''}:${message.sourceFileLine ?? ''} ${message.messageId}: ${message.text}`,
        );
      }
    },
  });
  if (complaints.length > 0) throw new SetupError(complaints.join('\n'));

  const made = fs.readFileSync(path.join(PLACE, 'made', name), 'utf8');
  if (!process.argv.includes('--check')) fs.writeFileSync(report, made);
  else if (before !== made) {
    throw new SetupError(`docs/${name} is out of date: npm run api-report\n${differing(before, made)}`);
  }
}

function compilerSettings(entry) {
  const compilerOptions = {
    target: 'es2022',
    lib: ['es2023', 'esnext.disposable'],
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    types: ['node'],
    typeRoots: [path.join(root, 'node_modules', '@types')],
  };
  return { compilerOptions, files: [entry] };
}

/** The comments follow the rules of TypeScript and ESLint, not those of TSDoc, and use no release tags. */
function messageSettings() {
  const silent = { logLevel: 'none', addToApiReportFile: false };
  return {
    compilerMessageReporting: { default: { logLevel: 'error' } },
    extractorMessageReporting: {
      default: { logLevel: 'warning' },
      'ae-missing-release-tag': silent,
      'ae-unresolved-link': silent,
      'ae-undocumented': silent,
      // Users can use a value of such a type, but not name the type. Listing it in the report is enough.
      'ae-forgotten-export': { logLevel: 'none', addToApiReportFile: true },
    },
    tsdocMessageReporting: { default: silent },
  };
}

function differing(before, after) {
  const lines = new Set(before.split('\n'));
  const since = new Set(after.split('\n'));
  const gone = [...lines].filter((line) => !since.has(line)).map((line) => `- ${line}`);
  return [...gone, ...[...since].filter((line) => !lines.has(line)).map((line) => `+ ${line}`)].slice(0, 40).join('\n');
}
