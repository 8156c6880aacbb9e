"""What the scripts share: collect every difference, print them, end with their number."""

import sys

import redis

wrong = []


def expect(what, got, wanted):
    """Notes a difference between what came and what was wanted."""
    if got != wanted:
        wrong.append(f"{what}: expected {wanted!r}, got {got!r}")


def refused(what, call, kind, start=""):
    """Notes a difference unless the call is refused with such an error."""
    try:
        got = call()
    except redis.RedisError as error:
        if not isinstance(error, kind) or not str(error).startswith(start):
            wrong.append(f"{what}: expected {kind.__name__} {start!r}, got {type(error).__name__} {error}")
    else:
        wrong.append(f"{what}: expected an error, got {got!r}")


def pipelined(pipe, prefix):
    """Writes and reads five hundred keys in one pipeline."""
    for at in range(500):
        pipe.set(f"{prefix}:{at}", at)
    for at in range(500):
        pipe.get(f"{prefix}:{at}")
    replies = pipe.execute()
    expect("pipelined sets", replies[:500], [True] * 500)
    expect("pipelined gets", replies[500:], [str(at) for at in range(500)])


def client(address, protocol, **options):
    """A client of one node."""
    host, port = address.rsplit(":", 1)
    return redis.Redis(host=host, port=int(port), protocol=protocol, **{"decode_responses": True, **options})


def finish():
    """Tells the differences and ends."""
    print("\n".join(wrong) or "ok")
    sys.exit(min(len(wrong), 100))
