"""Source files of a prompt, and the diff of two prompts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from hls_handler.prompting.folder import COMMENT_SUFFIX, FENCE, SHARED_COMMENT, SUFFIX, SourceFile

SHIPPED_LIBRARY = "the shipped library"
NO_FILE = "/dev/null"
NO_NEWLINE = "\n\\ No newline at end of file"


@dataclass(frozen=True, slots=True)
class PromptSources:
    """Front matter and source files of one prompt: everything that the hash in its id covers."""

    name: str  # "issues/analyze"
    front: str  # the front matter as written, without the fences
    front_file: str  # file of the front matter: a shipped file if the author's file has none
    sources: tuple[
        SourceFile, ...
    ]  # template, then the templates it uses; comment template, then the templates it uses

    @property
    def template(self) -> SourceFile:
        return self.sources[0]

    @property
    def numbered_front(self) -> Iterator[tuple[int, str]]:
        """The lines of the front matter, with their numbers in `front_file`."""
        return enumerate(self.front.split("\n"), start=2)

    @property
    def numbered_template(self) -> Iterator[tuple[int, str]]:
        """The lines below the front matter, with their numbers in the file."""
        front_lines = 0 if self.template.front is None else len(self.template.front.split("\n")) + 2
        lines = self.template.text.removesuffix("\n").split("\n")
        return ((number, line) for number, line in enumerate(lines, start=1) if number > front_lines)

    def role(self, source: SourceFile) -> str:
        """Return the role of a file: ".j2" (template), ".comment.md.j2" (comment template), or the name of a part."""
        if source is self.template:
            return SUFFIX
        return COMMENT_SUFFIX if source.name in (f"{self.name}{COMMENT_SUFFIX}", SHARED_COMMENT) else source.name


def origin(makeup: PromptSources, shipped: Path) -> str:
    """Describe the origin of a prompt's files: "lib/issues/analyze.j2, your own; from the shipped library: base.j2"."""
    home = _library_of(makeup.template, shipped)
    front = SourceFile(makeup.template.name, makeup.front_file, text="", front=None, template="")
    parts = [("front matter", front)] + [
        ("comment" if makeup.role(source) == COMMENT_SUFFIX else source.name, source) for source in makeup.sources
    ]
    others: dict[str, list[str]] = {}
    for part, source in parts:
        folder = _library_of(source, shipped)
        if folder != home:
            others.setdefault("your own" if home == SHIPPED_LIBRARY else f"from {folder}", []).append(part)
    elsewhere = [f"{folder}: {', '.join(names)}" for folder, names in others.items()]
    return "; ".join(
        [f"{makeup.template.file}, {'in the shipped library' if home == SHIPPED_LIBRARY else 'your own'}", *elsewhere]
    )


def diff_prompts(old: PromptSources, new: PromptSources) -> list[str]:
    """Return a unified diff of all files of two prompts, as lines; [] if they are equal.

    The two templates are compared with each other, and so are the two comments, whatever their file names; parts are
    compared by name. If the front matter is in another file, it is put above the template first.
    """
    before, after = dict(_diffable_files(old)), dict(_diffable_files(new))
    return [line for key in dict.fromkeys([*before, *after]) for line in _diff(before.get(key), after.get(key))]


def _library_of(source: SourceFile, shipped: Path) -> str:
    """Return the library folder of a file, or "the shipped library"."""
    if Path(source.file).resolve().is_relative_to(shipped.resolve()):
        return SHIPPED_LIBRARY
    return source.file.removesuffix(source.name).rstrip("/") or "/"


def _diffable_files(makeup: PromptSources) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each file as (role, (label in the diff, text))."""
    for source in makeup.sources:
        label, text = source.file, source.text
        if source is makeup.template and source.front is None:
            label = f"{source.file} (front matter of {makeup.front_file})"
            text = f"{FENCE}\n{makeup.front}\n{FENCE}\n{source.text}"
        yield makeup.role(source), (label, text)


def _diff(old: tuple[str, str] | None, new: tuple[str, str] | None) -> list[str]:
    (old_file, old_text), (new_file, new_text) = old or (NO_FILE, ""), new or (NO_FILE, "")
    lines = list(unified_diff(_split_lines(old_text), _split_lines(new_text), old_file, new_file, lineterm=""))
    if not lines and (old is None or new is None):  # one prompt has no such file, and the other one's is empty
        return [f"--- {old_file}", f"+++ {new_file}"]
    return lines


def _split_lines(text: str) -> list[str]:
    """Split a file into lines; mark the last line if it does not end with a newline."""
    *lines, last = text.split("\n")
    return [*lines, f"{last}{NO_NEWLINE}"] if last else lines
