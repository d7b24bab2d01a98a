/** sluice: `for await (const batch of stream.lines().batches())`: strings, all buffered lines at once. */
import { answer, digest, now } from './program.js';
import { sluiceSource } from './sluice-source.js';

const stream = await sluiceSource();
const start = now();
let lines = 0;
let bytes = 0;
for await (const batch of stream.lines().batches()) {
  for (const line of batch) {
    lines++;
    bytes += line.length;
    digest?.frame(line);
  }
}
answer(lines, bytes, now() - start);
await stream.close();
