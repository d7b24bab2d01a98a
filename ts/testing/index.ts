/** The public names of `sluice/testing`: for tests of protocols, without sockets and without waiting. */
export { type FakeClock, fakeClock } from './fake-clock.js';
export { broken, clogged, throttled, type Bytes } from './impairments.js';
export { settled } from './settled.js';
export { type Split, splits, type SplitsOptions } from './splits.js';
