import type { Case } from './case.js';
import { drip } from './cases/drip.js';
import { echoPipelined, echoSingle } from './cases/echo.js';
import { exactly1m } from './cases/exactly-1m.js';
import { idleMemory } from './cases/idle-memory.js';
import { readlineAwait } from './cases/readline-await.js';
import { untilCrlfCrlf } from './cases/until-crlfcrlf.js';

/** Every case there is, in the order in which they run. */
export const cases: readonly Case[] = [
  readlineAwait,
  untilCrlfCrlf,
  exactly1m,
  echoPipelined,
  echoSingle,
  idleMemory,
  drip,
];
