/** A user's program, as an ES module. Prints the engine and the lines that came back over a connection. */
import { StreamServer, connect, engine } from 'sluice';

const server = new StreamServer(
  async (stream) => {
    for await (const line of stream) await stream.write(line);
  },
  '127.0.0.1',
  0,
);
await server.startServing();
const stream = await connect('127.0.0.1', server.sockets[0].address().port);
await stream.write('one\ntwo\nthree');
await stream.writeEof();
const lines = [];
for await (const line of stream) lines.push(line.toString());
await stream.close();
await server.close();
console.log(engine, JSON.stringify(lines));
