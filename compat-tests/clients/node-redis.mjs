// node-redis against Dynamis: node-redis.mjs single|cluster 2|3 host:port [host:port ...]

import { expect, fail, finish, refused } from './check.mjs';

// LIBRARY names another release of it.
const { createClient, createCluster } = await import(process.env.LIBRARY ?? 'redis');

const [mode, protocol, ...addresses] = process.argv.slice(2);
const RESP = Number(protocol);

async function commands(client, send) {
  await client.del('nr:a');
  expect('get of nothing', await client.get('nr:a'), null);
  expect('set', await client.set('nr:a', '1'), 'OK');
  expect('get', await client.get('nr:a'), '1');
  expect('set NX', await client.set('nr:a', '2', { NX: true }), null);
  expect('set EX GET', await client.set('nr:a', '2', { EX: 100, GET: true }), '1');
  const ttl = await client.ttl('nr:a');
  expect('ttl', ttl >= 99 && ttl <= 100, true);
  expect('persist', Number(await client.persist('nr:a')), 1);
  expect('expire', Number(await client.expire('nr:a', 50)), 1);
  expect('getEx', await client.getEx('nr:a', { type: 'PERSIST' }), '2');
  expect('ttl -1', await client.ttl('nr:a'), -1);
  expect('strLen', await client.strLen('nr:a'), 1);
  expect('getDel', await client.getDel('nr:a'), '2');
  expect('mSet', await client.mSet({ '{nr}a': '1', '{nr}b': '2' }), 'OK');
  expect('mGet', await client.mGet(['{nr}a', '{nr}b', '{nr}none']), ['1', '2', null]);
  expect('exists', await client.exists(['{nr}a', '{nr}b']), 2);
  expect('unlink', await client.unlink(['{nr}a', '{nr}b']), 2);
  const keys = Array.from({ length: 300 }, (_, at) => `nr:pipe:${at}`);
  await Promise.all(keys.map((key, at) => client.set(key, String(at))));
  expect('pipelined', await Promise.all(keys.map((key) => client.get(key))), keys.map((_, at) => String(at)));
  await client.del('nr:dyn');
  await send('nr:dyn', ['DYN.SET', 'nr:dyn', 'one']);
  await send('nr:dyn', ['DYN.SET', 'nr:dyn', 'two']);
  const [context, values] = await send('nr:dyn', ['DYN.GET', 'nr:dyn']);
  expect('siblings', [...values].sort(), ['one', 'two']);
  await send('nr:dyn', ['DYN.SET', 'nr:dyn', 'merged', 'CONTEXT', context]);
  expect('merged', (await send('nr:dyn', ['DYN.GET', 'nr:dyn']))[1], ['merged']);
  await refused('forged', () => send('nr:dyn', ['DYN.SET', 'nr:dyn', 'x', 'CONTEXT', 'forged']), 'ERR invalid context');
  await refused('arity', () => send('nr:a', ['SETEX', 'nr:a', '1']), 'ERR wrong number of arguments');
}

async function single() {
  const client = createClient({ url: `redis://${addresses[0]}/0`, name: 'compat', RESP });
  client.on('error', fail);
  await client.connect();
  expect('ping', await client.ping(), 'PONG');
  expect('clientGetName', await client.clientGetName(), 'compat');
  await commands(client, (_, words) => client.sendCommand(words));
  expect('info', (await client.info('server')).includes('redis_version:7.'), true);
  expect('dbSize', (await client.dbSize()) >= 300, true);
  const config = await client.configGet('appendonly');
  expect('configGet', config.appendonly, 'yes');
  await client.select(3);
  expect('databases', await client.get('nr:pipe:1'), null);
  await client.close();
}

async function cluster() {
  const client = createCluster({ rootNodes: addresses.map((address) => ({ url: `redis://${address}` })), RESP });
  client.on('error', fail);
  await client.connect();
  expect('masters', client.masters.length, addresses.length);
  await commands(client, (key, words) => client.sendCommand(key, false, words));
  await client.close();
}

(mode === 'cluster' ? cluster() : single()).then(finish, fail);
