/**
 * The publishers, the same for all clients: connections that send bytes which are prepared. Prints a line when they are connected.
 *
 *     node mqtt-publishers.js PORT
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { NO_PROPERTIES, encode, encodePublish, type Packet } from '../../../examples/protocols/mqtt/mqtt.js';
import { BURST, PAYLOAD, START, TOPICS } from './mqtt-data.js';

const port = Number(process.argv[2]);
/** MQTT 3.1.1 */
const VERSION = 4;
const CONNECT = {
  type: 'connect',
  version: VERSION,
  clientId: '',
  cleanStart: true,
  keepAlive: 0,
  username: null,
  password: null,
  will: null,
  properties: NO_PROPERTIES,
} as const;
const SUBSCRIBE = {
  type: 'subscribe',
  id: 1,
  filters: [{ filter: START, qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
  properties: NO_PROPERTIES,
} as const;

/** Sends a packet, and waits for the answer. */
async function request(socket: Socket, packet: Packet): Promise<void> {
  socket.write(encode(packet, VERSION));
  await once(socket, 'data');
}

async function client(): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await request(socket, CONNECT);
  return socket;
}

const publishers = await Promise.all(
  TOPICS.map(async (topic) => {
    const message = { topic, payload: PAYLOAD, qos: 0, retain: false, properties: NO_PROPERTIES } as const;
    const burst = Array<Buffer>(BURST).fill(encodePublish(message, 0, false, VERSION));
    return { socket: await client(), bytes: Buffer.concat(burst) };
  }),
);
const control = await client();
await request(control, SUBSCRIBE);
// Each message is one request, since the next one is made when everything has been received.
control.on('data', () => publishers.forEach(({ socket, bytes }) => socket.write(bytes)));
console.log('connected');
