/** sluice: the client of examples/protocols/mqtt. */
import { MqttClient } from '../../../examples/protocols/mqtt/client.js';
import { port } from './client.js';
import { receive, work } from './mqtt-work.js';

const client = await MqttClient.connect('127.0.0.1', port, {
  version: 4,
  onMessage: ({ topic, payload }) => receive(topic, payload),
});
await work({
  subscribe: (filter) => client.subscribe(filter),
  publish: (topic, payload) => client.publish(topic, payload),
  close: () => client.close(),
});
