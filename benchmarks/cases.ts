import type { Case } from './case.js';
import { busyMemory } from './cases/busy-memory.js';
import { cores } from './cases/cores.js';
import { drip } from './cases/drip.js';
import { echoPipelined, echoSingle } from './cases/echo.js';
import { exactly1m } from './cases/exactly-1m.js';
import { fanOut } from './cases/fan-out.js';
import { frames } from './cases/frames.js';
import { frameGrowth, idleMemoryGrowth, idleTimeGrowth } from './cases/growth.js';
import { idleMemory } from './cases/idle-memory.js';
import { lengthAwait } from './cases/length-await.js';
import { lengthFrames } from './cases/length-frames.js';
import { linesBatches } from './cases/lines-batches.js';
import { pipings } from './cases/piping.js';
import { amqp } from './cases/protocols/amqp.js';
import { http } from './cases/protocols/http.js';
import { mqtt } from './cases/protocols/mqtt.js';
import { postgresql } from './cases/protocols/postgres.js';
import { resp } from './cases/protocols/resp.js';
import { smtp } from './cases/protocols/smtp.js';
import { websocket } from './cases/protocols/websocket.js';
import { readlineAwait } from './cases/readline-await.js';
import { readlineTry } from './cases/readline-try.js';
import { stdinLines } from './cases/stdin-lines.js';
import { sweep } from './cases/sweep.js';
import { timeouts } from './cases/timeouts.js';
import { tlsLines } from './cases/tls-lines.js';
import { untilCrlfCrlf } from './cases/until-crlfcrlf.js';
import { ways } from './cases/ways.js';
import { windowResp } from './cases/window-resp.js';

/** All cases, in the order in which they run. */
export const cases: readonly Case[] = [
  readlineAwait,
  readlineTry,
  timeouts,
  linesBatches,
  stdinLines,
  tlsLines,
  frames,
  lengthFrames,
  lengthAwait,
  untilCrlfCrlf,
  windowResp,
  exactly1m,
  echoPipelined,
  echoSingle,
  fanOut,
  idleMemory,
  drip,
  busyMemory,
  frameGrowth,
  idleMemoryGrowth,
  idleTimeGrowth,
  cores,
  ...ways,
  ...pipings,
  // The group `protocols`
  ...resp,
  ...amqp,
  ...http,
  ...mqtt,
  ...postgresql,
  ...smtp,
  ...websocket,
  ...sweep,
];

/** The word for all cases on the command line. */
const ALL = 'all';

/** The words that select cases: their names, those of groups, and {@link ALL}. */
export function words(from: readonly Case[]): string[] {
  const named = from.map(({ name, group }) => [name, group ?? name]);
  return [...new Set([...named.map(([, group]) => group!), ALL, ...named.map(([name]) => name!)])];
}

/** The selected cases. By default these are the cases without a group, or, with `--quick`, all cases that it does not skip. */
export function chosen(from: readonly Case[], wanted: readonly string[], quick: boolean): Case[] {
  const isNamed = ({ name }: Case): boolean => wanted.includes(name);
  const isMeant = ({ group, skippedByQuick }: Case): boolean => {
    if (quick && skippedByQuick) return false;
    if (wanted.length === 0) return quick || group === undefined;
    return wanted.includes(ALL) || (group !== undefined && wanted.includes(group));
  };
  return from.filter((one) => isNamed(one) || isMeant(one));
}
