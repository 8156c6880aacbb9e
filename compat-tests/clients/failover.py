"""redis-py's cluster client while a node dies: failover.py host:port ...

Prints "ready" once it has written every key, then waits for a line on standard input (by then a node has been killed), and
writes and reads every key again. Every failure is printed.
"""

import sys

from redis.cluster import ClusterNode, RedisCluster

nodes = [ClusterNode(*address.rsplit(":", 1)) for address in sys.argv[1:]]
r = RedisCluster(startup_nodes=nodes, decode_responses=True, socket_timeout=2)
keys = [f"failover:{at}" for at in range(200)]
wrong = []
for key in keys:
    r.set(key, "before")
print("ready", flush=True)
sys.stdin.readline()
for key in keys:
    try:
        if r.get(key) != "before":
            wrong.append(f"{key} is lost")
        r.set(key, "after")
        if r.get(key) != "after":
            wrong.append(f"{key} is not what was written")
    except Exception as error:
        wrong.append(f"{key}: {type(error).__name__} {error}")
print("\n".join(wrong) or "ok")
sys.exit(min(len(wrong), 100))
