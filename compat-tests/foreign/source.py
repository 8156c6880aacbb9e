"""Where the suites come from: package sources, fetched by the ordinary clients, known by their SHA-256, never committed."""

import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".suites"

REDIS = "redis_7.0.15.orig.tar.gz"
REDIS_SHA256 = "4b1dc4ee6d622a09fff9c6777191209750fb5e5a725ef78ea012d6eef4c22982"
# What is changed in Redis's tests.
CHANGED = [
    # Left out for servers that others started, as the harness makes no cluster of them; but its first part needs none.
    ("unit/pubsubshard.tcl", '"pubsubshard external:skip"}} {\n    test "SPUBLISH/SSUBSCRIBE basics', '"pubsubshard"}} {\n    test "SPUBLISH/SSUBSCRIBE basics'),
    # Said before every file, and functions are no subject here: a server that does not know the command can be tested all the same.
    ("support/server.tcl", "\n    r function flush\n", "\n    catch {r function flush}\n"),
    # They publish on one connection before they know that the other's request has been read: where connections are served side by
    # side, its replies must be waited for.
    *(
        (file, f"        {verb} $rd1\n        assert_equal 0 [r {publish} {channel} hello]", f"        {verb} $rd1\n" + "        $rd1 read\n" * 3 + f"        assert_equal 0 [r {publish} {channel} hello]")
        for file, verb, publish, channel in (
            ("unit/pubsub.tcl", "unsubscribe", "publish", "chan1"),
            ("unit/pubsub.tcl", "punsubscribe", "publish", "chan1.hi"),
            ("unit/pubsubshard.tcl", "sunsubscribe", "SPUBLISH", "chan1"),
        )
    ),
]
REDIS_PY_VERSION = "8.1.0"
REDIS_PY = f"redis-{REDIS_PY_VERSION}.tar.gz"
REDIS_PY_SHA256 = "6e1a19beef9225c83efd689c7e6b7da2d5215b1f42cd13b7fc3714d0a09c7b25"


class Missing(Exception):
    """A suite's source could not be had; the text says what to do."""


def redis() -> Path:
    """The unpacked source of Redis 7.0.15, with the installed tools where its tests look for the built ones."""
    folder = unpacked(REDIS, REDIS_SHA256, "redis-7.0.15", fetch_redis, CHANGED)
    for tool in ("redis-cli", "redis-benchmark"):
        installed = shutil.which(tool)
        if installed is None:
            raise Missing(f"{tool} is not installed; compat-tests/run installs it")
        link = folder / "src" / tool
        if not link.exists():
            link.symlink_to(installed)
    return folder


def redis_py() -> Path:
    """The unpacked source of redis-py, tests included."""
    return unpacked(REDIS_PY, REDIS_PY_SHA256, f"redis-{REDIS_PY_VERSION}", fetch_redis_py)


def unpacked(archive: str, sha256: str, folder: str, fetch, changes=()) -> Path:
    """The folder that an archive holds, its tests changed as told; fetched and unpacked if it is not there yet."""
    CACHE.mkdir(exist_ok=True)
    if not intact(CACHE / archive, sha256):
        fetch()
        if not intact(CACHE / archive, sha256):
            raise Missing(f"{CACHE / archive} is not the {archive} that is known by SHA-256 {sha256}")
    target, known = CACHE / folder, hashlib.sha256(repr(changes).encode()).hexdigest()
    mark = target / ".unpacked"
    if not mark.exists() or mark.read_text() != known:
        shutil.rmtree(target, ignore_errors=True)
        with tarfile.open(CACHE / archive) as tar:
            tar.extractall(CACHE, filter="data")
        for file, written, read in changes:
            path = target / "tests" / file
            text = path.read_text()
            if written not in text:
                raise Missing(f"{path} does not hold what was to be changed: {written}")
            path.write_text(text.replace(written, read, 1))
        mark.write_text(known)
    return target


def intact(archive: Path, sha256: str) -> bool:
    """Whether the file is there and is the one we know."""
    return archive.exists() and hashlib.sha256(archive.read_bytes()).hexdigest() == sha256


def fetch_redis() -> None:
    """By apt-get, from wherever this machine's packages come, but with lists of sources of our own: the machine's stay as they are."""
    apt = CACHE / "apt"
    for part in ("lists/partial", "cache/archives/partial"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    (apt / "sources.list").write_text("\n".join(source_lines()) + "\n")
    options = [f"Dir::Etc::SourceList={apt}/sources.list", "Dir::Etc::SourceParts=-", f"Dir::State::Lists={apt}/lists", f"Dir::Cache={apt}/cache"]
    command = ["apt-get", "-qq", *(word for option in options for word in ("-o", option))]
    run([*command, "update"], "the lists of source packages")
    run([*command, "source", "--download-only", "--tar-only", "redis"], "the source of Redis 7.0.15 (Debian 12's package redis)")


def source_lines() -> list[str]:
    """The machine's own sources of Debian, as sources of source packages."""
    lines = []
    etc = Path("/etc/apt")
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]:
        for line in path.read_text().splitlines() if path.exists() else []:
            if line.startswith("deb ") and "/debian" in line:
                lines.append("deb-src" + line.removeprefix("deb"))
    for path in sorted((etc / "sources.list.d").glob("*.sources")):
        for stanza in path.read_text().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and not line.startswith("#"))
            if "/debian" in fields.get("URIs", "") and fields.get("Types") == "deb":
                signed = f"[signed-by={fields['Signed-By']}] " if "Signed-By" in fields else ""
                lines += [f"deb-src {signed}{fields['URIs']} {suite} {fields['Components']}" for suite in fields["Suites"].split()]
    return lines


def fetch_redis_py() -> None:
    """By pip, as a source package."""
    command = ["python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", "redis"]
    run([*command, "--dest", str(CACHE), f"redis=={REDIS_PY_VERSION}"], f"the source of redis-py {REDIS_PY_VERSION}")


def run(command: list[str], what: str) -> None:
    """Runs it in the cache's folder; what it wrote is told when it fails."""
    done = subprocess.run(command, cwd=CACHE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    if done.returncode != 0:
        raise Missing(f"{what} could not be fetched: {' '.join(command)}\n{done.stdout}")
