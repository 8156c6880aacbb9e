// Caches and session stores as people use them: applications.mjs host:port
//
// keyv with @keyv/redis, and connect-redis under express-session, each with the settings its manual gives. Everything is
// done twice: prints "ready" after the first time and waits for a line on standard input (by then a node has been killed that
// nobody is connected to). Every failure is printed.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import KeyvRedis from '@keyv/redis'
import { createCache } from 'cache-manager'
import { RedisStore } from 'connect-redis'
import session from 'express-session'
import { Keyv } from 'keyv'
import { createClient } from 'redis'

const url = `redis://${process.argv[2]}`

async function keyv(turn) {
  const cache = new Keyv(new KeyvRedis(url), { namespace: `keyv-${turn}` })
  assert.equal(await cache.set('a', { deep: [1, 2] }, 60_000), true)
  assert.deepEqual(await cache.get('a'), { deep: [1, 2] })
  assert.equal(await cache.has('a'), true)
  await cache.setMany([{ key: 'b', value: 1 }, { key: 'c', value: 2 }])
  assert.deepEqual(await cache.getMany(['a', 'b', 'c', 'd']), [{ deep: [1, 2] }, 1, 2, undefined])
  const seen = []
  for await (const [key] of cache.iterator()) seen.push(key)
  assert.deepEqual(seen.sort(), ['a', 'b', 'c'])
  assert.equal(await cache.delete('a'), true)
  await cache.clear()
  assert.equal(await cache.get('b'), undefined)
  await cache.disconnect()
}

async function cacheManager(turn) {
  const cache = createCache({ stores: [new Keyv(new KeyvRedis(url), { namespace: `manager-${turn}` })], ttl: 60_000 })
  await cache.set('a', { deep: [1, 2] })
  assert.deepEqual(await cache.get('a'), { deep: [1, 2] })
  const left = await cache.ttl('a')
  assert.ok(left > Date.now() + 50_000 && left <= Date.now() + 60_000, `expires at ${left}`)
  await cache.mset([{ key: 'b', value: 1 }, { key: 'c', value: 2 }])
  assert.deepEqual(await cache.mget(['a', 'b', 'c', 'd']), [{ deep: [1, 2] }, 1, 2, undefined])
  let made = 0
  const dear = () => cache.wrap('dear', async () => ++made)
  assert.deepEqual([await dear(), await dear()], [1, 1])
  await cache.del('dear')
  assert.equal(await dear(), 2)
  await cache.mdel(['a', 'b'])
  assert.equal(await cache.get('a'), undefined)
  await cache.clear()
  assert.equal(await cache.get('c'), undefined)
  await cache.disconnect()
}

async function connectRedis(turn) {
  const client = await createClient({ url }).connect()
  const store = new RedisStore({ client, prefix: `session-${turn}:` })
  const visit = session({ store, secret: 'x', resave: false, saveUninitialized: false })
  const server = http.createServer((request, response) => {
    visit(request, response, () => {
      if (request.url === '/leave') return request.session.destroy(() => response.end('gone'))
      request.session.count = (request.session.count ?? 0) + 1
      response.end(String(request.session.count))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const base = `http://127.0.0.1:${server.address().port}`
  const first = await fetch(base)
  const headers = { cookie: first.headers.get('set-cookie').split(';')[0] }
  assert.equal(await first.text(), '1')
  assert.equal(await (await fetch(base, { headers })).text(), '2')
  assert.equal(await (await fetch(base)).text(), '1')
  assert.equal(await store.length(), 2)
  assert.equal((await store.ids()).length, 2)
  assert.equal(await (await fetch(`${base}/leave`, { headers })).text(), 'gone')
  assert.equal(await (await fetch(base, { headers })).text(), '1')
  await store.clear()
  assert.equal(await store.length(), 0)
  server.close()
  await client.close()
}

const wrong = []
for (const turn of ['whole', 'without-one']) {
  for (const use of [keyv, cacheManager, connectRedis]) {
    await use(turn).catch((error) => wrong.push(`${use.name} (${turn}): ${error.stack}`))
  }
  if (turn === 'whole') {
    console.log('ready')
    await once(process.stdin, 'data')
  }
}
console.log(wrong.join('\n') || 'ok')
process.exit(Math.min(wrong.length, 100))
