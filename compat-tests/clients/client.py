"""redis-py against Dynamis, one node or a cluster: client.py single|cluster 2|3 host:port [host:port ...]

Every difference between what is expected and what came is printed; the exit code is the number of differences.
"""

import sys

import redis
from check import client, expect, finish, pipelined, refused
from redis.cluster import ClusterNode, RedisCluster

def strings(r):
    for key in ("py:a", "py:b", "py:c"):
        r.delete(key)
    expect("get of nothing", r.get("py:a"), None)
    expect("set", r.set("py:a", "1"), True)
    expect("get", r.get("py:a"), "1")
    expect("set nx", r.set("py:a", "2", nx=True), None)
    expect("set xx get", r.set("py:a", "2", xx=True, get=True), "1")
    expect("set ex", r.set("py:a", "3", ex=100), True)
    expect("ttl", 99 <= r.ttl("py:a") <= 100, True)
    expect("keepttl", r.set("py:a", "4", keepttl=True), True)
    expect("pttl", 90_000 <= r.pttl("py:a") <= 100_000, True)
    expect("persist", r.persist("py:a"), True)
    expect("expire", r.expire("py:a", 50, nx=True), True)
    expect("expiretime", r.expiretime("py:a") > 1_700_000_000, True)
    expect("getex", r.getex("py:a", persist=True), "4")
    expect("ttl -1", r.ttl("py:a"), -1)
    expect("ttl -2", r.ttl("py:none"), -2)
    expect("strlen", r.strlen("py:a"), 1)
    expect("type", r.type("py:a"), "string")
    expect("exists", r.exists("py:a"), 1)
    expect("getset", r.getset("py:a", "5"), "4")
    expect("getdel", r.getdel("py:a"), "5")
    expect("setnx", r.setnx("py:a", "6"), True)
    expect("setex", r.setex("py:b", 100, "7"), True)
    expect("psetex", r.psetex("py:c", 100_000, "8"), True)
    expect("mset", r.mset({"{py}a": "1", "{py}b": "2"}), True)
    expect("mget", r.mget("{py}a", "{py}b", "{py}none"), ["1", "2", None])
    expect("touch", r.touch("{py}a", "{py}b"), 2)
    expect("unlink", r.unlink("{py}a", "{py}b"), 2)
    expect("binary", r.set("py:bin", bytes(range(256))), True)


def more(r):
    keys = [f"{{py}}{name}" for name in "abcd"]
    r.delete(*keys)
    a, b, c, d = keys
    expect("incr", [r.incr(a), r.incr(a, 41), r.decr(a), r.incrbyfloat(b, 1.5)], [1, 42, 41, 1.5])
    expect("append", [r.append(c, "Hello"), r.append(c, " World"), r.getrange(c, 0, 4)], [5, 11, "Hello"])
    expect("setrange", [r.setrange(c, 6, "Redis"), r.get(c)], [11, "Hello Redis"])
    expect("bits", [r.setbit(d, 7, 1), r.getbit(d, 7), r.bitcount(d), r.bitpos(d, 1)], [0, 1, 1, 7])
    expect("bitop", r.bitop("or", b, d, d), 1)
    expect("rename", [r.rename(c, b), r.exists(c), r.get(b)], [True, 0, "Hello Redis"])
    expect("copy", [r.copy(b, c), r.get(c)], [True, "Hello Redis"])
    r.delete(c)
    expect("msetnx", r.msetnx({a: "1", "{py}new": "2"}), False)


def transaction(r):
    key = "{py}watched"
    r.set(key, 1)
    with r.pipeline() as pipe:
        pipe.watch(key)
        value = int(pipe.get(key))
        pipe.multi()
        pipe.set(key, value + 1)
        pipe.get(key)
        expect("transaction", pipe.execute(), [True, "2"])
    with r.pipeline() as pipe:
        pipe.watch(key)
        r.set(key, "touched")
        pipe.multi()
        pipe.set(key, "lost")
        refused("a touched key", pipe.execute, redis.WatchError)
    expect("what was watched", r.get(key), "touched")


