// node-redis's listeners against Dynamis: node-redis-listen.mjs 2|3 host:port [host:port ...]

import { expect, fail, finish } from './check.mjs';
import { exchange } from './listening.mjs';

// LIBRARY names another release of it.
const { createClient } = await import(process.env.LIBRARY ?? 'redis');

const [protocol, ...addresses] = process.argv.slice(2);

async function connect(address) {
  const client = createClient({ url: `redis://${address}`, RESP: Number(protocol) });
  client.on('error', fail);
  await client.connect();
  return client;
}

async function open(address) {
  const client = await connect(address);
  return {
    async listen(prefix, heard) {
      await client.subscribe(`${prefix}:news`, (message, channel) => heard(`${channel} ${message}`));
      await client.pSubscribe(`${prefix}:w*`, (message, channel) => heard(`by pattern ${channel} ${message}`));
      await client.sSubscribe(`${prefix}:shard`, (message, channel) => heard(`shard ${channel} ${message}`));
      expect('pubSubNumPat', await listed(address), 1);
    },
    publish: (channel, message) => client.publish(channel, message),
    spublish: (channel, message) => client.sPublish(channel, message),
    async fallSilent(prefix) {
      // Without names node-redis 5 waits for ever, with Redis too, while other subscriptions are left.
      const by = (name) => (process.env.LIBRARY ? [name] : []);
      await client.unsubscribe(...by(`${prefix}:news`));
      await client.pUnsubscribe(...by(`${prefix}:w*`));
      await client.sUnsubscribe(...by(`${prefix}:shard`));
    },
    close: () => client.close(),
  };
}

// Asked on a connection of its own: one that listens in RESP2 may not ask.
async function listed(address) {
  const client = await connect(address);
  const patterns = await client.pubSubNumPat();
  await client.close();
  return patterns;
}

exchange('nr', addresses, open).then(finish, fail);
