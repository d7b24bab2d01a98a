import type { ReaderTuning } from '#ts/reader/intake.js';
import { StreamReader, readerIntake } from '#ts/reader/reader.js';
import type { LimitOptions } from 'sluice';

/** A reader for which small reads and chunks count as large ones, so that little data reaches every case. */
export function tuned(options: LimitOptions, tuning: ReaderTuning): StreamReader {
  const reader = new StreamReader(options);
  readerIntake(reader).tune(tuning);
  return reader;
}
