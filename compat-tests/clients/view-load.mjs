// The cluster clients of Node.js under load: view-load.mjs ioredis[-5]|node-redis[-5] host:port [host:port ...]
//
// As view-load.py: four workers write and read keys in turn until a line comes on standard input. Prints "ready" once every
// key was written, and at the end how many operations ran, how long there was no success at most, and every failure.

const [library, ...addresses] = process.argv.slice(2);
const place = (address) => ({ host: address.split(':')[0], port: Number(address.split(':')[1]) });

async function connect() {
  if (library.startsWith('ioredis')) {
    const { Cluster } = await import(library);
    const client = new Cluster(addresses.map(place));
    client.on('error', () => {});
    await new Promise((resolve) => client.once('ready', resolve));
    return client;
  }
  const { createCluster } = await import(library.replace('node-', ''));
  const client = createCluster({ rootNodes: addresses.map((address) => ({ url: `redis://${address}` })) });
  client.on('error', () => {});
  await client.connect();
  return client;
}

const client = await connect();
const keys = Array.from({ length: 60 }, (_, at) => `load:${at}`);
let stopped = false;
process.stdin.once('data', () => {
  stopped = true;
});
for (const key of keys) await client.set(key, '0');
console.log('ready');

let operations = 0;
let gap = 0;
let last = performance.now();
const failures = [];

async function work(worker) {
  const own = keys.filter((_, at) => at % 4 === worker);
  for (let turn = 1; !stopped; turn += 1) {
    for (const key of own) {
      if (stopped) return;
      try {
        await client.set(key, String(turn));
        if ((await client.get(key)) !== String(turn)) failures.push(`${key} is not what was written`);
        operations += 2;
        gap = Math.max(gap, performance.now() - last);
        last = performance.now();
      } catch (error) {
        failures.push(`${key}: ${error.message}`);
      }
    }
  }
}

await Promise.all([0, 1, 2, 3].map(work));
console.log(`operations ${operations}\nfailures ${failures.length}\ngap_ms ${gap.toFixed(0)}`);
console.log(failures.slice(0, 20).join('\n'));
process.exit(0);
