"""redis-py's transactions against Dynamis: transactions.py 2|3 host:port [host:port ...]

The default pipeline is MULTI ... EXEC; WATCH loops count one key up from every node at once. Every difference between what
is expected and what came is printed; the exit code is the number of differences.
"""

import sys
import threading

import redis
from check import client, expect, finish, pipelined, refused

protocol, addresses = int(sys.argv[1]), sys.argv[2:]


def node(at):
    """A client of one of the nodes."""
    return client(addresses[at % len(addresses)], protocol)


def pipelines(r):
    pipelined(r.pipeline(), "py:tx")
    expect("an empty one", r.pipeline().execute(), [])
    replies = r.pipeline().set("py:tx:e", "v").execute_command("EXPIRE", "py:tx:e", "x").get("py:tx:e").execute(False)
    expect("an error in its place", [type(reply).__name__ for reply in replies], ["bool", "ResponseError", "str"])
    refused("a spoilt one", r.pipeline().execute_command("NOSUCH").set("py:tx:e", "w").execute, redis.ResponseError)
    expect("nothing of it was run", r.get("py:tx:e"), "v")


def watches(r, other):
    r.set("py:watched", "1")
    with r.pipeline() as pipe:
        pipe.watch("py:watched")
        expect("a read while watching", pipe.get("py:watched"), "1")
        other.set("py:watched", "2")
        pipe.multi()
        pipe.set("py:watched", "3")
        refused("a touched key", pipe.execute, redis.WatchError)
    expect("the other's value stands", r.get("py:watched"), "2")
    with r.pipeline() as pipe:
        pipe.watch("py:watched")
        pipe.multi()
        pipe.set("py:watched", "3").get("py:watched")
        expect("an untouched key", pipe.execute(), [True, "3"])


def loops():
    """At one node one count for each round of each loop; nothing is promised for loops at several."""

    def count(at):
        r = node(0)

        def up(pipe):
            value = int(pipe.get("py:counted") or 0)
            pipe.multi()
            pipe.set("py:counted", value + 1)

        for _ in range(20):
            r.transaction(up, "py:counted")

    node(0).delete("py:counted")
    threads = [threading.Thread(target=count, args=(at,)) for at in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    expect("what the loops counted", node(0).get("py:counted"), "80")


pipelines(node(0))
watches(node(0), node(1))
loops()
finish()
