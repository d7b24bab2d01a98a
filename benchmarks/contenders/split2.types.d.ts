declare module 'split2' {
  import type { Transform } from 'node:stream';
  /** A transform that splits its input at line ends and passes the lines on as strings. */
  export default function split2(): Transform;
}
