"""redis-py's cluster client while a node goes and comes back: returning.py host:port ...

Writes keys and says so, waits for a line (a node was killed), writes them again and says so, waits for a line (it is back),
writes them once more; then DBSIZE, KEYS and SCAN over all masters must tell every key.
"""

import sys

from redis.cluster import ClusterNode, RedisCluster

nodes = [ClusterNode(*address.rsplit(":", 1)) for address in sys.argv[1:]]
r = RedisCluster(startup_nodes=nodes, decode_responses=True, socket_timeout=2)
keys = {f"returning:{at}" for at in range(300)}


def write():
    for key in keys:
        r.set(key, "v")


write()
print("written", flush=True)
sys.stdin.readline()
write()
print("written without it", flush=True)
sys.stdin.readline()
write()
masters = RedisCluster.PRIMARIES
found = {
    "DBSIZE": r.dbsize(target_nodes=masters),
    "KEYS": len(r.keys("returning:*", target_nodes=masters)),
    "SCAN": len(set(r.scan_iter("returning:*"))),
}
wrong = {how: count for how, count in found.items() if count != len(keys)}
print(f"of {len(keys)} keys: {wrong}" if wrong else "all is there")
sys.exit(1 if wrong else 0)
