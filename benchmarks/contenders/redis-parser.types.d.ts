declare module 'redis-parser' {
  /** A parser of RESP replies; with `returnBuffers`, bulk strings are Buffers. */
  export default class Parser {
    constructor(options: {
      readonly returnReply: (reply: unknown) => void;
      readonly returnError: (error: Error) => void;
      readonly returnFatalError?: (error: Error) => void;
      readonly returnBuffers?: boolean;
    });
    execute(chunk: Buffer): void;
  }
}
