// node-redis's listeners against Dynamis: node-redis-listen.mjs 2|3 host:port [host:port ...]

import { createClient } from 'redis';
import { expect, fail, finish } from './check.mjs';

const [protocol, ...addresses] = process.argv.slice(2);
const open = async (address) => {
  const client = createClient({ url: `redis://${address}`, RESP: Number(protocol) });
  client.on('error', fail);
  await client.connect();
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
    await listener.subscribe('nr:news', (message, channel) => heard.push(`${at} ${channel} ${message}`));
    await listener.pSubscribe('nr:w*', (message, channel) => heard.push(`${at} by pattern ${channel} ${message}`));
    await listener.sSubscribe('nr:shard', (message, channel) => heard.push(`${at} shard ${channel} ${message}`));
  }
  const everyone = addresses.length;
  for (const [from, publisher] of publishers.entries()) {
    expect('publish', await publisher.publish('nr:news', `news ${from}`), everyone);
    expect('publish by pattern', await publisher.publish('nr:weather', `rain ${from}`), everyone);
    expect('sPublish', await publisher.sPublish('nr:shard', `shard ${from}`), everyone);
    expect('pubSubNumPat', await publisher.pubSubNumPat(), 1);
  }
  await until(3 * everyone * everyone);
  const wanted = listeners.flatMap((_, at) =>
    publishers.flatMap((__, from) => [
      `${at} nr:news news ${from}`,
      `${at} by pattern nr:weather rain ${from}`,
      `${at} shard nr:shard shard ${from}`,
    ]),
  );
  expect('heard', [...heard].sort(), wanted.sort());
  for (const listener of listeners) {
    await listener.unsubscribe();
    await listener.pUnsubscribe();
    await listener.sUnsubscribe();
  }
  expect('nobody listens', await publishers[0].publish('nr:news', 'silence'), 0);
  await Promise.all([...listeners, ...publishers].map((client) => client.close()));
}

main().then(finish, fail);
