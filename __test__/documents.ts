/** The code in the documents: found, compiled against the public types, and put where it can be run. */
import { mkdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import ts from 'typescript';
import { root } from './program.js';

/** A block of code that has the name of a file. */
export interface Snippet {
  readonly name: string;
  readonly code: string;
}

/**
 * The blocks of a document that have a name: the second word behind the fence, as in ```` ```ts echo-client.ts ````, or the
 * line in front of the block, as in `` `echo-client.mjs`: ``.
 */
export async function snippets(document: string): Promise<Snippet[]> {
  const text = await readFile(path.join(root, document), 'utf8');
  const found = text.matchAll(/(?:^`([\w-]+\.\w+)`:\n\n)?^```(\w+)(?: ([\w-]+\.\w+))?\n([\s\S]*?)^```$/gm);
  return Array.from(found, ([, before, , behind, code]) => ({ name: behind ?? before ?? '', code: code! })).filter(
    ({ name }) => name !== '',
  );
}

/** A folder inside of the package, so that `sluice` is found as it is in a project that has it installed. */
export async function folder(t: ExecutionContext, name: string): Promise<string> {
  const made = path.join(root, 'out', `${name}-${process.pid}`);
  await mkdir(made, { recursive: true });
  t.teardown(() => rm(made, { recursive: true, force: true }));
  return made;
}

const TARGET = ts.ScriptTarget.ES2022;

/** The settings of a project that uses the package. */
const PROJECT: ts.CompilerOptions = {
  strict: true,
  skipLibCheck: true,
  types: ['node'],
  typeRoots: [path.join(root, 'node_modules', '@types')],
  target: TARGET,
  lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  noEmit: true,
};

/** What the compiler has to say about files of a user's project. */
export function complaints(files: readonly string[], options: ts.CompilerOptions = {}): string[] {
  const program = ts.createProgram(files, { ...PROJECT, ...options });
  return ts.getPreEmitDiagnostics(program).map((found) => {
    const text = ts.flattenDiagnosticMessageText(found.messageText, '\n');
    return found.file === undefined ? text : `${path.basename(found.file.fileName)}: ${text}`;
  });
}

/** JavaScript that the Node of this machine runs; types are not looked at. */
export function transpile(code: string): string {
  return ts.transpileModule(code, { compilerOptions: { target: TARGET, module: ts.ModuleKind.ESNext } }).outputText;
}
