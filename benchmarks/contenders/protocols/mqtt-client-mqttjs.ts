/** MQTT.js */
import { connectAsync } from 'mqtt';
import { port } from './client.js';
import { receive, work } from './mqtt-work.js';

const client = await connectAsync({ host: '127.0.0.1', port, protocolVersion: 4 });
client.on('message', receive);
await work({
  subscribe: (filter) => client.subscribeAsync(filter),
  publish: (topic, payload) => client.publish(topic, payload),
  close: () => client.endAsync(),
});
