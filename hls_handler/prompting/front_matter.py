"""Front matter of a prompt: the YAML between two lines `---` at the top of its file, and its
model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Generic, Literal, NamedTuple, TypeVar

from pydantic import BeforeValidator, Field, ValidationError

from hls_handler.analysis import REPLY_TYPES, Effort, StrictModel, Then
from hls_handler.errors import PromptError
from hls_handler.settings.problems import Kind, Sentence
from hls_handler.settings.reference import Reference, explain
from hls_handler.settings.yaml_parser import InvalidYaml, Sources, parse_tree

FENCE = "---"
BYTE_ORDER_MARK = "\ufeff"

_OPENING = re.compile(r"(\s*)-{2,}[ \t]*\n\s*(?:[A-Za-z_]+ *:|#)")
"""Start of a file that was meant to have front matter: dashes in the first line with text, then a
key or a comment.
"""


class SplitText(NamedTuple):
    """The parts of a file of a prompt."""

    front: str | None  # the front matter without its fences; None if the file has none
    # the text; a Jinja comment of as many lines replaces the front matter, so line numbers stay
    template: str


def split_front_matter(text: str) -> SplitText:
    lines = text.split("\n")
    fences = [number for number, line in enumerate(lines) if line.rstrip() == FENCE]
    if len(fences) < 2 or fences[0] != 0:
        return SplitText(None, text)
    end = fences[1]
    blank = "{#" + "\n" * (end + 1) + "-#}"
    return SplitText("\n".join(lines[1:end]), blank + "\n".join(lines[end + 1 :]))


FENCE_PROBLEM = (
    f"front matter must stand between two lines that are exactly {FENCE}, the first of them in"
    " line 1"
)


def find_wrong_fence(text: str) -> int | None:
    """Return the line of the first fence if the file seems to have front matter, but a fence is
    wrong or missing.
    """
    text = text.removeprefix(BYTE_ORDER_MARK)
    opening = _OPENING.match(text)
    if opening is None or split_front_matter(text).front is not None:
        return None
    return opening[1].count("\n") + 1


NonEmpty = Annotated[str, Field(min_length=1)]


class FieldKeys(StrictModel):
    """An entry of `fields` in a front matter: it adds a field to the reply, or changes the values
    of an enum field.
    """

    # "list": of strings
    type: Literal["string", "integer", "number", "boolean", "list", "scores"] | None = None
    enum: tuple[Annotated[str, Field(strict=True, min_length=1, max_length=100)], ...] | None = None
    description: Annotated[str, Field(min_length=1, max_length=1000)] | None = None


class FrontMatter(StrictModel):
    description: NonEmpty
    on: Annotated[
        tuple[NonEmpty, ...],
        BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    ] = ()
    reply: str
    fields: Annotated[Mapping[str, FieldKeys], Field(max_length=30)] = {}
    # field -> label rule: "type: {value}", {value: label}, or false (no label)
    labels: Mapping[str, object] = {}
    model: NonEmpty | None = None
    max_tokens: Annotated[int, Field(strict=True, ge=256, le=64000)] | None = None
    effort: Effort | None = None
    then: Then | None = None


def problem_at(lines: Sources, key: str, message: str, kind: Kind = Kind.FRONT_MATTER) -> Problem:
    """Return a problem at the line of `key`; if "then.when" is missing, at that of "then"; if both
    are, at line 1.
    """
    return Problem(lines.file, lines.find_line(key) or 1, message, kind)


@dataclass(frozen=True, slots=True)
class ParsedFrontMatter:
    front: FrontMatter | None  # defaults replace invalid values; None if the text has no keys
    lines: Sources  # of its keys
    problems: Sequence[Problem]


def parse_front_matter(text: str, file: str) -> ParsedFrontMatter:
    """Parse the text between the fences."""
    try:
        tree = parse_tree(f"\n{text}", file)  # line 1 is the opening fence
    except InvalidYaml as exc:
        problem = Problem(file, exc.line, f"front matter: {exc.sentence}", Kind.FRONT_MATTER)
        return ParsedFrontMatter(None, Sources(file), [problem])
    lines = tree.sources
    root = tree.root or {}
    if not isinstance(root, dict):
        message = "the front matter has no keys; write `key: value`"
        problem = Problem(file, 2, message, Kind.FRONT_MATTER)
        return ParsedFrontMatter(None, lines, [problem])
    problems = [
        Problem(file, line, sentence, Kind.FRONT_MATTER) for line, sentence in tree.problems
    ]
    problems += [
        problem_at(lines, key, f"{key}: {sentence}") for key, sentence in tree.rejected.items()
    ]
    try:
        front = FrontMatter.model_validate(root)
    except ValidationError as exc:
        messages = explain(exc, root, {}, Reference(FrontMatter)).items()
        problems += [
            problem_at(lines, key, f"{key}: {text}")
            for key, text in messages
            if key not in tree.rejected
        ]
        unusable = {error["loc"][0] for error in exc.errors(include_url=False)}
        # then the reply's fields are unknown, and names in templates cannot be checked
        if "fields" in unusable:
            unusable.add("reply")
        usable = {key: value for key, value in root.items() if key not in unusable}
        # The other keys get their defaults, so that the template can still be checked.
        front = FrontMatter.model_validate({"description": "?", "reply": "?", **usable})
    if front.reply not in REPLY_TYPES and front.reply != "?":
        message = f"reply: unknown type {front.reply!r}; {suggest_name(front.reply, REPLY_TYPES)}"
        problems.append(problem_at(lines, "reply", message))
    return ParsedFrontMatter(front, lines, problems)


_Value = TypeVar("_Value")

MAX_LISTED_NAMES = 20
"""Limit on the number of names that one message lists."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    file: str  # path for messages: "prompts/issues/analyze.j2"
    line: int  # from 1
    message: str
    kind: Kind = field(default=Kind.TEMPLATE, compare=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class Checked(Generic[_Value]):
    """A value that was made from a prompt's files, and the problems that were found."""

    value: _Value
    problems: Sequence[Problem] = ()


def prompt_error(problems: Iterable[Problem]) -> PromptError:
    """Return one error that lists all problems, with absolute paths, sorted by file and line,
    without duplicates.
    """
    return PromptError([with_absolute_path(problem) for problem in sorted(set(problems))])


def with_absolute_path(problem: Problem) -> Sentence:
    absolute = replace(problem, file=str(Path(problem.file).absolute()))
    return Sentence(str(absolute), problem.kind)


def suggest_name(name: str, existing: Iterable[str]) -> str:
    """Return "did you mean 'title'?" for the most similar name, or "known: body, title" if none is
    similar.
    """
    names = sorted(existing)
    near = get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    listing = ", ".join(names[:MAX_LISTED_NAMES]) or "none"
    if len(names) > MAX_LISTED_NAMES:
        listing += f" and {len(names) - MAX_LISTED_NAMES} more"
    return f"known: {listing}"


class BrokenTemplateError(PromptError):
    """A template cannot be rendered; `problem` has the file, the line and the reason."""

    def __init__(self, problem: Problem) -> None:
        super().__init__([with_absolute_path(problem)])
        self.problem = problem
