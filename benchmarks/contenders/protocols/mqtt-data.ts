/** How many publishers there are, and how many messages each of them sends when it is asked to. */
export const PUBLISHERS = 20;
export const BURST = 250;
/** The topic that asks them, and those that they publish to. */
export const START = 'start';
export const FILTER = 'bench/#';
export const TOPICS = Array.from({ length: PUBLISHERS }, (_, i) => `bench/device-${i}/temperature`);
export const PAYLOAD = Buffer.from('a payload of 24 bytes: 1');
