// What both libraries' listeners go through: everyone who listens hears what everyone says, by name, by pattern, and by the name
// of a shard channel.

import { expect } from './check.mjs';

// `open` connects to an address; what it gives can:
//   listen(prefix, heard)    listen to PREFIX:news, PREFIX:w* and PREFIX:shard, and tell `heard` of each message as one line
//   publish, spublish        say something on a channel; gives how many hear it
//   fallSilent(prefix)       stop listening
//   close()                  end
export async function exchange(prefix, addresses, open) {
  const heard = [];
  const listeners = await Promise.all(addresses.map(open));
  const publishers = await Promise.all(addresses.map(open));
  for (const [at, listener] of listeners.entries()) await listener.listen(prefix, (line) => heard.push(`${at} ${line}`));
  const everyone = addresses.length;
  for (const [from, publisher] of publishers.entries()) {
    expect('publish', await publisher.publish(`${prefix}:news`, `news ${from}`), everyone);
    expect('publish by pattern', await publisher.publish(`${prefix}:weather`, `rain ${from}`), everyone);
    expect('publish to a shard channel', await publisher.spublish(`${prefix}:shard`, `shard ${from}`), everyone);
  }
  const wanted = listeners.flatMap((_, at) =>
    publishers.flatMap((__, from) => [
      `${at} ${prefix}:news news ${from}`,
      `${at} by pattern ${prefix}:weather rain ${from}`,
      `${at} shard ${prefix}:shard shard ${from}`,
    ]),
  );
  for (let looks = 0; heard.length < wanted.length && looks < 1000; looks += 1) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect('heard', [...heard].sort(), wanted.sort());
  for (const listener of listeners) await listener.fallSilent(prefix);
  expect('nobody listens', await publishers[0].publish(`${prefix}:news`, 'silence'), 0);
  await Promise.all([...listeners, ...publishers].map((client) => client.close()));
}
