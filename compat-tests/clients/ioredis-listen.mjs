// ioredis's listeners against Dynamis: ioredis-listen.mjs 2|3 host:port [host:port ...]

import { Redis } from 'ioredis';
import { expect, fail, finish } from './check.mjs';

const [protocol, ...addresses] = process.argv.slice(2);
const open = async (address) => {
  const [host, port] = address.split(':');
  const client = new Redis({ host, port: Number(port), protocol: Number(protocol) });
  client.on('error', fail);
  await new Promise((resolve) => client.once('ready', resolve));
  return client;
};
const heard = [];
const until = async (count) => {
  for (let looks = 0; heard.length < count && looks < 1000; looks += 1) await new Promise((resolve) => setTimeout(resolve, 10));
};

async function main() {
  const listeners = await Promise.all(addresses.map(open));
  const publishers = await Promise.all(addresses.map(open));
  for (const [at, listener] of listeners.entries()) {
    listener.on('message', (channel, message) => heard.push(`${at} ${channel} ${message}`));
    listener.on('pmessage', (pattern, channel, message) => heard.push(`${at} ${pattern} ${channel} ${message}`));
    listener.on('smessage', (channel, message) => heard.push(`${at} shard ${channel} ${message}`));
    expect('subscribe', await listener.subscribe('io:news', 'io:other'), 2);
    expect('psubscribe', await listener.psubscribe('io:w*'), 3);
    expect('ssubscribe', await listener.ssubscribe('io:shard'), 1);
    expect('ping', ['PONG', 'pong'].includes(String([await listener.ping()].flat()[0])), true);
  }
  const everyone = addresses.length;
  for (const [from, publisher] of publishers.entries()) {
    expect('publish', await publisher.publish('io:news', `news ${from}`), everyone);
    expect('publish by pattern', await publisher.publish('io:weather', `rain ${from}`), everyone);
    expect('spublish', await publisher.spublish('io:shard', `shard ${from}`), everyone);
  }
  await until(3 * everyone * everyone);
  const wanted = listeners.flatMap((_, at) =>
    publishers.flatMap((__, from) => [
      `${at} io:news news ${from}`,
      `${at} io:w* io:weather rain ${from}`,
      `${at} shard io:shard shard ${from}`,
    ]),
  );
  expect('heard', [...heard].sort(), wanted.sort());
  for (const listener of listeners) {
    // By their names: without them ioredis waits for ever, with Redis too, while other subscriptions are left.
    await listener.unsubscribe('io:news', 'io:other');
    await listener.punsubscribe('io:w*');
    await listener.sunsubscribe('io:shard');
  }
  expect('nobody listens', await publishers[0].publish('io:news', 'silence'), 0);
  [...listeners, ...publishers].forEach((client) => client.disconnect());
}

main().then(finish, fail);
