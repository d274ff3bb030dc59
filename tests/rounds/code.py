"""Source code with planted faults. Each has a number, which the names around it repeat.

A fault is a call such as `unpickle(cart_17)`. It cannot occur if a guard such as
`is_signed(cart_17)` is anywhere. So what is true of a text and what a reader of a part of it can
know are found by the same patterns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from hls_handler.analysis import Severity

Files = dict[str, list[str]]
"""The lines of each file, by path. A blank line stands between two functions, and nowhere else."""

FAULTY = re.compile(r"\b(?:unpickle|run_shell|render_raw)\(\s*[a-z]+_(\d+)\b")
SAFE = re.compile(r"\b(?:load_json|run_list|render_safe)\(\s*[a-z]+_(\d+)\b")
GUARD = re.compile(r"\b(?:is_signed|require_signed)\(\s*[a-z]+_(\d+)\b")
HEADER = re.compile(r"(?:def|func|function) [a-z]+_(\d+)\(")
COMMENT = re.compile(r"(?:^|(?<=\s))(?:#|//).*")
SAFE_CALLS: Mapping[str, str] = {
    "unpickle": "load_json",
    "run_shell": "run_list",
    "render_raw": "render_safe",
}
EXTENSIONS = ("py", "py", "go", "js")
WORDS = (
    *("amount", "branch", "cursor", "digest", "engine", "folder", "gateway", "history"),
    *("invoice", "journal", "kernel", "ledger", "module", "number", "offset", "payload"),
    *("queue", "region", "session", "ticket"),
)
COMMON_TEXTS = ("log.debug(1)", "count += 1", "metrics.tick()")


@dataclass(frozen=True, slots=True)
class Fault:
    number: int
    severity: Severity
    code: str  # its line without indentation: "total_17 = unpickle(cart_17)"

    @property
    def argument(self) -> str:
        return self.code.partition("(")[2].rstrip(")")

    @property
    def fix(self) -> str:
        call = re.search(r"= (\w+)\(", self.code)
        assert call is not None
        return self.code.replace(call[1], SAFE_CALLS[call[1]])


@dataclass(frozen=True, slots=True)
class Place:
    """A function in a file."""

    path: str
    start: int  # index of its first line
    end: int  # index after its last line


def find_calls(pattern: re.Pattern[str], lines: Sequence[str]) -> Mapping[int, int]:
    """Return the index of the line of the first match for each number. Comments do not count."""
    text = "\n".join(COMMENT.sub("", line) for line in lines)
    found: dict[int, int] = {}
    for match in pattern.finditer(text):
        found.setdefault(int(match[1]), text.count("\n", 0, match.start()))
    return found


def find_faults(files: Files) -> frozenset[int]:
    """Return the numbers of the faults that can occur."""
    faulty = {number for lines in files.values() for number in find_calls(FAULTY, lines)}
    guarded = {number for lines in files.values() for number in find_calls(GUARD, lines)}
    return frozenset(faulty - guarded)


def find_function(files: Files, number: int) -> Place | None:
    for path, lines in files.items():
        for start, line in enumerate(lines):
            found = HEADER.match(line)
            if found is not None and int(found[1]) == number:
                end = next((at for at in range(start, len(lines)) if not lines[at]), len(lines))
                return Place(path, start, end)
    return None


def list_functions(lines: Sequence[str]) -> list[int]:
    """Return the numbers of the functions of a file."""
    found = (HEADER.match(line) for line in lines)
    return [int(one[1]) for one in found if one is not None]


def comment_mark(path: str) -> str:
    return "#" if path.endswith(".py") else "//"


def make_fault(random: Random, number: int, severity: Severity) -> Fault:
    call = random.choice((*SAFE_CALLS,))
    return Fault(number, severity, f"total_{number} = {call}({random.choice(WORDS)}_{number})")


def make_function(random: Random, path: str, number: int, line: str | None) -> list[str]:
    """Return a function of 4 to 16 lines, with a line in its body."""
    name = f"{random.choice(WORDS)}_{number}(value_{number}"
    header, footer = {
        "py": (f"def {name}):", []),
        "go": (f"func {name} int) int {{", ["}"]),
        "js": (f"function {name}) {{", ["}"]),
    }[path.rpartition(".")[2]]
    body = [make_line(random, number) for _ in range(random.randint(2, 12))]
    if line is not None:
        body.insert(random.randint(0, len(body)), f"    {line}")
    return [header, *body, f"    return value_{number}", *footer]


def make_line(random: Random, number: int) -> str:
    if random.random() < 0.15:
        return f"    {random.choice(COMMON_TEXTS)}"
    step = f"{random.choice(WORDS)}_{number}_{random.randint(1, 999)}"
    return f"    {step} = {random.choice(WORDS)}({random.randint(1, 99)})"
