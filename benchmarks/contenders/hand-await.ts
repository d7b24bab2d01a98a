/** The await reader as people usually write it by hand: see line-reader.ts. */
import { receive } from './awaiting-reader.js';
import { LineReader } from './line-reader.js';

await receive(LineReader);
