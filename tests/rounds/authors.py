"""The author of a pull request with faults, whose pushes edit the files of base and head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Literal

from hls_handler.analysis import Severity
from tests.rounds.code import (
    EXTENSIONS,
    FAULTY,
    GUARD,
    WORDS,
    Fault,
    Files,
    Place,
    comment_mark,
    find_calls,
    find_faults,
    find_function,
    list_functions,
    make_fault,
    make_function,
    make_line,
)

Kind = Literal["right fix", "wrong fix", "other"]
Where = Literal["line", "above", "top"]
SEVERITIES: tuple[Severity, ...] = ("critical", "high", "high", "medium")

GUARD_LINE = "    require(is_signed({argument}))"
TEXTS: Mapping[str, tuple[Where, str]] = {
    "fix the line": ("line", "    {fix}"),
    "delete the line": ("line", ""),
    "guard above": ("above", GUARD_LINE),
    "guard at the beginning": ("top", GUARD_LINE),
    "guard wrongly above": ("above", "    require(len({argument}) < {random})"),
    "guard wrongly at the beginning": ("top", "    require(len({argument}) < {random})"),
    "make the line strict": ("line", "    total_{number} = str({value})"),
    "give the line a default": ("line", "    total_{number} = {value} or {random}"),
    "split the line": ("line", "    {name}(\n        {argument},\n    )"),
    "comment beside": ("above", "    {mark} {argument} was checked, see {random}"),
    "add an odd line": ("above", "    odd_{random} = 'tab\there\x0cform\u2028line'  \r"),
}
"""Edits that replace the line of a fault, or add lines above it or at the top of its function."""

EDITS: Mapping[Kind, Mapping[str, int]] = {
    "right fix": {
        "fix the line": 5,
        "guard above": 3,
        "guard at the beginning": 2,
        "guard in another file": 2,
        "delete the line": 4,
        "comment the line out": 1,
        "delete the function": 2,
        "delete the file": 1,
        "revert the line": 4,
        "revert the file": 2,
    },
    "wrong fix": {
        "make the line strict": 3,
        "give the line a default": 2,
        "guard wrongly above": 2,
        "guard wrongly at the beginning": 1,
        "add a test": 2,
        "comment beside": 1,
    },
    "other": {
        "append a comment": 1,
        "split the line": 1,
        "add an odd line": 1,
        "indent the file anew": 1,
        "rename the variable": 1,
        "move within the file": 2,
        "move to another file": 2,
        "move to a new file": 1,
        "split the file": 2,
        "rename the file": 2,
        "edit the same file": 3,
        "edit another file": 6,
        "add a fault": 2,
        "rebase": 3,
        "return to the push before": 2,
        "return to an older push": 1,
        "remove a guard": 4,
        "replace a guard": 2,
        "move a function without its guard": 2,
        "add a guarded fault": 3,
    },
}
"""The edits by kind, and how often each is made."""

WEIGHTS = {(kind, name): often for kind, edits in EDITS.items() for name, often in edits.items()}
UNTARGETED = frozenset([*EDITS["other"]][11:])
"""The edits that are not made to a fault, or to its function or file."""


@dataclass(frozen=True, slots=True)
class Edit:
    text: str  # "fix the line 17"
    kind: Kind = "other"
    number: int = 0  # of the fault that it is meant for; 0: none


@dataclass(frozen=True, slots=True)
class State:
    base: Files
    head: Files


@dataclass
class Author:
    """The author of a pull request. `save` ends a push."""

    random: Random
    base: Files = field(default_factory=dict)
    head: Files = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)  # path in the head -> path in the base
    faults: dict[int, Fault] = field(default_factory=dict)  # by number
    pushed: list[State] = field(default_factory=list)
    count: int = 0  # of functions and files

    def __post_init__(self) -> None:
        for _ in range(self.random.randint(2, 4)):
            self._add_a_file()
        self.base = _copy(self.head)
        for _ in range(self.random.randint(1, 3)):
            self._add_a_fault()
        self._edit_another_file()
        self.save()

    def push(self) -> list[Edit]:
        """Make one or two edits, of which at least one has an effect."""
        made = [self._edit() for _ in range(self.random.choice((1, 1, 2)))]
        last = self.pushed[-1]
        if (self.base, self.head) in ((last.base, last.head), (self.base, self.base)):
            made.append(Edit(self._edit_another_file()))
        self.save()
        return made

    def save(self) -> None:
        self.pushed.append(State(_copy(self.base), _copy(self.head)))

    def _edit(self) -> Edit:
        kind, name = self.random.choices([*WEIGHTS], [*WEIGHTS.values()])[0]
        if name in TEXTS:
            method: Callable[..., str] = partial(self._write, name)
        else:
            method = getattr(self, f"_{name.replace(' ', '_')}")
        if name in UNTARGETED:
            return Edit(method() or self._edit_another_file())
        chosen = self._choose()
        if chosen is None:
            return Edit(self._edit_another_file())
        fault, place, at = chosen
        details = method(fault, place, at) or name
        self.head = {path: lines for path, lines in self.head.items() if lines}
        return Edit(f"{details} {fault.number}", kind, fault.number)

    def _write(self, name: str, fault: Fault, place: Place, at: int) -> str:
        where, text = TEXTS[name]
        start = place.start + 1 if where == "top" else at
        end = self._end(fault, place, at) if where == "line" else start
        number, mark = self.random.randint(1, 999), comment_mark(place.path)
        words = {"fix": fault.fix, "argument": fault.argument, "number": fault.number}
        assigned, _, value = fault.code.partition(" = ")
        words |= {"value": value, "name": f"{assigned} = {value.partition('(')[0]}"}
        new = text.format(**words, random=number, mark=mark)
        self._replace(place.path, start, end, new.split("\n") if new else [])
        return name

    def _choose(self) -> tuple[Fault, Place, int] | None:
        """Return a fault that can occur, its function and the index of its line in the file."""
        present = find_faults(self.head)
        found: list[tuple[int, str]] = []
        for path, lines in self.head.items():
            found += [(number, path) for number in find_calls(FAULTY, lines) if number in present]
        if not found:
            return None
        number, path = self.random.choice(found)
        lines = self.head[path]
        at = find_calls(FAULTY, lines)[number]
        start = max((index for index in range(at + 1) if not lines[index]), default=-1) + 1
        end = next((index for index in range(at, len(lines)) if not lines[index]), len(lines))
        return self.faults[number], Place(path, start, end), at

    def _new(self) -> int:
        self.count += 1
        return self.count

    def _path(self, *, other_than: str = "") -> str:
        paths = [path for path in self.head if path != other_than and not path.startswith("tests/")]
        return self.random.choice(paths) if paths else self._add_a_file()

    def _add_a_file(self) -> str:
        number = self._new()
        path = f"src/{self.random.choice(WORDS)}_{number}.{self.random.choice(EXTENSIONS)}"
        for _ in range(self.random.randint(2, 6)):
            number = self._new()
            fault = self._make_fault(number)
            line = fault.fix if number % 2 else None
            self._append(path, make_function(self.random, path, number, line))
        return path

    def _make_fault(self, number: int) -> Fault:
        fault = make_fault(self.random, number, self.random.choice(SEVERITIES))
        self.faults[number] = fault
        return fault

    def _append(self, path: str, function: list[str]) -> None:
        lines = self.head.setdefault(path, [])
        lines += ["", *function] if lines else function

    def _add_a_fault(self) -> str:
        """Make a line of the base faulty, or add a faulty line to a function, or a faulty
        function.
        """
        path = self._path()
        faulty = find_calls(FAULTY, self.head[path])
        own = [number for number in list_functions(self.head[path]) if number in self.faults]
        free = [number for number in own if number not in faulty]
        if not free or self.random.random() < 0.3:
            number = self._new()
            fault = self._make_fault(number)
            self._append(path, make_function(self.random, path, number, fault.code))
            return f"add a faulty function {number}"
        number = self.random.choice(free)
        fault, place, lines = self.faults[number], find_function(self.head, number), self.head[path]
        if place is None or place.path != path:
            return ""
        fixed = [at for at in range(place.start, place.end) if fault.fix in lines[at]]
        if fixed:
            lines[fixed[0]] = lines[fixed[0]].replace(fault.fix, fault.code)
        else:
            lines.insert(self.random.randint(place.start + 1, place.end - 1), f"    {fault.code}")
        return f"add a faulty line {number}"

    def _replace(self, path: str, start: int, end: int, new: list[str]) -> None:
        self.head[path][start:end] = new

    def _end(self, fault: Fault, place: Place, at: int) -> int:
        """Return the index after the last line of a call, which may be on several lines."""
        lines = self.head[place.path]
        return next(index for index in range(at, place.end) if ")" in lines[index]) + 1

    def _guard_in_another_file(self, fault: Fault, place: Place, at: int) -> None:
        path = self._path(other_than=place.path)
        guard = f"require_signed({fault.argument})"
        function = make_function(self.random, path, self._new(), guard)
        self._append(path, function)

    def _comment_the_line_out(self, fault: Fault, place: Place, at: int) -> None:
        end = self._end(fault, place, at)
        mark = comment_mark(place.path)
        lines = [f"    {mark} {line.strip()}" for line in self.head[place.path][at:end]]
        self._replace(place.path, at, end, lines)

    def _delete_the_function(self, fault: Fault, place: Place, at: int) -> None:
        self._cut(place)

    def _cut(self, place: Place) -> list[str]:
        """Remove a function with the blank line beside it, and return its lines."""
        lines = self.head[place.path]
        function = lines[place.start : place.end]
        if place.start:
            del lines[place.start - 1 : place.end]
        else:
            del lines[place.start : place.end + 1]
        return function

    def _delete_the_file(self, fault: Fault, place: Place, at: int) -> None:
        del self.head[place.path]
        self.renamed.pop(place.path, None)

    def _revert_the_line(self, fault: Fault, place: Place, at: int) -> None:
        """Make the line as in the base: as it was, or gone."""
        base = find_function(self.base, fault.number)
        lines = self.base[base.path][base.start : base.end] if base else []
        was = [line for line in lines if fault.fix in line]
        self._replace(place.path, at, self._end(fault, place, at), was)

    def _revert_the_file(self, fault: Fault, place: Place, at: int) -> None:
        was = self.base.get(self.renamed.get(place.path, place.path))
        if was is None:
            return self._delete_the_file(fault, place, at)
        self.head[place.path] = [*was]
        return None

    def _add_a_test(self, fault: Fault, place: Place, at: int) -> None:
        path = f"tests/test_{self._new()}.py"
        name = f"total_{fault.number}"
        self.head[path] = [f"def test_{name}():", f"    assert {name} is not None"]

    def _append_a_comment(self, fault: Fault, place: Place, at: int) -> None:
        number = self.random.randint(1, 999)
        self.head[place.path][at] += f"  {comment_mark(place.path)} reviewed {number}"

    def _indent_the_file_anew(self, fault: Fault, place: Place, at: int) -> None:
        lines = self.head[place.path]
        if any(line.startswith("    ") for line in lines):
            self.head[place.path] = [line.replace("    ", "  ") for line in lines]
        else:
            self.head[place.path] = [line.replace("  ", "    ") for line in lines]

    def _rename_the_variable(self, fault: Fault, place: Place, at: int) -> None:
        lines, new = self.head[place.path], f"{self.random.choice(WORDS)}_{fault.number} ="
        lines[at] = lines[at].replace(f"total_{fault.number} =", new)

    def _move_within_the_file(self, fault: Fault, place: Place, at: int) -> None:
        function = self._cut(place)
        lines = self.head[place.path]
        if self.random.random() < 0.5 or not lines:
            self._append(place.path, function)
        else:
            lines[:0] = [*function, ""]

    def _move_to_another_file(self, fault: Fault, place: Place, at: int) -> str:
        same = [path for path in self.head if path != place.path and path[-3:] == place.path[-3:]]
        if not same:
            return self._move_to_a_new_file(fault, place, at)
        path = self.random.choice(same)
        self._append(path, self._cut(place))
        return f"move to {path}:"

    def _move_to_a_new_file(self, fault: Fault, place: Place, at: int) -> str:
        path = f"src/moved_{self._new()}.{place.path.rpartition('.')[2]}"
        self._append(path, self._cut(place))
        return f"move to {path}:"

    def _split_the_file(self, fault: Fault, place: Place, at: int) -> str:
        """Move the second half of the functions to a new file."""
        path = f"src/split_{self._new()}.{place.path.rpartition('.')[2]}"
        numbers = list_functions(self.head[place.path])
        for number in numbers[len(numbers) // 2 :]:
            one = find_function({place.path: self.head[place.path]}, number)
            assert one is not None
            self._append(path, self._cut(one))
        return f"split {place.path} into {path}:"

    def _rename_the_file(self, fault: Fault, place: Place, at: int) -> str:
        path = f"src/renamed_{self._new()}.{place.path.rpartition('.')[2]}"
        self.head[path] = self.head.pop(place.path)
        self.renamed[path] = self.renamed.pop(place.path, place.path)
        if self.random.random() < 0.5:
            lines, number = self.head[path], list_functions(self.head[path])[0]
            lines.insert(1, make_line(self.random, number))
        return f"rename {place.path} to {path}:"

    def _edit_another_file(self) -> str:
        faulty = find_faults(self.head)
        paths: list[str] = []
        for path, lines in self.head.items():
            if not path.startswith("tests/") and not faulty & find_calls(FAULTY, lines).keys():
                paths.append(path)
        path = self.random.choice(paths) if paths else self._add_a_file()
        numbers = [0, *list_functions(self.head[path])]
        number = self.random.choice(numbers[1:] or numbers)
        place = find_function({path: self.head[path]}, number)
        if place is None:
            self._add_a_file()
            return "add a file"
        at = self.random.randint(place.start + 1, place.end - 1)
        new = [make_line(self.random, 0) for _ in range(self.random.randint(1, 4))]
        self._replace(path, at, at, new)
        return f"edit {path}"

    def _edit_the_same_file(self, fault: Fault, place: Place, at: int) -> None:
        one = find_function(self.head, self.random.choice(list_functions(self.head[place.path])))
        if one is not None:
            at = self.random.randint(one.start + 1, one.end - 1)
            self._replace(one.path, at, at, [make_line(self.random, 0)])

    def _rebase(self) -> str:
        """Add lines to the base, and to the head at the same places."""
        for path in [*self.base]:
            number = self.random.choice(list_functions(self.base[path]))
            new = [make_line(self.random, 0) for _ in range(self.random.randint(1, 5))]
            for files in (self.base, self.head):
                place = find_function(files, number)
                if place is not None:
                    files[place.path][place.start + 1 : place.start + 1] = new
        return "rebase"

    def _return_to_the_push_before(self) -> str:
        return self._return_to(self.pushed[-2]) if len(self.pushed) > 1 else ""

    def _return_to_an_older_push(self) -> str:
        return self._return_to(self.random.choice(self.pushed))

    def _return_to(self, state: State) -> str:
        self.base, self.head = _copy(state.base), _copy(state.head)
        self.renamed = {path: was for path, was in self.renamed.items() if path in self.head}
        return f"return to push {self.pushed.index(state)}"

    def _remove_a_guard(self) -> str:
        found = self._choose_a_guard()
        if found is None:
            return ""
        path, at, number = found
        del self.head[path][at]
        return f"remove the guard of {number}"

    def _choose_a_guard(self) -> tuple[str, int, int] | None:
        """Return path and index of the line of a guard, and the number of its fault."""
        found: list[tuple[str, int, int]] = []
        for path, lines in self.head.items():
            found += [(path, at, number) for number, at in find_calls(GUARD, lines).items()]
        return self.random.choice(found) if found else None

    def _replace_a_guard(self) -> str:
        found = self._choose_a_guard()
        if found is None:
            return ""
        path, at, number = found
        self.head[path][at] = f"    log({self.faults[number].argument})"
        return f"log instead of the guard of {number}"

    def _move_a_function_without_its_guard(self) -> str:
        found = self._choose_a_guard()
        if found is None:
            return ""
        path, at, number = found
        lines = self.head[path]
        start = max((index for index in range(at) if not lines[index]), default=-1) + 1
        end = next((index for index in range(at, len(lines)) if not lines[index]), len(lines))
        del lines[at]
        self._append(path, self._cut(Place(path, start, end - 1)))
        return f"move the function of the guard of {number} without it"

    def _add_a_guarded_fault(self) -> str:
        """Add a faulty function and, in any file, the guard that makes it safe."""
        path, number = self._path(), self._new()
        fault = self._make_fault(number)
        self._append(path, make_function(self.random, path, number, fault.code))
        other = self._path()
        guard = f"require_signed({fault.argument})"
        self._append(other, make_function(self.random, other, self._new(), guard))
        return f"add the guarded fault {number}"


def _copy(files: Files) -> Files:
    return {path: [*lines] for path, lines in files.items()}
