"""Generated pull requests: files with planted faults, and the changes that authors make to them.

A fault keeps its identity while its lines are moved or reformatted, so that a test knows which
comment is about it, and whether it is still there.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from typing import Literal

from hls_handler.analysis import Severity
from hls_handler.github.values import ChangedFile

IGNORED = "dist/**"
"""`paths.ignore` of the repository."""

ODD_TEXTS = (
    "form\x0cfeed = 1",
    "line\u2028separator = 2",
    "tab\there = 3",
    "trailing = 4   ",
    "crlf = 5\r",
    "",
    "",
    "",
)
COMMON_TEXTS = ("    return None", "    }", "    except Exception:", "        pass")
WORDS = (
    *(
        "amount",
        "branch",
        "cursor",
        "digest",
        "engine",
        "folder",
        "gateway",
        "history",
        "invoice",
        "journal",
    ),
    *(
        "kernel",
        "ledger",
        "module",
        "number",
        "offset",
        "payload",
        "queue",
        "region",
        "session",
        "ticket",
    ),
)
FAULTY = ("eval", "unpickle", "run_shell", "render_raw")

EDITS: Mapping[str, int] = {
    "add lines": 2,
    "add a fault": 4,
    "edit beside a fault": 2,
    "add a comment": 2,
    "append a comment": 3,
    "split the line": 2,
    "reindent the file": 1,
    "comment the line out": 1,
    "fix the line": 3,
    "delete the line": 1,
    "guard above": 4,
    "fix in another file": 2,
    "remove a guard": 3,
    "move within the file": 2,
    "move to another file": 2,
    "move into an ignored file": 1,
    "revert a file": 1,
    "return to an older commit": 1,
    "edit the base": 2,
    "split a hunk": 2,
    "rename a file": 1,
    "delete a file": 1,
    "add a file": 1,
    "nothing": 1,
}
"""The kinds of edits, and how often each is made."""


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    number: int
    severity: Severity
    code: str  # its line without indentation


@dataclass(frozen=True, slots=True, eq=False)
class SourceLine:
    text: str  # without its line end
    fault: Fault | None = None  # that it is a part of
    fixes: Fault | None = None  # that it prevents


Lines = tuple[SourceLine, ...]
Files = dict[str, list[SourceLine]]
Mark = Literal[" ", "-", "+"]
Side = Literal["LEFT", "RIGHT"]


@dataclass(frozen=True, slots=True)
class DiffLine:
    path: str
    side: Side
    number: int
    mark: Mark
    line: SourceLine


@dataclass(frozen=True)
class Version:
    """One state of a pull request."""

    sha: str
    base: Mapping[str, Lines]
    head: Mapping[str, Lines]
    renamed: Mapping[str, str]  # new path -> old path
    hunks: Mapping[str, Sequence[Sequence[DiffLine]]]  # by path
    files: tuple[ChangedFile, ...]  # as GitHub lists them

    @cached_property
    def lines(self) -> Mapping[tuple[str, Side, int], DiffLine]:
        return {
            (one.path, one.side, one.number): one
            for hunks in self.hunks.values()
            for hunk in hunks
            for one in hunk
        }

    @cached_property
    def changed(self) -> Sequence[DiffLine]:
        """The changed lines that need a review."""
        return [one for one in self.lines.values() if one.mark != " " and not is_ignored(one.path)]

    @cached_property
    def faults(self) -> frozenset[Fault]:
        """The faults that can occur."""
        every = [line for lines in self.head.values() for line in lines]
        prevented = {line.fixes for line in every}
        return frozenset(
            line.fault for line in every if line.fault is not None and line.fault not in prevented
        )

    def count_hunks(self) -> Counter[tuple[str, tuple[tuple[str, str], ...]]]:
        """Count the hunks by their path and lines, without the numbers."""
        return Counter(
            (path, tuple((one.mark, one.line.text) for one in hunk))
            for path, of in self.hunks.items()
            for hunk in of
        )


def is_ignored(path: str) -> bool:
    return path.startswith("dist/")


class GeneratedPullRequest:
    """The files of the base and of the head. An unchanged line is the same object in both."""

    def __init__(self, random: Random, name: str) -> None:
        self.random, self.name = random, name
        self.count = 0  # of generated names, which are unique
        self.base: Files = {
            f"src/file_{n}.py": self._function(30) for n in range(random.randint(1, 4))
        }
        self.head: Files = {path: [*lines] for path, lines in self.base.items()}
        self.renamed: dict[str, str] = {}
        self.versions: list[Version] = []
        self.faults: list[Fault] = []
        for _ in range(random.randint(1, 4)):
            self.random.choice((self._add_lines, self._add_a_fault))()
        self.save()

    def change(self, edit: str | None = None) -> str:
        """Make one change to the head or the base, and return its name."""
        edit = edit or self.random.choices([*EDITS], [*EDITS.values()])[0]
        before = {path: [*lines] for path, lines in self.head.items()}
        getattr(self, f"_{edit.replace(' ', '_')}")()
        if all(
            self.base.get(self.renamed.get(path, path)) == lines
            for path, lines in self.head.items()
        ):
            self.head = before
            self.renamed = {new: old for new, old in self.renamed.items() if new in self.head}
            self._add_lines()
            edit = "add lines"
        return edit

    def save(self) -> Version:
        """Return the present version. It has the SHA of an earlier one that is the same."""
        base = {path: tuple(lines) for path, lines in self.base.items()}
        head = {path: tuple(lines) for path, lines in self.head.items()}
        for old in self.versions:
            if (old.base, old.head, old.renamed) == (base, head, self.renamed):
                return old
        hunks: dict[str, Sequence[Sequence[DiffLine]]] = {}
        files: list[ChangedFile] = []
        for path in sorted({*base, *head} - ({*self.renamed.values()} - {*head})):
            previous = self.renamed.get(path)
            old_lines, new_lines = base.get(previous or path, ()), head.get(path, ())
            patch = make_patch([line.text for line in old_lines], [line.text for line in new_lines])
            if not patch and not previous:
                continue
            hunks[path] = _diff(path, old_lines, new_lines)
            marks = Counter(one.mark for hunk in hunks[path] for one in hunk)
            status = (
                "renamed"
                if previous
                else "added"
                if not old_lines
                else "removed"
                if not new_lines
                else "modified"
            )
            files.append(ChangedFile(path, previous, status, marks["+"], marks["-"], patch or None))
        sha = f"{self.name}{len(self.versions):020x}"
        self.versions.append(Version(sha, base, head, dict(self.renamed), hunks, tuple(files)))
        return self.versions[-1]

    def _name(self) -> str:
        self.count += 1
        return f"{self.random.choice(WORDS)}_{self.random.choice(WORDS)}_{self.count}"

    def _line(self) -> SourceLine:
        share, text = self.random.random(), f"    {self._name()} = {self.count}"
        if share < 0.12:
            text = self.random.choice(ODD_TEXTS)
        elif share < 0.25:
            text = self.random.choice(COMMON_TEXTS)
        return SourceLine(text)

    def _function(self, most: int = 14) -> list[SourceLine]:
        body = [self._line() for _ in range(self.random.randint(3, most))]
        return [SourceLine(f"def {self._name()}(x):"), *body, SourceLine("    return None")]

    def _path(self, *, other_than: str = "") -> str:
        """Return the path of a file of the head that is not ignored; a new one if there is none."""
        paths = [path for path in sorted(self.head) if not is_ignored(path) and path != other_than]
        if paths:
            return self.random.choice(paths)
        self._add_a_file()
        return [*self.head][-1]

    def _find(self, fault: Fault) -> list[tuple[str, int]]:
        """Return the places of the fault's lines."""
        return [
            (path, i)
            for path, lines in self.head.items()
            for i, line in enumerate(lines)
            if line.fault is fault
        ]

    def _choose(self) -> tuple[Fault, str, int] | None:
        """Return a fault that can occur, with the place of its first line."""
        head = {
            line.fault
            for path, lines in self.head.items()
            for line in lines
            if not is_ignored(path)
        }
        prevented = {line.fixes for lines in self.head.values() for line in lines}
        present = [fault for fault in self.faults if fault in head and fault not in prevented]
        if not present:
            self._add_a_fault()
            return None
        fault = self.random.choice(present)
        return (fault, *self._find(fault)[0])

    def _replace(self, fault: Fault, new: Sequence[SourceLine]) -> None:
        """Put other lines in the place of the fault's lines."""
        path, index = self._find(fault)[0]
        for other, lines in self.head.items():
            kept = [line for line in lines if line.fault is not fault]
            self.head[other] = [*kept[:index], *new, *kept[index:]] if other == path else kept

    def _edit(self, text: str) -> None:
        """Put one line in the place of a fault's lines: the same fault."""
        if chosen := self._choose():
            fault, path, index = chosen
            indentation = self.head[path][index].text
            indentation = indentation[: len(indentation) - len(indentation.lstrip())]
            self._replace(
                fault, [SourceLine(indentation + text.format(fault.code, self.count), fault)]
            )

    def _insert(self, line: SourceLine, path: str | None = None, at: int | None = None) -> None:
        lines = self.head[path or self._path()]
        lines.insert(self.random.randint(0, len(lines)) if at is None else at, line)

    def _add_lines(self) -> None:
        lines = self.head[self._path()]
        at = self.random.randint(0, len(lines))
        lines[at:at] = [self._line() for _ in range(self.random.randint(1, 12))]

    def _add_a_fault(self) -> None:
        self._add_lines()
        name = self._name()
        code = f"{name} = {self.random.choice(FAULTY)}({self.random.choice(WORDS)}_{self.count})"
        self.faults.append(Fault(self.count, self.random.choice(("critical", "high")), code))
        self._insert(SourceLine(f"    {code}", self.faults[-1]))

    def _edit_beside_a_fault(self) -> None:
        if chosen := self._choose():
            _, path, index = chosen
            self._insert(self._line(), path, index + self.random.randint(0, 1))

    def _add_a_comment(self) -> None:
        self._insert(SourceLine(f"    # {self._name()} was checked, nothing fails"))

    def _append_a_comment(self) -> None:
        self.count += 1
        self._edit("{}  # reviewed by security, {}")

    def _split_the_line(self) -> None:
        if chosen := self._choose():
            fault = chosen[0]
            call, _, argument = fault.code.rstrip(")").partition("(")
            self._replace(
                fault,
                [
                    SourceLine(text, fault)
                    for text in (f"    {call}(", f"        {argument}", "    )")
                ],
            )

    def _reindent_the_file(self) -> None:
        path = self._path()
        self.head[path] = [
            replace(line, text=line.text.replace("    ", "  ")) for line in self.head[path]
        ]

    def _comment_the_line_out(self) -> None:
        if chosen := self._choose():
            self._replace(chosen[0], [SourceLine(f"    # {chosen[0].code}")])

    def _fix_the_line(self) -> None:
        if chosen := self._choose():
            fault = chosen[0]
            name = fault.code.partition(" ")[0]
            self._replace(
                fault, [SourceLine(f"    {name} = checked_{self._name()}()", fixes=fault)]
            )

    def _delete_the_line(self) -> None:
        if chosen := self._choose():
            self._replace(chosen[0], [])

    def _guard(self, fault: Fault, path: str, at: int | None = None) -> None:
        self._insert(
            SourceLine(f"    if not {self._name()}.isdigit(): return None", fixes=fault), path, at
        )

    def _guard_above(self) -> None:
        if chosen := self._choose():
            self._guard(*chosen)

    def _fix_in_another_file(self) -> None:
        if chosen := self._choose():
            self._guard(chosen[0], self._path(other_than=chosen[1]))

    def _remove_a_guard(self) -> None:
        guards = [
            (path, line)
            for path, lines in self.head.items()
            for line in lines
            if line.fixes is not None
        ]
        guards = [(path, line) for path, line in guards if line.fixes and self._find(line.fixes)]
        if not guards:
            return self._guard_above()
        path, line = self.random.choice(guards)
        self.head[path].remove(line)
        return None

    def _move(self, path: str) -> None:
        if chosen := self._choose():
            fault = chosen[0]
            lines = [self.head[other][index] for other, index in self._find(fault)]
            self._replace(fault, [])
            into = self.head.setdefault(path, [])
            at = self.random.randint(0, len(into))
            into[at:at] = lines

    def _move_within_the_file(self) -> None:
        if chosen := self._choose():
            self._move(chosen[1])

    def _move_to_another_file(self) -> None:
        self._move(self._path())

    def _move_into_an_ignored_file(self) -> None:
        self._move("dist/bundle.py")

    def _revert_a_file(self) -> None:
        path = self._path()
        if self.renamed.get(path, path) in self.base:
            self.head[path] = [*self.base[self.renamed.get(path, path)]]

    def _return_to_an_older_commit(self) -> None:
        old = self.random.choice(self.versions)
        self.base = {path: [*lines] for path, lines in old.base.items()}
        self.head = {path: [*lines] for path, lines in old.head.items()}
        self.renamed = dict(old.renamed)

    def _edit_the_base(self, most: int = 4) -> None:
        """Insert lines into the base or delete some; the head is rebased onto it."""
        for path, old in self.base.items():
            new = self.head.get(next((one for one, of in self.renamed.items() if of == path), path))
            known = {*(new or ())}
            common = [index for index, line in enumerate(old) if line in known]
            if new is None or not common or self.random.random() < 0.3:
                continue
            at = self.random.choice(common)
            there = new.index(old[at])
            is_kept = most > 4 or self.random.random() < 0.7
            lines = [self._line() for _ in range(self.random.randint(most // 2, most))]
            old[at : at + (not is_kept)] = lines
            new[there : there + (not is_kept)] = lines

    def _split_a_hunk(self) -> None:
        self._edit_the_base(16)

    def _rename_a_file(self) -> None:
        path = self._path()
        if path in self.base and path not in self.renamed and len(self.base) > 1:
            new = f"src/{self._name()}.py"
            self.head[new], self.renamed[new] = self.head.pop(path), path

    def _delete_a_file(self) -> None:
        path = self._path()
        if len(self.head) > 1:
            self.head.pop(path)
            self.renamed.pop(path, None)

    def _add_a_file(self) -> None:
        self.head[f"src/{self._name()}.py"] = [*self._function(), *self._function()]

    def _nothing(self) -> None:
        pass


def make_patch(old: list[str], new: list[str]) -> str:
    """Return the patch of a file as GitHub shows it: without the lines that name the file."""
    return "\n".join([*difflib.unified_diff(old, new, n=3, lineterm="")][2:])


def _diff(path: str, old: Lines, new: Lines) -> Sequence[Sequence[DiffLine]]:
    """Return the hunks of a file, found without the patch."""
    matcher = difflib.SequenceMatcher(
        None, [line.text for line in old], [line.text for line in new]
    )
    hunks: list[list[DiffLine]] = []
    for group in matcher.get_grouped_opcodes(3):
        hunk: list[DiffLine] = []
        for tag, i1, i2, j1, j2 in group:
            if tag != "equal":
                hunk += [DiffLine(path, "LEFT", at + 1, "-", old[at]) for at in range(i1, i2)]
            mark: Mark = " " if tag == "equal" else "+"
            hunk += [DiffLine(path, "RIGHT", at + 1, mark, new[at]) for at in range(j1, j2)]
        hunks.append(hunk)
    return [hunk for hunk in hunks if any(one.mark != " " for one in hunk)]
