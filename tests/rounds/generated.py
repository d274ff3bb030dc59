"""Generated pull requests: files of functions with planted defects, and the changes that authors make to them.

A line is an object: it keeps its identity while it is moved, so that a test knows which line a comment is about, also
if other lines have the same text. The place of a line is the function that contains it; functions have unique names.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Literal

from hls_handler.analysis import Severity
from hls_handler.handlers.reader import ChangedFile

DEFECT = "defect"
"""A line with this word is wrong: the fake reviewer reports it."""

LINE_ENDS = ("\n", "\n", "\n", "\n", "\r\n")
ODD_TEXTS = ("form\x0cfeed = 1", "line\u2028separator = 2", "tab\there = 3", "trailing = 4   ", "")
COMMON_TEXTS = ("    return None", "    }", "    except Exception:", "        pass")
"""Lines that a file has several times."""
DEFECTS: tuple[Severity, ...] = ("critical", "critical", "high", "low")
FUNCTION = re.compile(r"def function_\d+")

OPERATIONS = (
    *("add lines", "add a defect", "add a defect", "fix a defect", "fix a defect", "edit beside a defect"),
    *("repeat a fixed defect", "add common lines", "add a function", "add a file", "delete a file"),
    *("move a line", "move lines", "move to another function", "move to another function", "move to another file"),
    *("edit the base", "edit the base", "merge the base", "revert a change", "return to an older commit"),
    *("rename a file", "rename and change", "nothing"),
)


@dataclass(frozen=True, slots=True, eq=False)
class SourceLine:
    text: str  # with its line end
    severity: Severity | None = None  # of the planted defect


Files = dict[str, list[SourceLine]]
Mark = Literal[" ", "-", "+"]
Side = Literal["LEFT", "RIGHT"]


@dataclass(frozen=True, slots=True)
class DiffLine:
    path: str
    mark: Mark
    line: SourceLine
    place: str  # the function that contains it, in the old file for a removed line; "" above the first one


@dataclass(frozen=True)
class FileDiff:
    """The difference of two versions of a file, found without the patch."""

    hunks: tuple[Mapping[tuple[Side, int], DiffLine], ...]
    headings: tuple[str, ...]  # of each hunk
    patch: str

    @cached_property
    def lines(self) -> Mapping[tuple[Side, int], DiffLine]:
        return {position: line for hunk in self.hunks for position, line in hunk.items()}


@dataclass(frozen=True)
class Version:
    """One state of a pull request."""

    sha: str
    base: Mapping[str, tuple[SourceLine, ...]]
    head: Mapping[str, tuple[SourceLine, ...]]
    renamed: Mapping[str, str]  # new path -> old path
    diffs: Mapping[str, FileDiff]
    files: tuple[ChangedFile, ...]  # as GitHub lists them

    @cached_property
    def changed(self) -> tuple[DiffLine, ...]:
        return tuple(one for diff in self.diffs.values() for one in diff.lines.values() if one.mark != " ")

    @cached_property
    def hunks(self) -> Counter[tuple[str, tuple[tuple[str, str], ...]]]:
        """The path, the heading and the lines of each hunk, without their numbers."""
        return Counter(
            (path, (("@", heading), *((one.mark, one.line.text) for one in hunk.values())))
            for path, diff in self.diffs.items()
            for heading, hunk in zip(diff.headings, diff.hunks, strict=True)
        )

    @cached_property
    def around(self) -> Mapping[SourceLine, tuple[SourceLine, ...]]:
        """The four lines above and below each line of the head."""
        return {
            line: (*lines[max(index - 4, 0) : index], *lines[index + 1 : index + 5])
            for lines in self.head.values()
            for index, line in enumerate(lines)
        }

    @cached_property
    def neighbours(self) -> Mapping[tuple[Mark, SourceLine], tuple[object, ...]]:
        """Of each line of the diff, four lines above and below it, seven around its block, and the hunk's heading."""
        found: dict[tuple[Mark, SourceLine], tuple[object, ...]] = {}
        hunks = (pair for diff in self.diffs.values() for pair in zip(diff.headings, diff.hunks, strict=True))
        for heading, hunk in hunks:
            lines = [(one.path, one.mark, one.line, one.place) for one in hunk.values()]
            first = 0  # of the block
            for index, (_, mark, line, _) in enumerate(lines):
                first = first if mark != " " and lines[index - 1][1] != " " else index
                last = next((at for at in range(index, len(lines)) if lines[at][1] == " "), len(lines))
                block = (*lines[max(first - 7, 0) : first], *lines[last : last + 7])
                found[mark, line] = (*lines[max(index - 4, 0) : index + 5], "block", *block, heading)
        return found

    @cached_property
    def marks(self) -> Mapping[SourceLine, tuple[str, str, str]]:
        """The path, the mark and the place of each line of the diff."""
        return {
            one.line: (one.path, one.mark, one.place) for diff in self.diffs.values() for one in diff.lines.values()
        }

    @cached_property
    def texts(self) -> frozenset[str]:
        """The texts of the head and of the removed lines."""
        head = {line.text for lines in self.head.values() for line in lines}
        return frozenset(head | {one.line.text for one in self.changed})


