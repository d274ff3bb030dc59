"""The front matter of a prompt: YAML as strict data, every problem with its line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from hls_handler.analysis import REPLY_TYPES
from hls_handler.prompting.folder import SUFFIX, Source
from hls_handler.prompting.problems import Problem, nearest

Effort = Literal["low", "medium", "high", "xhigh", "max"]
FIRST_LINE = 2  # below the fence
MOST_VALUES = 5_000
TOO_LARGE = (
    f"the front matter has more than {MOST_VALUES:,} values; does an alias (*name) repeat much, or stand inside of "
    "what it names?"
)
LONGEST_FOUND = 80
"""Characters of a wrong value that a message shows."""

NESTED_TOO_DEEPLY = "nested too deeply; does an alias (*name) stand inside of what it names?"


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ThenKeys(_Strict):
    prompt: Annotated[str, Field(min_length=1)]
    when: Annotated[str, Field(min_length=1)]

    @property
    def name(self) -> str:
        """The prompt's name, however it was written: with or without its ending."""
        return self.prompt.removesuffix(SUFFIX)


class FieldKeys(_Strict):
    """One of the author's own fields, or other values for one that the reply type has."""

    type: Literal["string", "integer", "number", "boolean", "list"] | None = None  # a list is one of strings
    enum: tuple[Annotated[str, Field(strict=True, min_length=1, max_length=100)], ...] | None = None
    description: Annotated[str, Field(min_length=1, max_length=1000)] | None = None


class FrontMatter(_Strict):
    description: Annotated[str, Field(min_length=1)]
    on: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_one_or_many)] = ()
    reply: str
    fields: Annotated[Mapping[str, FieldKeys], Field(max_length=30)] = {}
    labels: Mapping[str, object] = {}  # by field: a pattern, a label for each value, or false; see prompting.labels
    model: Annotated[str, Field(min_length=1)] | None = None
    max_tokens: Annotated[int, Field(strict=True, ge=256, le=64000)] | None = None
    effort: Effort | None = None
    then: ThenKeys | None = None


KEYS_BELOW: Mapping[str, type[_Strict]] = {"then": ThenKeys, "fields": FieldKeys}
"""What a mapping inside of the front matter holds."""


class Lines:
    """Where each key of one front matter stands."""

    def __init__(self, source: Source) -> None:
        self.file = source.file
        self.last: int | None = None  # of the key that was read last
        self._lines: dict[tuple[str, ...], int] = {}

    def add(self, path: tuple[str, ...], line: int) -> None:
        self._lines[path] = self.last = line

    def __contains__(self, path: tuple[str, ...]) -> bool:
        return path in self._lines

    def problem(self, path: tuple[str, ...], message: str) -> Problem:
        """A problem at a key, or at its nearest written parent."""
        while path and path not in self._lines:
            path = path[:-1]
        return Problem(self.file, self._lines.get(path, 1), message)


def parse_front_matter(source: Source) -> tuple[FrontMatter | None, Lines, list[Problem]]:
    """The front matter of a file that has one, with all that is wrong; None if it is not even YAML.

    Keys that cannot be used are left out, so that the template can be checked all the same.
    """
    lines = Lines(source)
    try:
        loader = yaml.SafeLoader(source.front or "")
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            return None, lines, [Problem(source.file, FIRST_LINE, "the front matter holds no keys; write `key: value`")]
        if _is_too_large(root):
            return None, lines, [Problem(source.file, FIRST_LINE, TOO_LARGE)]
        problems: list[Problem] = []
        keys = _mapping(loader, root, (), lines, problems)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + FIRST_LINE if mark else 1
        return None, lines, [Problem(source.file, line, f"the front matter is not valid YAML: {exc.problem}")]
    except yaml.YAMLError:  # a character that YAML forbids
        return None, lines, [Problem(source.file, 1, "the front matter is not valid YAML: it has a control character")]
    except RecursionError:
        line = lines.last or loader.line + FIRST_LINE
        return None, lines, [Problem(source.file, line, f"the front matter is {NESTED_TOO_DEEPLY}")]
    except (LookupError, AttributeError):  # `!!bool "a"`, `!!timestamp "a"`
        return (
            None,
            lines,
            [Problem(source.file, FIRST_LINE, "the front matter has a tag (!!) on a value of another kind")],
        )
    except (ValueError, OverflowError) as exc:  # a date or a character that does not exist
        return None, lines, [Problem(source.file, FIRST_LINE, f"the front matter has a value that is none: {exc}")]
    try:
        front = FrontMatter.model_validate(keys)
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
        problems += [_explain(error, lines) for error in errors]
        unusable = {error["loc"][0] for error in errors}
        if "fields" in unusable:  # then nobody knows what the reply has
            unusable.add("reply")
        usable = {key: value for key, value in keys.items() if key not in unusable}
        front = FrontMatter.model_validate({"description": "?", "reply": "?", **usable})
    if front.reply not in REPLY_TYPES and front.reply != "?":
        message = f"reply: unknown type {front.reply!r}; {nearest(front.reply, REPLY_TYPES)}"
        problems.append(lines.problem(("reply",), message))
    return front, lines, problems


def _is_too_large(root: yaml.Node) -> bool:
    """Counted as it would be read: what an alias names, each time anew."""
    ahead, count = [root], 0
    while ahead and count <= MOST_VALUES:
        node, count = ahead.pop(), count + 1
        if isinstance(node, yaml.MappingNode):
            ahead += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            ahead += node.value
    return count > MOST_VALUES


def _mapping(
    loader: yaml.SafeLoader, node: yaml.MappingNode, path: tuple[str, ...], lines: Lines, problems: list[Problem]
) -> Mapping[str, object]:
    """A mapping with its keys as they are written: YAML would read the key `on` as true."""
    keys: dict[str, object] = {}
    for key_node, value_node in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + FIRST_LINE
        here = (*path, key)
        if here in lines:
            problems.append(Problem(lines.file, line, f"{'.'.join(here)}: is written twice"))
        lines.add(here, line)
        nested = isinstance(value_node, yaml.MappingNode)
        keys[key] = (
            _mapping(loader, value_node, here, lines, problems)
            if nested
            else loader.construct_object(value_node, deep=True)
        )
    return keys


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= LONGEST_FOUND else f"{shown[:LONGEST_FOUND]}..."


def _explain(error: ErrorDetails, lines: Lines) -> Problem:
    path = tuple(str(part) for part in error["loc"])
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        known = KEYS_BELOW.get(path[0], FrontMatter).model_fields
        return lines.problem(path, f"{key}: unknown key; {nearest(path[-1], known)}")
    if error["type"] == "missing":
        return lines.problem(path, f"{key}: is missing")
    if error["type"] == "model_type":
        keys = ", ".join(KEYS_BELOW[path[0]].model_fields)
        return lines.problem(path, f"{key}: has keys of its own ({keys}), found {_short(error['input'])}")
    advice = "; put it in quotes" if error["type"] == "string_type" and path[0] == "fields" else ""
    return lines.problem(path, f"{key}: {error['msg'].lower()}, found {_short(error['input'])}{advice}")
