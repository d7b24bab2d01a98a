/** A user's program, as a CommonJS module. */
'use strict';

const sluice = require('sluice');

const reader = new sluice.StreamReader();
reader.feedData(Buffer.from('one\ntwo\nthree'));
reader.feedEof();

async function main() {
  const lines = [];
  for await (const line of reader) lines.push(line.toString());
  console.log(sluice.engine, JSON.stringify(lines));
}

main();
