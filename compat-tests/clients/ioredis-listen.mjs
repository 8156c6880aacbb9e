// ioredis's listeners against Dynamis: ioredis-listen.mjs 2|3 host:port [host:port ...]

import { expect, fail, finish } from './check.mjs';
import { exchange } from './listening.mjs';

// LIBRARY names another release of it.
const { Redis } = await import(process.env.LIBRARY ?? 'ioredis');

const [protocol, ...addresses] = process.argv.slice(2);

async function open(address) {
  const [host, port] = address.split(':');
  const client = new Redis({ host, port: Number(port), protocol: Number(protocol) });
  client.on('error', fail);
  await new Promise((resolve) => client.once('ready', resolve));
  return {
    async listen(prefix, heard) {
      client.on('message', (channel, message) => heard(`${channel} ${message}`));
      client.on('pmessage', (_, channel, message) => heard(`by pattern ${channel} ${message}`));
      client.on('smessage', (channel, message) => heard(`shard ${channel} ${message}`));
      expect('subscribe', await client.subscribe(`${prefix}:news`, `${prefix}:other`), 2);
      expect('psubscribe', await client.psubscribe(`${prefix}:w*`), 3);
      expect('ssubscribe', await client.ssubscribe(`${prefix}:shard`), 1);
      expect('ping', ['PONG', 'pong'].includes(String([await client.ping()].flat()[0])), true);
    },
    publish: (channel, message) => client.publish(channel, message),
    spublish: (channel, message) => client.spublish(channel, message),
    async fallSilent(prefix) {
      // By their names: without them ioredis waits for ever, with Redis too, while other subscriptions are left.
      await client.unsubscribe(`${prefix}:news`, `${prefix}:other`);
      await client.punsubscribe(`${prefix}:w*`);
      await client.sunsubscribe(`${prefix}:shard`);
    },
    close: () => client.disconnect(),
  };
}

exchange('io', addresses, open).then(finish, fail);
