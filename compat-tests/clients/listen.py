"""redis-py's listeners against Dynamis: listen.py 2|3 host:port [host:port ...]

It listens at every node and publishes at every node; every difference between what is expected and what came is printed, and the exit
code is the number of differences.
"""

import sys
import time

from check import client, expect, finish

protocol, addresses = int(sys.argv[1]), sys.argv[2:]


def hear(listener, kind):
    """The next message of a kind."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        message = listener.get_message(timeout=1)
        if message and message["type"] == kind:
            return message["channel"], message["data"]
    return None


clients = [client(address, protocol) for address in addresses]
listeners = []
for each in clients:
    listener = each.pubsub()
    listener.subscribe("py:news")
    listener.psubscribe("py:w*")
    listener.ssubscribe("py:shard")
    expect("subscribed", hear(listener, "subscribe"), ("py:news", 1))
    expect("subscribed by pattern", hear(listener, "psubscribe"), ("py:w*", 2))
    expect("subscribed to a shard channel", hear(listener, "ssubscribe"), ("py:shard", 1))
    listeners.append(listener)
everyone = len(clients)
for at, publisher in enumerate(clients):
    expect("receivers", publisher.publish("py:news", f"news {at}"), everyone)
    expect("receivers by pattern", publisher.publish("py:weather", f"rain {at}"), everyone)
    expect("receivers of a shard channel", publisher.spublish("py:shard", f"shard {at}"), everyone)
    expect("pubsub_numsub", publisher.pubsub_numsub("py:news"), [("py:news", everyone)])
    expect("pubsub_channels", publisher.pubsub_channels("py:*"), ["py:news"])
    expect("pubsub_numpat", publisher.pubsub_numpat(), 1)
    for listener in listeners:
        expect("news", hear(listener, "message"), ("py:news", f"news {at}"))
        expect("weather", hear(listener, "pmessage"), ("py:weather", f"rain {at}"))
        expect("shard", hear(listener, "smessage"), ("py:shard", f"shard {at}"))
if protocol == 2:  # In RESP3 the answer is no message, and redis-py reads it as one, from Redis too.
    listeners[0].ping()
    expect("a listener's ping", listeners[0].get_message(timeout=5)["type"], "pong")
for listener in listeners:
    listener.unsubscribe()
    listener.punsubscribe()
    listener.sunsubscribe()
    expect("unsubscribed", hear(listener, "unsubscribe"), ("py:news", 1))
expect("no receivers", clients[0].publish("py:news", "silence"), 0)

with clients[0].monitor() as monitor:
    clients[0].get("py:watched")
    seen = monitor.next_command()
    while "py:watched" not in seen["command"]:
        seen = monitor.next_command()
    expect("monitored", (seen["command"], seen["db"]), ("GET py:watched", 0))
clients[0].config_set("slowlog-log-slower-than", 0)
clients[0].slowlog_reset()
clients[0].get("py:slow")
entries = clients[0].slowlog_get()
clients[0].config_set("slowlog-log-slower-than", 10000)
expect("slowlog", any(entry["command"] == b"GET py:slow" or entry["command"] == "GET py:slow" for entry in entries), True)
finish()
