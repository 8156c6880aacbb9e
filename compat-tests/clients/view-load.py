"""redis-py's cluster client under load: view-load.py host:port ...

Writes and reads keys in turn until a line comes on standard input. Prints "ready" once every key was written, and at the end
how many operations it ran, how long it was without a success at most, and every failure.
"""

import sys
import threading
import time

from redis.cluster import ClusterNode, RedisCluster

nodes = [ClusterNode(*address.rsplit(":", 1)) for address in sys.argv[1:]]
r = RedisCluster(startup_nodes=nodes, decode_responses=True, socket_timeout=2)
keys = [f"load:{at}" for at in range(60)]
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
for key in keys:
    r.set(key, 0)
print("ready", flush=True)

operations, failures, gap, last, turn = 0, [], 0.0, time.monotonic(), 0
while not stop.is_set():
    turn += 1
    for key in keys:
        try:
            r.set(key, turn)
            if r.get(key) != str(turn):
                failures.append(f"{key} is not what was written")
            operations += 2
            gap, last = max(gap, time.monotonic() - last), time.monotonic()
        except Exception as error:
            failures.append(f"{key}: {type(error).__name__} {error}")
print(f"operations {operations}\nfailures {len(failures)}\ngap_ms {gap * 1000:.0f}")
print("\n".join(failures[:20]))