def everything(r):
    names = {f"py:scan:{at}" for at in range(200)}
    for name in names:
        r.set(name, 1)
    expect("scan", set(r.scan_iter("py:scan:*", count=50)) == names, True)
    where = {"target_nodes": RedisCluster.PRIMARIES} if isinstance(r, RedisCluster) else {}
    expect("keys", set(r.keys("py:scan:*", **where)) == names, True)
    expect("randomkey", r.randomkey() is not None, True)


def pipeline(r):
    pipelined(r.pipeline() if isinstance(r, RedisCluster) else r.pipeline(transaction=False), "py:pipe")


def dynamis(r):
    r.delete("py:dyn")
    r.execute_command("DYN.SET", "py:dyn", "one")
    r.execute_command("DYN.SET", "py:dyn", "two")
    context, values = r.execute_command("DYN.GET", "py:dyn")
    expect("siblings", sorted(values), ["one", "two"])
    r.execute_command("DYN.SET", "py:dyn", "merged", "CONTEXT", context)
    expect("merged", r.execute_command("DYN.GET", "py:dyn")[1], ["merged"])
    r.execute_command("DYN.DEL", "py:dyn")
    expect("deleted", r.execute_command("DYN.GET", "py:dyn")[1], [])


def errors(r):
    refused("arity", lambda: r.execute_command("SETEX", "py:a", "1"), redis.ResponseError, "wrong number of arguments")
    refused("expire time", lambda: r.set("py:a", "1", ex=0), redis.ResponseError, "invalid expire time in 'set'")
    refused("forged context", lambda: r.execute_command("DYN.SET", "py:a", "1", "CONTEXT", "forged"), redis.ResponseError,
            "invalid context")


def single(address, protocol):
    r = client(address, protocol, client_name="compat")
    expect("ping", r.ping(), True)
    expect("echo", r.echo("hello"), "hello")
    expect("client name", r.client_getname(), "compat")
    strings(r)
    more(r)
    transaction(r)
    everything(r)
    pipeline(r)
    dynamis(r)
    errors(r)
    refused("unknown command", lambda: r.execute_command("NOSUCH"), redis.ResponseError, "unknown command 'NOSUCH'")
    if protocol == 2:  # HELLO 3 AUTH default anything is let in where there is no password, in Redis too.
        refused("password", lambda: client(address, protocol, password="x").ping(), redis.RedisError, "AUTH <password> called")
    expect("info", r.info("server")["redis_version"].startswith("7."), True)
    expect("config", r.config_get("appendonly"), {"appendonly": "yes"})
    expect("dbsize", r.dbsize() > 500, True)
    expect("time", r.time()[0] > 1_700_000_000, True)
    expect("command count", r.command_count() > 40, True)
    expect("command docs", "get" in str(r.execute_command("COMMAND DOCS", "get")), True)
    expect("client list", any(each["name"] == "compat" for each in r.client_list()), True)
    expect("wait", r.wait(0, 100) >= 0, True)
    other = client(address, protocol, db=5)
    other.set("py:db", "five")
    expect("databases", (r.get("py:db"), other.get("py:db")), (None, "five"))
    raw = client(address, protocol, decode_responses=False)
    expect("binary", raw.get("py:bin"), bytes(range(256)))


def cluster(addresses, protocol):
    nodes = [ClusterNode(*address.rsplit(":", 1)) for address in addresses]
    r = RedisCluster(startup_nodes=nodes, protocol=protocol, decode_responses=True)
    expect("nodes", len(r.get_primaries()), len(addresses))
    expect("ping", r.ping(target_nodes=RedisCluster.ALL_NODES), True)
    strings(r)
    pipeline(r)
    dynamis(r)
    errors(r)
    for at in range(200):
        r.set(f"py:cluster:{at}", at)
    expect("all keys", [r.get(f"py:cluster:{at}") for at in range(200)], [str(at) for at in range(200)])
    more(r)
    everything(r)
    expect("dbsize", r.dbsize(target_nodes=RedisCluster.PRIMARIES), len(r.keys("*", target_nodes=RedisCluster.PRIMARIES)))
    expect("mget_nonatomic", r.mget_nonatomic("py:cluster:1", "py:cluster:2"), ["1", "2"])


mode, protocol, addresses = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
if mode == "cluster":
    cluster(addresses, protocol)
else:
    single(addresses[0], protocol)
finish()
