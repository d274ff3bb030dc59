"""Generated pull requests: files with planted defects, and the changes that authors make to them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from random import Random

from hls_handler.handlers.reader import ChangedFile

DEFECT = "defect"
"""A line with this word is wrong: the fake reviewer reports it."""

LINE_ENDS = ("\n", "\n", "\n", "\n", "\r\n")
ODD_TEXTS = ("form\x0cfeed = 1", "line\u2028separator = 2", "tab\there = 3", "trailing = 4   ", "", "}")

OPERATIONS = (
    "add lines",
    "add a defect",
    "fix a defect",
    "edit beside a defect",
    "rebase",
    "merge the base",
    "revert a change",
    "rename a file",
    "add a file",
    "delete a file",
    "nothing",
)


@dataclass
class GeneratedPullRequest:
    """The files of the base and of the head as lists of lines with their line ends."""

    random: Random
    base: dict[str, list[str]] = field(default_factory=dict)
    head: dict[str, list[str]] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)  # new path -> old path
    count: int = 0  # of generated lines, so that most lines are unique
    context: int = 3

    def __post_init__(self) -> None:
        for number in range(self.random.randint(1, 4)):
            end = self.random.choice(LINE_ENDS)
            path = f"src/file_{number}.{self.random.choice(('py', 'go', 'ts'))}"
            self.base[path] = [self._line(end) for _ in range(self.random.randint(8, 90))]
        self.head = {path: [*lines] for path, lines in self.base.items()}
        for _ in range(self.random.randint(1, 5)):
            self._add_lines(defects=self.random.randint(0, 1))

    def change(self) -> str:
        """Make one change to the head or the base, and return its name."""
        name = self.random.choice(OPERATIONS)
        before = {path: [*lines] for path, lines in self.head.items()}
        getattr(self, f"_{name.replace(' ', '_')}")()
        if not self.head or self.head == self.base:
            self.head = before or {"src/file_0.py": ["only = 1\n"]}
            self._add_lines()
            name = "add lines"
        return name

    def files(self) -> tuple[ChangedFile, ...]:
        """The changed files as GitHub lists them, with patches of GitHub's form."""
        found = []
        for path in sorted({*self.base, *self.head}):
            old_path = self.renamed.get(path, path)
            if path in self.renamed.values() and path not in self.head:
                continue
            old, new = self.base.get(old_path, []), self.head.get(path, [])
            if old == new and old_path == path:
                continue
            patch = make_patch(old, new, context=self.context)
            status = "renamed" if old_path != path else "added" if not old else "removed" if not new else "modified"
            lines = patch.split("\n") if patch else []
            found.append(
                ChangedFile(
                    path,
                    old_path if old_path != path else None,
                    status,
                    additions=sum(line.startswith("+") for line in lines),
                    deletions=sum(line.startswith("-") for line in lines),
                    patch=patch or None,
                )
            )
        return tuple(found)

    def accepted_lines(self, path: str) -> list[dict[tuple[str, int], str]]:
        """For each hunk of a file, the text of each (side, line) at which GitHub accepts a comment.

        This does not use the patch, but the two versions of the file.
        """
        old, new = self.base.get(self.renamed.get(path, path), []), self.head.get(path, [])
        hunks: list[dict[tuple[str, int], str]] = []
        for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(self.context):
            lines: dict[tuple[str, int], str] = {}
            for tag, i1, i2, j1, j2 in group:
                if tag in ("delete", "replace"):
                    lines |= {("LEFT", index + 1): old[index].rstrip("\n") for index in range(i1, i2)}
                lines |= {("RIGHT", index + 1): new[index].rstrip("\n") for index in range(j1, j2)}
            hunks.append(lines)
        return hunks

    def defects(self) -> list[tuple[str, int]]:
        """The (path, index) of each defect that the head adds."""
        return [
            (path, index)
            for path, lines in self.head.items()
            for index, line in enumerate(lines)
            if DEFECT in line and line not in self.base.get(self.renamed.get(path, path), [])
        ]

    def _line(self, end: str = "\n", *, is_defect: bool = False) -> str:
        self.count += 1
        if is_defect:
            return f"    value_{self.count} = compute({self.count})  # {DEFECT}{end}"
        text = self.random.choice(ODD_TEXTS) if self.random.random() < 0.1 else f"    name_{self.count} = {self.count}"
        return f"{text}{end}"

    def _add_lines(self, *, defects: int = 0) -> None:
        path = self.random.choice(sorted(self.head))
        at = self.random.randint(0, len(self.head[path]))
        new = [self._line() for _ in range(self.random.randint(1, 12))]
        for _ in range(defects):
            new.insert(self.random.randint(0, len(new)), self._line(is_defect=True))
        self.head[path][at:at] = new

    def _add_a_defect(self) -> None:
        self._add_lines(defects=1)

    def _fix_a_defect(self) -> None:
        found = self.defects()
        if not found:
            return self._add_lines()
        path, index = self.random.choice(found)
        self.head[path][index] = self._line()
        return None

    def _edit_beside_a_defect(self) -> None:
        found = self.defects()
        if not found:
            return self._add_lines()
        path, index = self.random.choice(found)
        self.head[path].insert(index, self._line())
        return None

    def _rebase(self) -> None:
        self._change_base(0)

    def _merge_the_base(self) -> None:
        self._change_base(self.random.randint(0, 3))

    def _change_base(self, at: int) -> None:
        for path in self.base:
            if path in self.head and self.base[path][:at] == self.head[path][:at]:
                new = [self._line() for _ in range(self.random.randint(1, 9))]
                self.base[path][at:at] = new
                self.head[path][at:at] = new
        added = [self._line()]
        self.base[f"base_{self.count}.py"], self.head[f"base_{self.count}.py"] = added, [*added]

    def _revert_a_change(self) -> None:
        path = self.random.choice(sorted(self.head))
        old = self.base.get(self.renamed.get(path, path))
        if old is None:
            return self._add_lines()
        codes = difflib.SequenceMatcher(None, old, self.head[path], autojunk=False).get_opcodes()
        changed = [code for code in codes if code[0] != "equal"]
        if changed:
            _, i1, i2, j1, j2 = self.random.choice(changed)
            self.head[path][j1:j2] = old[i1:i2]
        return None

    def _rename_a_file(self) -> None:
        path = self.random.choice(sorted(self.head))
        if path in self.renamed or path not in self.base or len(self.base) < 2:
            return self._add_lines()
        new = path.replace(".", f"_{self.count}.")
        self.head[new], self.renamed[new] = self.head.pop(path), path
        return None

    def _add_a_file(self) -> None:
        self.head[f"src/new_{self.count}.py"] = [self._line(is_defect=self.random.random() < 0.2) for _ in range(9)]

    def _delete_a_file(self) -> None:
        if len(self.head) > 1:
            path = self.random.choice(sorted(self.head))
            self.head.pop(path)
            self.renamed.pop(path, None)

    def _nothing(self) -> None:
        pass


def make_patch(old: list[str], new: list[str], *, context: int) -> str:
    """Return the patch of a file as GitHub shows it: without the lines that name the file."""
    lines = [line.removesuffix("\n") for line in difflib.unified_diff(old, new, n=context, lineterm="\n")]
    return "\n".join(lines[2:])
