"""What a suite asks that is not our subject: a list in the tree, and the judgement of everything else.

The list is text. A line that starts at the margin is a reason; the indented lines below it are the tests it holds for, as `file: name
of the test`; a name between slashes is a regular expression for all of it. A reason that starts with `not run:` is for tests that would
hang, or break the tests behind them, when they fail. `#` starts a comment.

# Contract
- A test that failed and is not listed fails the run, and so does a listed one that passed: a list that is too long hides news.
- What did not run is counted as nothing: fewer tests than the suite has fail the run, too.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

PASSED, FAILED, SKIPPED, IGNORED = "passed", "failed", "skipped", "ignored"


@dataclass
class Test:
    """What became of one test: ignored are those that the suite itself does not run here."""

    file: str
    name: str
    fate: str
    detail: str = ""


@dataclass
class Entry:
    """One line of the list."""

    file: str
    name: str
    reason: str
    runs: bool
    line: int
    fates: Counter = field(default_factory=Counter)

    def fits(self, test: Test) -> bool:
        """Whether it is about this test."""
        if self.file != test.file:
            return False
        if len(self.name) > 1 and self.name.startswith("/") and self.name.endswith("/"):
            return re.fullmatch(self.name[1:-1], test.name) is not None
        return self.name == test.name


def read(path: Path) -> list[Entry]:
    """The list in a file."""
    entries, reason = [], None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if not line[0].isspace():
            reason = line.strip()
            continue
        file, colon, name = line.strip().partition(": ")
        if reason is None or not colon:
            raise ValueError(f"{path}:{number}: expected `file: name of the test` below a reason, not: {line}")
        entries.append(Entry(file, name, reason, not reason.startswith("not run:"), number))
    return entries


def judge(tests: list[Test], entries: list[Entry], sizes: dict[str, int], whole: bool) -> list[str]:
    """What is wrong, in sentences; prints a table of the files. Sizes: how many tests each file has."""
    wrong = []
    table = {file: Counter() for file in sizes}
    for test in tests:
        entry = next((entry for entry in entries if entry.fits(test)), None)
        if entry:
            entry.fates[test.fate] += 1
        left_out = entry is not None and test.fate in (FAILED, SKIPPED)
        table[test.file]["left out" if left_out else test.fate] += 1
        if test.fate == FAILED and entry is None:
            wrong.append(f"{test.file}: {test.name}: FAILED\n{indented(test.detail)}")
    print(f"{'':28}{'passed':>8}{'failed':>8}{'left out':>10}{'not for such a server':>24}")
    for file, fates in [*table.items(), ("all", sum(table.values(), Counter()))]:
        print(f"{file:28}{fates[PASSED]:>8}{fates[FAILED]:>8}{fates['left out']:>10}{fates[IGNORED] + fates[SKIPPED]:>24}")
    for entry in (entry for entry in entries if entry.file in sizes):
        if entry.fates[PASSED] and not entry.fates[FAILED]:
            wrong.append(f"{entry.file}: {entry.name}: passes, but the list (line {entry.line}) leaves it out: {entry.reason}")
        elif not entry.fates and whole:
            wrong.append(f"{entry.file}: {entry.name}: there is no such test (line {entry.line} of the list)")
    for file, size in sizes.items():
        ran = sum(fates for fate, fates in table[file].items() if fate != IGNORED)
        if ran != size and size:
            wrong.append(f"{file}: {ran} tests are accounted for, not {size}: some did not get their turn")
    return wrong


def indented(text: str) -> str:
    """The text, told apart from what stands around it."""
    return "\n".join("    " + line for line in text.splitlines()[:14])
