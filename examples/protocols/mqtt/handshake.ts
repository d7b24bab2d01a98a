/** The beginning of a connection to the broker: CONNECT, and the answer to clients that are refused. */
import type { Stream } from 'sluice';
import {
  MQTT,
  MqttError,
  NO_PROPERTIES,
  Reason,
  decode,
  encode,
  type Connect,
  type Properties,
  type Version,
} from './mqtt.js';
import { isTopic } from './topics.js';

const CONNECT = { ...MQTT, limit: 16 * 1024 };
const TIMEOUT_MS = 10_000;

/** The return codes of CONNACK in MQTT 3.1.1; the others are 5, not authorized. */
const RETURN_CODES = new Map<number, number>([
  [Reason.success, 0],
  [Reason.unsupportedVersion, 1],
  [Reason.invalidClientId, 2],
  [Reason.quotaExceeded, 3],
]);

/**
 * Reads CONNECT. A client that is not welcome gets an answer, and the error says why. Resolves with null if the peer has sent nothing.
 *
 * @param accept - answers a client that is welcome, or throws an {@link MqttError} to refuse it
 */
export async function handshake<T>(stream: Stream, accept: (connect: Connect) => Promise<T>): Promise<T | null> {
  const first = await stream.readframe(CONNECT, { timeout: TIMEOUT_MS });
  if (first === null) return null;
  let version: Version | null = null;
  try {
    const connect = decode(first, 0, first.length, 4);
    if (connect.type !== 'connect') throw new MqttError(Reason.protocolError, `${connect.type} before connect`);
    ({ version } = connect);
    checkFields(connect);
    return await accept(connect);
  } catch (error) {
    const reason = error instanceof MqttError ? error.reason : Reason.unspecified;
    if (reason === Reason.unsupportedVersion) version = 4; // which every client understands
    if (version !== null) void stream.write(connack(false, reason, NO_PROPERTIES, version));
    await stream.close();
    throw error;
  }
}

function checkFields({ version, clientId, cleanStart, will, properties }: Connect): void {
  if (clientId === '' && !cleanStart && version === 4)
    throw new MqttError(Reason.invalidClientId, 'a session without a client identifier');
  if (properties.authenticationMethod !== undefined)
    throw new MqttError(Reason.badAuthenticationMethod, 'enhanced authentication is not supported');
  if (will === null) return;
  if (!isTopic(will.topic)) throw new MqttError(Reason.invalidTopic, `${JSON.stringify(will.topic)} is not a topic`);
  if (will.qos === 2) throw new MqttError(Reason.qosNotSupported, 'a will with QoS 2');
}

export function connack(sessionPresent: boolean, reason: number, properties: Properties, version: Version): Buffer {
  const code = version === 5 ? reason : (RETURN_CODES.get(reason) ?? 5);
  return encode({ type: 'connack', sessionPresent, reason: code, properties }, version);
}
