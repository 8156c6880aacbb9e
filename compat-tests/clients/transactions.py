"""redis-py's transactions against Dynamis: transactions.py 2|3 host:port [host:port ...]

The default pipeline is MULTI ... EXEC; WATCH loops count one key up from every node at once. Every difference between what
is expected and what came is printed; the exit code is the number of differences.
"""

import sys
import threading

import redis

protocol = int(sys.argv[1])
addresses = [address.rsplit(":", 1) for address in sys.argv[2:]]
wrong = []


def client(at):
    host, port = addresses[at % len(addresses)]
    return redis.Redis(host=host, port=int(port), protocol=protocol, decode_responses=True)


def expect(what, got, wanted):
    if got != wanted:
        wrong.append(f"{what}: expected {wanted!r}, got {got!r}")


def refused(what, call, kind):
    try:
        got = call()
    except kind:
        return
    except redis.RedisError as error:
        wrong.append(f"{what}: expected {kind.__name__}, got {type(error).__name__} {error}")
    else:
        wrong.append(f"{what}: expected {kind.__name__}, got {got!r}")


def pipelines(r):
    pipe = r.pipeline()
    for at in range(500):
        pipe.set(f"py:tx:{at}", at)
    for at in range(500):
        pipe.get(f"py:tx:{at}")
    replies = pipe.execute()
    expect("sets", replies[:500], [True] * 500)
    expect("gets", replies[500:], [str(at) for at in range(500)])
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
        r = client(0)

        def up(pipe):
            value = int(pipe.get("py:counted") or 0)
            pipe.multi()
            pipe.set("py:counted", value + 1)

        for _ in range(20):
            r.transaction(up, "py:counted")

    client(0).delete("py:counted")
    threads = [threading.Thread(target=count, args=(at,)) for at in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    expect("what the loops counted", client(0).get("py:counted"), "80")


pipelines(client(0))
watches(client(0), client(1))
loops()
print("\n".join(wrong) or "ok")
sys.exit(min(len(wrong), 100))
