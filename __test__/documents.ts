/** The code in the documents: it is extracted, compiled against the public types, and all of it is run by tests. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import ts from 'typescript';
import { Process, root, type ProcessOptions } from './program.js';

/** A block of code that has a file name. */
export interface Snippet {
  readonly name: string;
  readonly code: string;
}

/** A block of code in a language; without a name it cannot be run. */
export interface Block extends Snippet {
  readonly language: string;
}

/**
 * The blocks of a document that have a language. The name is the second word after the fence, as in ```` ```ts
 * echo-client.ts ````, or in the line before the block, as in `` `echo-client.mjs`: ``.
 */
export async function blocks(document: string): Promise<Block[]> {
  const text = await readFile(path.join(root, document), 'utf8');
  const found = text.matchAll(/(?:^`([\w-]+\.\w+)`:\n\n)?^ *```(\w+)(?: ([\w-]+\.\w+))?[^\n]*\n([\s\S]*?)^ *```$/gm);
  return Array.from(found, ([, before, language, behind, code]) => ({
    name: behind ?? before ?? '',
    language: language!,
    code: code!,
  }));
}

/** The blocks of a document that have a name. */
export async function snippets(document: string): Promise<Snippet[]> {
  return (await blocks(document)).filter(({ name }) => name !== '');
}

/** A folder inside the package, so that `sluice` is resolved as in a project that has it installed. */
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
  noUncheckedIndexedAccess: true,
  allowJs: true,
  checkJs: true,
  skipLibCheck: true,
  types: ['node'],
  typeRoots: [path.join(root, 'node_modules', '@types')],
  target: TARGET,
  lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  noEmit: true,
};

/** The errors that only say that a type annotation is missing, which plain JavaScript cannot have. */
function saysImplicitAny(code: number): boolean {
  return code >= 7005 && code <= 7053;
}

/** The compiler's messages about files of a user's project. */
function complaints(files: readonly string[]): string[] {
  const program = ts.createProgram(files, PROJECT);
  return ts
    .getPreEmitDiagnostics(program)
    .filter(({ file, code }) => !(file?.fileName.endsWith('.mjs') && saysImplicitAny(code)))
    .map((found) => {
      const text = ts.flattenDiagnosticMessageText(found.messageText, '\n');
      return found.file === undefined ? text : `${path.relative(root, found.file.fileName)}: ${text}`;
    });
}

/**
 * The compiler's messages about all programs of the documents. They are compiled at once, because most of the work of a compilation
 * are the declarations of the package, of Node and of the language.
 */
export async function compile(t: ExecutionContext, documents: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const [i, document] of documents.entries()) {
    const where = await folder(t, `types-${i}-${path.parse(document).name}`);
    for (const { name, code } of await snippets(document)) {
      if (!/\.(?:ts|mjs)$/.test(name)) continue;
      const file = path.join(where, name.replace(/\.ts$/, '.mts'));
      await writeFile(file, code);
      files.push(file);
    }
  }
  return complaints(files);
}

/** JavaScript that this Node can run; types are not checked. */
export function transpile(code: string): string {
  return ts.transpileModule(code, { compilerOptions: { target: TARGET, module: ts.ModuleKind.ESNext } }).outputText;
}

/** The fixed ports of the programs in the documents: a test lets the system choose others. */
const PORTS = /\b(?:8888|6379)\b/g;

/** A folder with the programs of a document, ready to run. */
export class Workplace {
  readonly folder: string;
  readonly #t: ExecutionContext;
  readonly #programs: ReadonlyMap<string, string>;
  readonly #used = new Set<string>();

  constructor(t: ExecutionContext, where: string, programs: ReadonlyMap<string, string>) {
    this.#t = t;
    this.folder = where;
    this.#programs = programs;
  }

  /** The programs that were run. */
  get used(): string[] {
    return [...this.#used];
  }

  /** Starts a program. A program that contains a port needs another one. */
  async start(name: string, port: number | null = null, options: ProcessOptions = {}): Promise<Process> {
    const file = await this.write(name, port);
    return new Process(this.#t, process.execPath, [file], { cwd: this.folder, ...options });
  }

  /** Runs a program to its end, which must be successful; returns what it printed. */
  async run(name: string, port: number | null = null): Promise<string> {
    const { code, stdout, stderr } = await (await this.start(name, port)).ended;
    this.#t.is(stderr, '');
    this.#t.is(code, 0);
    return stdout;
  }

  /** Starts a server of a document on a free port, and waits until it prints `Serving on` with the port. */
  async serve(name: string, options: ProcessOptions = {}): Promise<{ server: Process; port: number }> {
    const server = await this.start(name, 0, options);
    // Some runtimes print an address on several lines.
    const [, port] = await server.prints(/^Serving on\b[^]*?\bport:? (\d+)\b/m);
    return { server, port: Number(port) };
  }

  /** The exports of a module of the document. */
  async load(name: string): Promise<unknown> {
    return import(pathToFileURL(await this.write(name)).href);
  }

  /** Writes a program to be run, and those that it imports. Returns its path. */
  async write(name: string, port: number | null = null): Promise<string> {
    const code = this.#programs.get(name);
    if (code === undefined) throw new Error(`the document has no ${name}`);
    this.#used.add(name);
    for (const [, imported] of code.matchAll(/from '\.\/([\w-]+)\.mjs'/g)) await this.write(`${imported!}.ts`);
    const free = port === null ? code : code.replaceAll(PORTS, String(port));
    if ((port === null) !== (code.search(PORTS) === -1))
      throw new Error(`${name} has a port, and none is given, or none`);
    const file = path.join(this.folder, `${path.parse(name).name}.mjs`);
    await writeFile(file, transpile(free));
    return file;
  }
}

/**
 * A document in which every block of code is a program, and every program is run by a test. `guides.test.ts` compiles the programs of
 * all documents.
 */
export class Guide {
  readonly #document: string;
  readonly #tested = new Set<string>();
  #places = 0;

  constructor(document: string) {
    this.#document = document;
  }

  /** The programs of the document by name, in order. */
  async programs(): Promise<Map<string, string>> {
    return new Map((await snippets(this.#document)).map(({ name, code }) => [name, code]));
  }

  /** A test that runs programs of the document, all of those it names. */
  test(
    names: string | readonly string[],
    title: string,
    body: (t: ExecutionContext, work: Workplace) => unknown,
  ): void {
    const programs = typeof names === 'string' ? [names] : names;
    for (const name of programs) this.#tested.add(name);
    test(title, async (t) => {
      const where = await folder(t, `${path.parse(this.#document).name}-${this.#places++}`);
      const work = new Workplace(t, where, await this.programs());
      await body(t, work);
      t.deepEqual(work.used.sort(), [...programs].sort(), 'the test runs the programs that it names');
    });
  }

  /** The test that nothing of the document is left out. Call it after the other tests. */
  testWhole(): void {
    const tested = [...this.#tested].sort();
    test(`${this.#document}: every block of code is a program that a test runs`, async (t) => {
      const found = await blocks(this.#document);
      t.deepEqual(found.map(({ name }) => name).sort(), tested);
    });
  }
}