class GeneratedPullRequest:
    """The files of the base and of the head. An unchanged line is the same object in both."""

    def __init__(self, random: Random, name: str, *, context: int = 3) -> None:
        self.random, self.name, self.context = random, name, context
        self.base: Files = {}
        self.head: Files = {}
        self.renamed: dict[str, str] = {}
        self.count = 0  # of generated lines, so that most lines are unique
        self.moved: set[SourceLine] = set()
        self.fixed: list[tuple[SourceLine, SourceLine]] = []  # a defect, and the line that replaced it
        self.versions: list[Version] = []
        self._diffs: dict[tuple[str, tuple[SourceLine, ...], tuple[SourceLine, ...]], FileDiff] = {}
        for number in range(random.randint(1, 4)):
            end = random.choice(LINE_ENDS)
            path = f"src/file_{number}.{random.choice(('py', 'go', 'ts'))}"
            self.base[path] = [line for _ in range(random.randint(2, 7)) for line in self._function(end)]
        self.head = {path: [*lines] for path, lines in self.base.items()}
        for _ in range(random.randint(1, 5)):
            self._add_lines(defects=random.randint(0, 1))
        self.save()

    def change(self) -> str:
        """Make one change to the head or the base, and return its name."""
        name = self.random.choice(OPERATIONS)
        before = {path: [*lines] for path, lines in self.head.items()}
        getattr(self, f"_{name.replace(' ', '_')}")()
        if not self.head or _texts(self.head) == _texts(self.base):
            self.head = before or {"src/file_0.py": self._function("\n")}
            self.renamed = {new: old for new, old in self.renamed.items() if new in self.head}
            self._add_lines()
            name = "add lines"
        return name

    def save(self) -> Version:
        """Return the present version. It has the SHA of an earlier one that is the same."""
        base = {path: tuple(lines) for path, lines in self.base.items()}
        head = {path: tuple(lines) for path, lines in self.head.items()}
        for old in self.versions:
            if (old.base, old.head, old.renamed) == (base, head, self.renamed):
                return old
        diffs: dict[str, FileDiff] = {}
        files: list[ChangedFile] = []
        for path in sorted({*base, *head}):
            old_path = self.renamed.get(path, path)
            if path in self.renamed.values() and path not in head:
                continue
            if path not in head and path not in base:
                continue
            one, other = base.get(old_path, ()), head.get(path, ())
            diff = self._diff(path, one, other)
            if not diff.patch and old_path == path:
                continue
            diffs[path] = diff
            status = "renamed" if old_path != path else "added" if not one else "removed" if not other else "modified"
            marks = Counter(line.mark for line in diff.lines.values())
            known = {"additions": marks["+"], "deletions": marks["-"], "patch": diff.patch or None}
            files.append(ChangedFile(path, old_path if old_path != path else None, status, **known))  # type: ignore[arg-type]
        sha = f"{self.name}{len(self.versions):020x}"
        self.versions.append(Version(sha, base, head, dict(self.renamed), diffs, tuple(files)))
        return self.versions[-1]

    def _diff(self, path: str, old: tuple[SourceLine, ...], new: tuple[SourceLine, ...]) -> FileDiff:
        key = (path, old, new)
        if key not in self._diffs:
            before, after = [line.text for line in old], [line.text for line in new]
            old_places, new_places = _find_places(old), _find_places(new)
            hunks: list[Mapping[tuple[Side, int], DiffLine]] = []
            headings: list[str] = []
            matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
            for group in matcher.get_grouped_opcodes(self.context) if before != after else ():
                lines: dict[tuple[Side, int], DiffLine] = {}
                for tag, i1, i2, j1, j2 in group:
                    mark: Mark = " " if tag == "equal" else "+"
                    for at in range(i1, i2) if mark == "+" else ():
                        lines["LEFT", at + 1] = DiffLine(path, "-", old[at], old_places[at])
                    for at in range(j1, j2):
                        lines["RIGHT", at + 1] = DiffLine(path, mark, new[at], new_places[at])
                hunks.append(lines)
                headings.append(_find_heading(before[: group[0][1]]))
            self._diffs[key] = FileDiff(tuple(hunks), tuple(headings), make_patch(before, after, context=self.context))
        return self._diffs[key]

    def defects(self) -> list[tuple[str, int]]:
        """The (path, index) of each defect that the head adds."""
        known = {line for lines in self.base.values() for line in lines}
        return [
            (path, index)
            for path, lines in self.head.items()
            for index, line in enumerate(lines)
            if line.severity and line not in known
        ]

    def _line(self, end: str = "\n", *, is_defect: bool = False) -> SourceLine:
        self.count += 1
        if is_defect:
            severity = self.random.choice(DEFECTS)
            return SourceLine(f"    value_{self.count} = compute({self.count})  # {DEFECT}{end}", severity)
        share, text = self.random.random(), f"    name_{self.count} = {self.count}"
        if share < 0.1:
            text = self.random.choice(ODD_TEXTS)
        elif share < 0.25:
            text = self.random.choice(COMMON_TEXTS)
        return SourceLine(f"{text}{end}")

    def _function(self, end: str = "\n") -> list[SourceLine]:
        self.count += 1
        body = [self._line(end) for _ in range(self.random.randint(3, 14))]
        return [SourceLine(f"def function_{self.count}(x):{end}"), *body, SourceLine(f"    return None{end}")]

    def _add_lines(self, *, defects: int = 0) -> None:
        path = self.random.choice(sorted(self.head))
        at = self.random.randint(0, len(self.head[path]))
        new = [self._line() for _ in range(self.random.randint(1, 12))]
        for _ in range(defects):
            new.insert(self.random.randint(0, len(new)), self._line(is_defect=True))
        self.head[path][at:at] = new

    def _add_a_defect(self) -> None:
        self._add_lines(defects=1)

    def _add_common_lines(self) -> None:
        path = self.random.choice(sorted(self.head))
        at = self.random.randint(0, len(self.head[path]))
        texts = [self.random.choice(COMMON_TEXTS) for _ in range(self.random.randint(1, 2))]
        self.head[path][at:at] = [SourceLine(f"{text}\n") for text in texts]

    def _add_a_function(self) -> None:
        path = self.random.choice(sorted(self.head))
        lines = self.head[path]
        starts = [index for index, line in enumerate(lines) if FUNCTION.match(line.text)]
        at = self.random.choice([*starts, len(lines)])
        lines[at:at] = self._function()

    def _fix_a_defect(self) -> None:
        found = self.defects()
        if not found:
            return self._add_lines()
        path, index = self.random.choice(found)
        line = self._line()
        self.fixed.append((self.head[path][index], line))
        self.head[path][index] = line
        return None

    def _repeat_a_fixed_defect(self) -> None:
        places = {line: (path, index) for path, lines in self.head.items() for index, line in enumerate(lines)}
        found = [(old, new) for old, new in self.fixed if new in places]
        if not found:
            return self._add_a_defect()
        old, new = self.random.choice(found)
        path, index = places[new]
        again = SourceLine(old.text, old.severity)
        if self.random.random() < 0.5:  # at its place
            self.head[path][index] = again
            return None
        other = self.random.choice(sorted(self.head))
        self.head[other].insert(self.random.randint(0, len(self.head[other])), again)
        return None

    def _edit_beside_a_defect(self) -> None:
        found = self.defects()
        if not found:
            return self._add_lines()
        path, index = self.random.choice(found)
        self.head[path].insert(index + self.random.randint(0, 1), self._line())
        return None

    def _take_run(self, most: int) -> tuple[str, int, list[SourceLine]]:
        """Remove lines of one function from the head: at most `most`, or a whole block of added lines.

        Return the path, the index of the first one and the lines.
        """
        known = {line for lines in self.base.values() for line in lines}
        found = self.defects() if self.random.random() < 0.6 else []
        if not found:
            found = [(path, index) for path, lines in self.head.items() for index in range(len(lines))]
        if not found:  # all files are empty
            return min(self.head), 0, []
        is_block = self.random.random() < 0.5
        if is_block:
            found = [(path, index) for path, index in found if self.head[path][index] not in known] or found
        path, index = self.random.choice(found)
        lines = self.head[path]

        def belongs(at: int) -> bool:
            return 0 <= at < len(lines) and not FUNCTION.match(lines[at].text) and not (is_block and lines[at] in known)

        if not belongs(index):
            return path, index, []
        first, last = index, index
        while belongs(first - 1) and (is_block or (self.random.random() < 0.5 and last - first + 1 < most)):
            first -= 1
        while belongs(last + 1) and (is_block or last - first + 1 < most):
            last += 1
        run = lines[first : last + 1]
        if len(run) == len(lines):
            return path, index, []
        del lines[first : last + 1]
        self.moved.update(run)
        return path, first, run

    def _move_a_line(self) -> None:
        path, start, run = self._take_run(1)
        self._insert(path, max(start + self.random.choice((-1, 1)), 0), run, start)

    def _move_lines(self) -> None:
        path, start, run = self._take_run(self.random.randint(1, 4))
        self._insert(path, max(start + self.random.choice((-6, -3, -2, 2, 3, 6)), 0), run, start)

    def _move_to_another_function(self) -> None:
        path, start, run = self._take_run(self.random.randint(1, 5))
        self._put(path, run, start)

    def _move_to_another_file(self) -> None:
        path, _, run = self._take_run(self.random.randint(1, 5))
        self._put(self.random.choice([one for one in sorted(self.head) if one != path] or [path]), run)

    def _put(self, path: str, run: list[SourceLine], start: int | None = None) -> None:
        """Insert lines anywhere in a file, perhaps with one more or one fewer. See `_insert`."""
        change = self.random.choice(("none", "none", "one more", "one fewer"))
        if run and change == "one more":
            run.insert(self.random.randint(0, len(run)), self._line())
        elif len(run) > 1 and change == "one fewer":
            run.pop(self.random.randrange(len(run)))
        self._insert(path, self.random.randint(0, len(self.head[path])), run, start)

    def _insert(self, path: str, at: int, run: list[SourceLine], start: int | None) -> None:
        """Insert lines that were at the index `start` of the file, or in another file.

        If two blocks change places, nobody can tell which of them was moved.
        """
        lines = self.head[path]
        if start is not None and run:
            self.moved.update(lines[min(at, start) : max(at, start)])
        lines[at:at] = run

    def _edit_the_base(self) -> None:
        """Insert, replace or delete lines anywhere in the base; the head is rebased onto it."""
        heads = {self.renamed.get(path, path): path for path in self.head}
        for path in self.base:
            if path not in heads or self.random.random() < 0.4:
                continue
            old, new = self.base[path], self.head[heads[path]]
            for _ in range(self.random.randint(1, 2)):
                at = self.random.randint(0, len(old))
                after = old[at] if at < len(old) else None
                if after is not None and after not in new:
                    continue  # a conflict, which the author would have to resolve
                index = new.index(after) if after is not None else len(new)
                how = self.random.choice(("insert", "insert", "replace", "delete"))
                lines = [self._line() for _ in range(self.random.randint(1, 4))] if how != "delete" else []
                is_kept = after is None or how == "insert" or FUNCTION.match(after.text) is not None
                old[at : at + (not is_kept)] = lines
                new[index : index + (not is_kept)] = lines

    def _merge_the_base(self) -> None:
        self._edit_the_base()
        self.count += 1
        added = [self._line()]
        self.base[f"base_{self.count}.py"], self.head[f"base_{self.count}.py"] = added, [*added]

    def _revert_a_change(self) -> None:
        path = self.random.choice(sorted(self.head))
        old, new = self.base.get(self.renamed.get(path, path)), self.head[path]
        if old is None:
            return self._add_lines()
        matcher = difflib.SequenceMatcher(None, [x.text for x in old], [x.text for x in new], autojunk=False)
        changed = [code for code in matcher.get_opcodes() if code[0] != "equal"]
        if changed:
            _, i1, i2, j1, j2 = self.random.choice(changed)
            kept = {line for lines in self.head.values() for line in lines} - {*new[j1:j2]}
            if kept.isdisjoint(old[i1:i2]):  # else the lines were moved
                new[j1:j2] = old[i1:i2]
        return None

    def _return_to_an_older_commit(self) -> None:
        old = self.random.choice(self.versions)
        self.moved.update(line for lines in old.head.values() for line in lines)
        self.base = {path: [*lines] for path, lines in old.base.items()}
        self.head = {path: [*lines] for path, lines in old.head.items()}
        self.renamed = dict(old.renamed)

    def _rename_a_file(self) -> None:
        path = self.random.choice(sorted(self.head))
        if path in self.renamed or path not in self.base or len(self.base) < 2:
            return self._add_lines()
        self.count += 1
        new = path.replace(".", f"_{self.count}.")
        self.head[new], self.renamed[new] = self.head.pop(path), path
        return None

    def _rename_and_change(self) -> None:
        self._rename_a_file()
        self.random.choice((self._add_a_defect, self._fix_a_defect, self._move_lines))()

    def _add_a_file(self) -> None:
        self.count += 1
        body = [self._line(is_defect=self.random.random() < 0.2) for _ in range(9)]
        self.head[f"src/new_{self.count}.py"] = [*self._function(), *self._function()[:1], *body]

    def _delete_a_file(self) -> None:
        if len(self.head) > 1:
            path = self.random.choice(sorted(self.head))
            self.head.pop(path)
            self.renamed.pop(path, None)

    def _nothing(self) -> None:
        pass


def _texts(files: Files) -> Mapping[str, Sequence[str]]:
    return {path: [line.text for line in lines] for path, lines in files.items()}


def _find_places(lines: Sequence[SourceLine]) -> list[str]:
    found, place = [], ""
    for line in lines:
        start = FUNCTION.match(line.text)
        place = start[0] if start else place
        found.append(place)
    return found


def make_patch(old: list[str], new: list[str], *, context: int) -> str:
    """Return the patch of a file as GitHub shows it: without the lines that name the file."""
    lines = [line.removesuffix("\n") for line in difflib.unified_diff(old, new, n=context, lineterm="\n")]
    return "\n".join(_with_heading(line, old) if line.startswith("@@ ") else line for line in lines[2:])


def _with_heading(header: str, old: list[str]) -> str:
    start, _, length = header.split()[1].lstrip("-").partition(",")
    above = int(start) - (length != "0")  # git names the line above if the hunk has no old line
    return f"{header} {_find_heading(old[:above])}".rstrip()


def _find_heading(above: list[str]) -> str:
    """Return the last of the lines above a hunk that begins with a letter, as git does."""
    return next((line.rstrip()[:80] for line in reversed(above) if line[0].isalpha() or line[0] in "_$"), "")
