// ioredis against Dynamis: ioredis.mjs single|cluster host:port [host:port ...]

import { expect, fail, finish, refused } from './check.mjs';

// LIBRARY names another release of it.
const { Cluster, Redis } = await import(process.env.LIBRARY ?? 'ioredis');

const [mode, ...addresses] = process.argv.slice(2);
const place = (address) => ({ host: address.split(':')[0], port: Number(address.split(':')[1]) });

async function commands(client) {
  await client.del('io:a');
  expect('get of nothing', await client.get('io:a'), null);
  expect('set', await client.set('io:a', '1'), 'OK');
  expect('set EX NX', await client.set('io:a', '2', 'EX', 100, 'NX'), null);
  expect('set GET', await client.set('io:a', '2', 'GET'), '1');
  expect('expire', await client.expire('io:a', 100), 1);
  const ttl = await client.pttl('io:a');
  expect('pttl', ttl > 90000 && ttl <= 100000, true);
  expect('getex', await client.getex('io:a', 'PERSIST'), '2');
  expect('strlen', await client.strlen('io:a'), 1);
  expect('mset', await client.mset({ '{io}a': '1', '{io}b': '2' }), 'OK');
  expect('mget', await client.mget('{io}a', '{io}b', '{io}none'), ['1', '2', null]);
  expect('del', await client.del('{io}a', '{io}b'), 2);
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, at) => at));
  await client.set('io:bin', bytes);
  expect('getBuffer', Buffer.compare(await client.getBuffer('io:bin'), bytes), 0);
  const keys = Array.from({ length: 300 }, (_, at) => `{io}pipe:${at}`);
  const pipeline = client.pipeline();
  keys.forEach((key, at) => pipeline.set(key, at));
  keys.forEach((key) => pipeline.get(key));
  const replies = await pipeline.exec();
  expect('pipeline', replies.slice(300), keys.map((_, at) => [null, String(at)]));
  await client.del('io:dyn');
  await client.call('DYN.SET', 'io:dyn', 'one');
  await client.call('DYN.SET', 'io:dyn', 'two');
  const [context, values] = await client.call('DYN.GET', 'io:dyn');
  expect('siblings', [...values].sort(), ['one', 'two']);
  await client.call('DYN.SET', 'io:dyn', 'merged', 'CONTEXT', context);
  expect('merged', (await client.call('DYN.GET', 'io:dyn'))[1], ['merged']);
  await refused('forged', () => client.call('DYN.SET', 'io:dyn', 'x', 'CONTEXT', 'forged'), 'ERR invalid context');
  await refused('unknown', () => client.call('SETEX', 'io:a', '1'), 'ERR wrong number of arguments');
}

async function single() {
  const client = new Redis({ ...place(addresses[0]), connectionName: 'compat' });
  client.on('error', fail);
  await new Promise((resolve) => client.once('ready', resolve));
  expect('ping', await client.ping(), 'PONG');
  expect('name', await client.client('GETNAME'), 'compat');
  await commands(client);
  const other = new Redis({ ...place(addresses[0]), db: 4 });
  other.on('error', fail);
  await other.set('io:db', 'four');
  expect('databases', [await client.get('io:db'), await other.get('io:db')], [null, 'four']);
  await Promise.all([client.quit(), other.quit()]);
}

async function cluster() {
  const client = new Cluster(addresses.map(place));
  client.on('error', fail);
  await new Promise((resolve) => client.once('ready', resolve));
  expect('masters', client.nodes('master').length, addresses.length);
  await commands(client);
  const keys = Array.from({ length: 200 }, (_, at) => `io:spread:${at}`);
  await Promise.all(keys.map((key, at) => client.set(key, at)));
  expect('spread', await Promise.all(keys.map((key) => client.get(key))), keys.map((_, at) => String(at)));
  await client.quit();
}

(mode === 'cluster' ? cluster() : single()).then(finish, fail);
