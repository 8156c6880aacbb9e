"""Redis's own tests, driven by its own harness in the way it has for servers that somebody else started."""

import re
import threading
from pathlib import Path

from . import examination, source
from .examination import NOT_A_TEST
from .left_out import FAILED, IGNORED, PASSED, SKIPPED, Entry, Test

# How many tests of each file a real Redis 7.0.15 runs when it is tested in this way: the second where a single database is used.
# unit/type/string has one more for servers that allocate by jemalloc.
FILES = {
    "unit/type/string": (76, 76),
    "unit/type/incr": (25, 25),
    "unit/keyspace": (53, 43),
    "unit/expire": (66, 66),
    "unit/scan": (17, 17),
    "unit/protocol": (25, 25),
    "unit/info-command": (3, 3),
    "unit/quit": (3, 3),
    "unit/querybuf": (2, 2),
    "unit/multi": (60, 53),
    "unit/other": (22, 22),
    "unit/introspection": (28, 28),
    "unit/introspection-2": (43, 43),
    "unit/slowlog": (16, 16),
    "unit/latency-monitor": (14, 14),
    "unit/dump": (12, 12),
    "unit/bitops": (45, 45),
    "unit/bitfield": (16, 16),
    "unit/pubsub": (30, 30),
    "unit/pubsubshard": (9, 9),
}
# A test that shows no progress for so long hangs; a file may take so long in all.
SILENT_SECONDS, FILE_SECONDS = 60, 400
# Where the harness's two halves meet, for each file that runs at the same time.
FIRST_MEETING_PORT = 18_000
FATES = {"ok": PASSED, "err": FAILED, "skip": SKIPPED, "ignore": IGNORED}

next_meeting = iter(range(FIRST_MEETING_PORT, FIRST_MEETING_PORT + 10_000, 100))
meeting = threading.Lock()


def sizes(files: list[str], single_database: bool) -> dict[str, int]:
    """How many tests each of the files has."""
    return {file: FILES[file][single_database] for file in files}


def run(files: list[str], subject, entries: list[Entry], single_database: bool, at_once: int, only: list[str]) -> list[Test]:
    """What became of every test; the subject is as in `examination`."""
    folder = source.redis()
    return examination.files(
        files, subject, entries, at_once, lambda file, port, skipped: run_one(folder, file, port, skipped, single_database, only)
    )


def run_one(folder: Path, file: str, port: int, skipped: list[str], single_database: bool, only: list[str]) -> list[Test]:
    """One file on the server at a port."""
    with meeting:
        meets_at = next(next_meeting)
    command = ["tclsh", "tests/test_helper.tcl", "--host", "127.0.0.1", "--port", str(port), "--single", file]
    command += ["--ignore-encoding", "--ignore-digest", "--durable", "--timeout", str(SILENT_SECONDS), "--baseport", str(meets_at + 32)]
    # How long something took is not judged: the machine may be busy with something else.
    command += ["--no-latency"] + (["--singledb"] if single_database else [])
    for name in skipped:
        # The harness searches where the list matches all of a name.
        pattern = f"/^(?:{name[1:-1]})$" if name.startswith("/") and name.endswith("/") else name
        command += ["--skiptest", pattern]
    for name in only:
        command += ["--only", name]
    ended = examination.program(command, folder, {"TERM": "dumb"}, FILE_SECONDS)
    late = f"\n[exception]: the file took more than {FILE_SECONDS} s" if ended.late else ""
    return parse(file, ended.output + late)


def parse(file: str, output: str) -> list[Test]:
    """What the harness wrote, as the fates of tests."""
    tests = []
    # Everything behind this line was said before.
    output = output.split("\n                   The End\n")[0]
    for part in re.split(r"^(?=\[(?:ok|err|skip|ignore|exception|TIMEOUT|\d+/\d+ done|ready|testing)\]:)", output, flags=re.MULTILINE):
        said = re.match(r"\[([^\]]+)\]: (.*)", part)
        if not said:
            continue
        kind, text = said.groups()
        detail = part[said.end() :].strip()
        if kind in ("exception", "TIMEOUT"):
            tests.append(Test(file, NOT_A_TEST, FAILED, f"{text}\n{detail}"))
        elif kind == "err":
            name, inside, _ = text.partition(f" in tests/{file}.tcl")
            tests.append(Test(file, name, FAILED, detail) if inside else Test(file, NOT_A_TEST, FAILED, f"{text}\n{detail}"))
        elif kind == "ok":
            tests.append(Test(file, re.sub(r" \(\d+ ms\)$", "", text), PASSED))
        elif kind in FATES:
            tests.append(Test(file, re.sub(r": [^:]*$", "", text) if kind == "ignore" else text, FATES[kind]))
    if "[1/1 done]" not in output and not any(test.name == NOT_A_TEST for test in tests):
        tests.append(Test(file, NOT_A_TEST, FAILED, "the harness ended before the file did:\n" + output[-2000:]))
    return tests
