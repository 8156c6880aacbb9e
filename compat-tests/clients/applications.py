"""Caches and session stores as people use them: applications.py host:port host:port ...

Django's cache and sessions, django-redis, Flask-Session, cachelib and dogpile.cache, each with the settings its manual gives.
Everything is done twice: prints "ready" after the first time and waits for a line on standard input (by then a node has been
killed that nobody is connected to). Every failure is printed.
"""

import sys
import traceback

import django
from django.conf import settings

addresses = sys.argv[1:]
urls = [f"redis://{address}/1" for address in addresses]
settings.configure(
    SECRET_KEY="x",
    CACHES={
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": urls},
        "other": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": urls[0]},
    },
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    INSTALLED_APPS=["django.contrib.sessions"],
)
django.setup()

import cachelib
import flask
import flask_caching
import flask_session
import redis
from django.contrib.sessions.backends.cache import SessionStore
from django.core.cache import caches
from dogpile.cache import make_region

host, port = addresses[0].rsplit(":", 1)


def same(left, right):
    assert left == right, f"{left!r} is not {right!r}"


def django_cache(turn):
    cache = caches["default"]
    key = f"django:{turn}"
    cache.set(key, {"a": [1, 2]}, timeout=60)
    same(cache.get(key), {"a": [1, 2]})
    same(cache.add(key, 1), False)
    same(cache.get_or_set(f"{key}:new", 7, 60), 7)
    cache.set_many({f"{key}:{at}": at for at in range(20)}, timeout=60)
    same(cache.get_many([f"{key}:{at}" for at in range(20)]), {f"{key}:{at}": at for at in range(20)})
    cache.set(f"{key}:count", 1, timeout=None)
    same(cache.incr(f"{key}:count", 41), 42)
    same(cache.decr(f"{key}:count"), 41)
    same(cache.touch(f"{key}:count", 60), True)
    same(cache.has_key(f"{key}:count"), True)
    cache.delete_many([f"{key}:{at}" for at in range(20)])
    same(cache.get(f"{key}:3"), None)
    same(cache.delete(key), True)
    cache.set(key, 1, version=2)
    same((cache.get(key), cache.get(key, version=2)), (None, 1))


def django_redis(turn):
    cache = caches["other"]
    key = f"django-redis:{turn}"
    cache.set(key, "v", timeout=60)
    same(cache.set(key, "w", nx=True), False)
    assert 0 < cache.ttl(key) <= 60
    same(cache.persist(key), True)
    same(cache.ttl(key), None)
    cache.set_many({f"{key}:{at}": at for at in range(20)}, timeout=60)
    same(len(cache.keys(f"{key}:*")), 20)
    same(len(list(cache.iter_keys(f"{key}:*"))), 20)
    same(cache.delete_pattern(f"{key}:*"), 20)
    cache.set(f"{key}:count", 1)
    same(cache.incr(f"{key}:count"), 2)


def django_sessions(turn):
    session = SessionStore()
    session["user"] = turn
    session.set_expiry(60)
    session.save()
    again = SessionStore(session_key=session.session_key)
    same(again["user"], turn)
    again.cycle_key()
    same(SessionStore(session_key=again.session_key)["user"], turn)
    same(SessionStore().exists(session.session_key), False)
    again.flush()
    same(again.get("user"), None)


def flask_sessions(turn):
    application = flask.Flask("application")
    application.config.update(
        SECRET_KEY="x", SESSION_TYPE="redis", SESSION_REDIS=redis.Redis(host=host, port=int(port), db=2)
    )
    flask_session.Session(application)

    @application.route("/count")
    def count():
        flask.session["count"] = flask.session.get("count", 0) + 1
        return str(flask.session["count"])

    @application.route("/leave")
    def leave():
        flask.session.clear()
        return "gone"

    visitor = application.test_client()
    same([visitor.get("/count").text for _ in range(3)], ["1", "2", "3"])
    same(application.test_client().get("/count").text, "1")
    visitor.get("/leave")
    same(visitor.get("/count").text, "1")


def flask_cache(turn):
    application = flask.Flask("application")
    cache = flask_caching.Cache(
        application,
        config={
            "CACHE_TYPE": "RedisCache",
            "CACHE_REDIS_URL": f"redis://{host}:{port}/5",
            "CACHE_KEY_PREFIX": f"flask:{turn}:",
        },
    )
    made = []

    @application.route("/page")
    @cache.cached(timeout=60)
    def page():
        made.append("page")
        return str(len(made))

    @cache.memoize(timeout=60)
    def dear(number):
        made.append(number)
        return number * 2

    visitor = application.test_client()
    same([visitor.get("/page").text for _ in range(3)], ["1", "1", "1"])
    with application.app_context():
        same([dear(1), dear(1), dear(2)], [2, 2, 4])
        cache.delete_memoized(dear, 1)
        same((dear(1), made), (2, ["page", 1, 2, 1]))
        same(cache.set_many({"x": 1, "y": {"deep": [2]}}), ["x", "y"])
        same(cache.get_many("x", "y", "z"), [1, {"deep": [2]}, None])
        same((cache.add("x", 2), cache.has("x"), cache.delete("x"), cache.get("x")), (False, True, True, None))
        cache.clear()
        same(cache.get("y"), None)
    same(visitor.get("/page").text, "5")


def cachelib_cache(turn):
    cache = cachelib.RedisCache(host, int(port), key_prefix=f"cachelib:{turn}:", db=3)
    same(cache.set("a", [1], timeout=60), True)
    same(cache.add("a", 2), False)
    same(cache.set_many({"b": 1, "c": 2}), ["b", "c"])
    same(cache.get_many("a", "b", "c", "d"), [[1], 1, 2, None])
    same((cache.inc("n"), cache.inc("n", 5), cache.dec("n")), (1, 6, 5))
    same((cache.has("a"), cache.has("z")), (True, False))
    same(cache.delete_many("a", "b"), ["a", "b"])
    same(cache.clear(), True)
    same(cache.get("c"), None)


def dogpile_cache(turn):
    region = make_region(key_mangler=lambda key: f"dogpile:{turn}:{key}")
    region.configure(
        "dogpile.cache.redis",
        arguments={"host": host, "port": int(port), "redis_expiration_time": 60, "distributed_lock": False},
    )
    made = []

    @region.cache_on_arguments()
    def dear(number):
        made.append(number)
        return number * 2

    same([dear(1), dear(1), dear(2)], [2, 2, 4])
    same(made, [1, 2])
    dear.invalidate(1)
    same((dear(1), made), (2, [1, 2, 1]))
    region.set_multi({"x": 1, "y": 2})
    same(region.get_multi(["x", "y"]), [1, 2])
    region.delete_multi(["x", "y"])
    same(region.get("x").__class__.__name__, "NoValue")


wrong = []
for turn in ["whole", "without one"]:
    for use in [django_cache, django_redis, django_sessions, flask_sessions, flask_cache, cachelib_cache, dogpile_cache]:
        try:
            use(turn.replace(" ", "-"))
        except Exception:
            wrong.append(f"{use.__name__} ({turn}): {traceback.format_exc()}")
    if turn == "whole":
        print("ready", flush=True)
        sys.stdin.readline()
print("\n".join(wrong) or "ok")
sys.exit(min(len(wrong), 100))
