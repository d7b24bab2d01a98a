/** How many messages may wait for a confirm, or for an acknowledgement. */
export const WINDOW = 1000;
/** How many messages are published, or received, in a unit of work. */
export const BATCH = WINDOW / 2;
/** The body of every message. */
export const BODY = Buffer.alloc(100, 'a message of 100 bytes, ');
