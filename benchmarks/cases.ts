import type { Case } from './case.js';
import { drip } from './cases/drip.js';
import { readlineAwait } from './cases/readline-await.js';

/** Every case there is, in the order in which they run. */
export const cases: readonly Case[] = [readlineAwait, drip];
