"""What a prompt is made of: its front matter and its files as they were read, and where two prompts differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from hls_handler.prompting.folder import COMMENT_SUFFIX, FENCE, SHARED_COMMENT, SUFFIX, Source

IN_SHIPPED = "the shipped library"
NOTHING = "/dev/null"
NO_NEWLINE = "\n\\ No newline at end of file"


@dataclass(frozen=True, slots=True)
class Makeup:
    """One prompt of a library. Each file stands for all that its hash is made from."""

    name: str  # "issues/analyze"
    front: str  # the front matter as written, without its fences
    front_file: str  # where it stands: a shipped file, if the prompt's own has none
    sources: tuple[Source, ...]  # its own file first, then what it uses; then its comment's, and what that uses

    @property
    def template(self) -> Source:
        return self.sources[0]

    @property
    def numbered_front(self) -> Iterator[tuple[int, str]]:
        """The lines of the front matter, with their numbers in the file where it stands."""
        return enumerate(self.front.split("\n"), start=2)

    @property
    def numbered_template(self) -> Iterator[tuple[int, str]]:
        """The lines below the front matter, with their numbers in the file."""
        above = 0 if self.template.front is None else len(self.template.front.split("\n")) + 2
        lines = self.template.text.removesuffix("\n").split("\n")
        return ((number, line) for number, line in enumerate(lines, start=1) if number > above)

    def role(self, source: Source) -> str:
        """What a file is to the prompt: ".j2" for its own, ".comment.md.j2" for its comment's, else the file's name."""
        if source is self.template:
            return SUFFIX
        return COMMENT_SUFFIX if source.name in (f"{self.name}{COMMENT_SUFFIX}", SHARED_COMMENT) else source.name


def origin(makeup: Makeup, shipped: Path) -> str:
    """Where a prompt is from: "lib/issues/analyze.j2, your own; from the shipped library: front matter, base.j2"."""
    home = _home(makeup.template, shipped)
    front = Source(makeup.template.name, makeup.front_file, text="", front=None, template="")
    parts = [("front matter", front)] + [
        ("comment" if makeup.role(source) == COMMENT_SUFFIX else source.name, source) for source in makeup.sources
    ]
    others: dict[str, list[str]] = {}
    for part, source in parts:
        there = _home(source, shipped)
        if there != home:
            others.setdefault("your own" if home == IN_SHIPPED else f"from {there}", []).append(part)
    told = [f"{there}: {', '.join(names)}" for there, names in others.items()]
    return "; ".join(
        [f"{makeup.template.file}, {'in the shipped library' if home == IN_SHIPPED else 'your own'}", *told]
    )


def differences(old: Makeup, new: Makeup) -> list[str]:
    """A unified diff over all files of two prompts, line by line; [] where nothing differs.

    The two templates are held against each other, and the two comments, whatever they are called; all else goes by
    its name. A template that takes its front matter from elsewhere is compared with it on top.
    """
    before, after = dict(_documents(old)), dict(_documents(new))
    return [line for key in dict.fromkeys([*before, *after]) for line in _diff(before.get(key), after.get(key))]


def _home(source: Source, shipped: Path) -> str:
    """The folder of a library that a file stands in, in words."""
    if Path(source.file).resolve().is_relative_to(shipped.resolve()):
        return IN_SHIPPED
    return source.file.removesuffix(source.name).rstrip("/") or "/"


def _documents(makeup: Makeup) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each file's role, and how it is called and what it says in a diff."""
    for source in makeup.sources:
        label, text = source.file, source.text
        if source is makeup.template and source.front is None:
            label = f"{source.file} (front matter of {makeup.front_file})"
            text = f"{FENCE}\n{makeup.front}\n{FENCE}\n{source.text}"
        yield makeup.role(source), (label, text)


def _diff(old: tuple[str, str] | None, new: tuple[str, str] | None) -> list[str]:
    (old_file, old_text), (new_file, new_text) = old or (NOTHING, ""), new or (NOTHING, "")
    lines = list(unified_diff(_lines(old_text), _lines(new_text), old_file, new_file, lineterm=""))
    if not lines and (old is None or new is None):  # an empty file
        return [f"--- {old_file}", f"+++ {new_file}"]
    return lines


def _lines(text: str) -> list[str]:
    """The lines of a file; the last one says so if it has no end."""
    *lines, last = text.split("\n")
    return [*lines, f"{last}{NO_NEWLINE}"] if last else lines
