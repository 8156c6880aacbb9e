"""What the suites have in common: each file meets a server of its own, and the program that runs it ends in bounded time."""

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .left_out import FAILED, PASSED, Entry, Test

# The name under which a suite's own mishaps are told, which are no test's.
NOT_A_TEST = "what stands outside its tests"


@dataclass
class Ended:
    """What a program wrote, and how it ended."""

    output: str
    status: int
    # It was stopped because it took too long.
    late: bool


def files(names: list[str], subject, entries: list[Entry], at_once: int, one) -> list[Test]:
    """What became of every test of the files. The subject is a context manager that gives each file a server of its own: its port, and
    what to say if it ended. `one` runs a file: its name, the port, and the names of the tests that are not to be run."""

    def file(name: str) -> list[Test]:
        not_run = [entry.name for entry in entries if entry.file == name and not entry.runs]
        with subject() as (port, ended):
            tests = one(name, port, not_run)
            if ended():
                tests.append(Test(name, NOT_A_TEST, FAILED, ended()))
        print(f"   {name}: {sum(test.fate == PASSED for test in tests)} passed, {sum(test.fate == FAILED for test in tests)} did not", flush=True)
        return tests

    with ThreadPoolExecutor(at_once) as pool:
        return [test for tests in pool.map(file, names) for test in tests]


def program(command: list[str], folder: Path, environment: dict[str, str], seconds: int) -> Ended:
    """Runs a program in a folder, and everything that it starts, for so many seconds at most."""
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", *command],
        cwd=folder, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    late = False
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        late = True
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
    return Ended(output.decode(errors="replace"), process.returncode, late)
