"""redis-py's own tests, on its own client, in the way they have for a server that somebody else started."""

import tempfile
from pathlib import Path
from xml.etree import ElementTree

from . import examination, source
from .cluster import VIEW_ABOVE
from .examination import NOT_A_TEST
from .left_out import FAILED, IGNORED, PASSED, SKIPPED, Entry, Test

HERE = Path(__file__).resolve().parent
PYTHON = HERE.parent / ".venv/bin/python"
# How many tests of each file a Redis of the version in our INFO (redis_version) is asked, by a plain client, and of those that need a cluster.
PLAIN = {
    "test_commands": 436,
    "test_pipeline": 37,
    "test_pubsub": 111,
    "test_connect": 3,
    "test_connection": 91,
    "test_connection_pool": 95,
    "test_monitor": 6,
    "test_encoding": 11,
    "test_cluster": 28,
}
# And how many by a cluster client, of so many nodes.
CLUSTER = {"test_cluster": 275}
CLUSTER_NODES = 3
# Marks of tests that need other servers than one Redis, or a cluster of them.
OTHER_SERVERS = ["redismod", "ssl", "replica", "cp_integration", "multidb_integration"]
TEST_SECONDS, FILE_SECONDS = 30, 300


def sizes(files: list[str], clustered: bool) -> dict[str, int]:
    """How many tests each of the files has."""
    return {file: (CLUSTER if clustered else PLAIN)[file] for file in files}


def run(files: list[str], subject, entries: list[Entry], clustered: bool, at_once: int, only: list[str]) -> list[Test]:
    """What became of every test; the subject is as in `examination`."""
    folder = source.redis_py()
    above = VIEW_ABOVE if clustered else 0
    return examination.files(
        files, subject, entries, at_once, lambda file, port, not_run: run_one(folder, file, port + above, not_run, clustered, only)
    )


def run_one(folder: Path, file: str, port: int, not_run: list[str], clustered: bool, only: list[str]) -> list[Test]:
    """One file on the server at a port."""
    marks = [*OTHER_SERVERS, "onlynoncluster" if clustered else "onlycluster"]
    environment = {"PYTHONPATH": str(HERE), "DYNAMIS_SUITE_FACE": "cluster" if clustered else "plain"}
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        command = [str(PYTHON), "-m", "pytest", "-q", "-p", "pytest_plugin", "-p", "no:cacheprovider", f"--timeout={TEST_SECONDS}", "--tb=native"]
        command += [f"--redis-url=redis://127.0.0.1:{port}/0", f"--redis-cluster-nodes={CLUSTER_NODES}", f"--junitxml={report.name}"]
        command += ["-m", " and ".join(f"not {mark}" for mark in marks)]
        command += [f"--deselect=tests/{file}.py::{name}" for name in not_run]
        command += ["-k", " or ".join(only)] if only else []
        ended = examination.program([*command, f"tests/{file}.py"], folder, environment, FILE_SECONDS)
        tests = parse(file, Path(report.name).read_text()) + [Test(file, name, SKIPPED) for name in not_run]
    if ended.status not in (0, 1):
        how = f"took more than {FILE_SECONDS} s" if ended.late else f"ended with {ended.status}"
        tests.append(Test(file, NOT_A_TEST, FAILED, f"pytest {how}:\n{ended.output[-2000:]}"))
    return tests


def parse(file: str, report: str) -> list[Test]:
    """What pytest reported, as the fates of tests: one that failed and whose clearing up failed, too, is one test."""
    tests = {}
    for case in ElementTree.fromstring(report).iter("testcase") if report else []:
        classes = case.get("classname", "").split(".")[2:]
        name = "::".join([*classes, case.get("name", "")])
        bad = next((part for part in case if part.tag in ("failure", "error")), None)
        if bad is not None:
            tests[name] = Test(file, name, FAILED, "\n".join((bad.text or bad.get("message", "")).splitlines()[-14:]))
        elif name not in tests:
            tests[name] = Test(file, name, IGNORED if case.find("skipped") is not None else PASSED)
    return list(tests.values())
