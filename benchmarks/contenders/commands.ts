/**
 * What the contenders that parse requests to Redis have in common. As in a server, each request must be recognised as one of the
 * commands, and is executed as soon as it is parsed. To execute it here is to count its bytes.
 */
import type { RequestParser } from '../../examples/protocols/resp/requests.js';
import { answer as print, digest } from './program.js';

/** The commands, each at its number. */
const NAMES = ['SET', 'GET'] as const;
const SET = 0;
const GET = 1;

const LETTERS = NAMES.map((name) => Buffer.from(name).readUIntBE(0, 3));
const UPPER_CASE = 0xdfdfdf;

/** The number of the command whose name these bytes are, in capitals or not. */
export function commandAt(bytes: Uint8Array, start: number, length: number): number {
  if (length === 3) {
    const letters = ((bytes[start]! << 16) | (bytes[start + 1]! << 8) | bytes[start + 2]!) & UPPER_CASE;
    if (letters === LETTERS[SET]) return SET;
    if (letters === LETTERS[GET]) return GET;
  }
  throw new Error(`unknown command ${Buffer.from(bytes.subarray(start, start + length)).toString()}`);
}

let requests = 0;
let bytes = 0;

/** Receives a request; `words` from `first` on are its arguments. */
export function execute(command: number, words: readonly Buffer[], first: number): void {
  requests++;
  bytes += NAMES[command]!.length;
  for (let i = first; i < words.length; i++) bytes += words[i]!.length;
  digest?.parts([NAMES[command]!, ...words.slice(first)]);
}

/** The same for words in place. */
export function executeInPlace(command: number, request: RequestParser): void {
  requests++;
  bytes += NAMES[command]!.length;
  for (let i = 1; i < request.count; i++) bytes += request.end(i) - request.begin(i);
  if (digest === null) return;
  const parts: (string | Buffer)[] = [NAMES[command]!];
  for (let i = 1; i < request.count; i++) parts.push(request.bytes.subarray(request.begin(i), request.end(i)));
  digest.parts(parts);
}

/** Prints the answer. */
export function answer(seconds: number): void {
  print(requests, bytes, seconds);
}
