"""The source files of a prompt library, merged from its folders and the shipped library, with their front matters.

Every problem of a front matter is reported with its line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from hls_handler.analysis import REPLY_TYPES
from hls_handler.prompting.folder import (
    BASE,
    COMMENT_SUFFIX,
    FENCE,
    SHARED_COMMENT,
    SUFFIX,
    Problem,
    SourceFile,
    prompt_error,
    read_folder,
    suggest_name,
)

Effort = Literal["low", "medium", "high", "xhigh", "max"]
FIRST_LINE = 2  # line 1 is the opening fence
MAX_VALUES = 5_000
TOO_LARGE = (
    f"the front matter has more than {MAX_VALUES:,} values; does an alias (*name) repeat a large value, or is it "
    "inside the value that it names?"
)
MAX_SHOWN_CHARACTERS = 80
"""Characters of an invalid value that a message shows."""

NESTED_TOO_DEEPLY = "nested too deeply; is an alias (*name) inside the value that it names?"


def _to_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ThenKeys(_StrictModel):
    prompt: Annotated[str, Field(min_length=1)]
    when: Annotated[str, Field(min_length=1)]

    @property
    def name(self) -> str:
        """The prompt's name, without the file extension, which authors may write."""
        return self.prompt.removesuffix(SUFFIX)


class FieldKeys(_StrictModel):
    """Definition of an additional reply field, or new values for an enum field of the reply type."""

    type: Literal["string", "integer", "number", "boolean", "list"] | None = None  # list: of strings
    enum: tuple[Annotated[str, Field(strict=True, min_length=1, max_length=100)], ...] | None = None
    description: Annotated[str, Field(min_length=1, max_length=1000)] | None = None


class FrontMatter(_StrictModel):
    description: Annotated[str, Field(min_length=1)]
    on: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_to_tuple)] = ()
    reply: str
    fields: Annotated[Mapping[str, FieldKeys], Field(max_length=30)] = {}
    labels: Mapping[str, object] = {}  # field -> a pattern, {value: label}, or false; see prompting.reply_fields
    model: Annotated[str, Field(min_length=1)] | None = None
    max_tokens: Annotated[int, Field(strict=True, ge=256, le=64000)] | None = None
    effort: Effort | None = None
    then: ThenKeys | None = None


NESTED_MODELS: Mapping[str, type[_StrictModel]] = {"then": ThenKeys, "fields": FieldKeys}
"""Models of the nested mappings in the front matter."""


class KeyLines:
    """Line numbers of the keys of one front matter."""

    def __init__(self, source: SourceFile) -> None:
        self.file = source.file
        self.last: int | None = None  # line of the key that was read last
        self._lines: dict[tuple[str, ...], int] = {}

    def add(self, path: tuple[str, ...], line: int) -> None:
        self._lines[path] = self.last = line

    def __contains__(self, path: tuple[str, ...]) -> bool:
        return path in self._lines

    def problem(self, path: tuple[str, ...], message: str) -> Problem:
        """Return a problem at a key's line, or at the line of its nearest parent in the file."""
        while path and path not in self._lines:
            path = path[:-1]
        return Problem(self.file, self._lines.get(path, 1), message)


def _parse_front_matter(source: SourceFile) -> tuple[FrontMatter | None, KeyLines, list[Problem]]:
    """Parse the front matter of a file; return it with its line numbers and problems.

    The front matter is None if it is not a YAML mapping. Invalid keys are left out, so that the template can still be
    checked.
    """
    lines = KeyLines(source)
    try:
        loader = yaml.SafeLoader(source.front or "")
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            return None, lines, [Problem(source.file, FIRST_LINE, "the front matter has no keys; write `key: value`")]
        if _is_too_large(root):
            return None, lines, [Problem(source.file, FIRST_LINE, TOO_LARGE)]
        problems: list[Problem] = []
        keys = _construct_mapping(loader, root, (), lines, problems)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + FIRST_LINE if mark else 1
        return None, lines, [Problem(source.file, line, f"the front matter is not valid YAML: {exc.problem}")]
    except yaml.YAMLError:  # a character that YAML forbids
        return None, lines, [Problem(source.file, 1, "the front matter is not valid YAML: it has a control character")]
    except RecursionError:
        line = lines.last or loader.line + FIRST_LINE
        return None, lines, [Problem(source.file, line, f"the front matter is {NESTED_TOO_DEEPLY}")]
    except (LookupError, AttributeError):  # raised by PyYAML for `!!bool "a"` and `!!timestamp "a"`
        return (
            None,
            lines,
            [Problem(source.file, FIRST_LINE, "the front matter has a YAML tag (!!) that does not fit its value")],
        )
    except (ValueError, OverflowError) as exc:  # a date or a character that does not exist
        return None, lines, [Problem(source.file, FIRST_LINE, f"the front matter has an impossible value: {exc}")]
    try:
        front = FrontMatter.model_validate(keys)
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
        problems += [_to_problem(error, lines) for error in errors]
        unusable = {error["loc"][0] for error in errors}
        if "fields" in unusable:  # the reply's fields are unknown, so do not report names in templates
            unusable.add("reply")
        usable = {key: value for key, value in keys.items() if key not in unusable}
        front = FrontMatter.model_validate({"description": "?", "reply": "?", **usable})
    if front.reply not in REPLY_TYPES and front.reply != "?":
        message = f"reply: unknown type {front.reply!r}; {suggest_name(front.reply, REPLY_TYPES)}"
        problems.append(lines.problem(("reply",), message))
    return front, lines, problems


def _is_too_large(root: yaml.Node) -> bool:
    """Count the values as constructed: the target of an alias counts each time that it is used."""
    pending, count = [root], 0
    while pending and count <= MAX_VALUES:
        node, count = pending.pop(), count + 1
        if isinstance(node, yaml.MappingNode):
            pending += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            pending += node.value
    return count > MAX_VALUES


def _construct_mapping(
    loader: yaml.SafeLoader, node: yaml.MappingNode, path: tuple[str, ...], lines: KeyLines, problems: list[Problem]
) -> Mapping[str, object]:
    """Construct a mapping with its keys as written, because YAML 1.1 reads the key `on` as true."""
    keys: dict[str, object] = {}
    for key_node, value_node in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + FIRST_LINE
        key_path = (*path, key)
        if key_path in lines:
            problems.append(Problem(lines.file, line, f"{'.'.join(key_path)}: duplicate key"))
        lines.add(key_path, line)
        is_nested = isinstance(value_node, yaml.MappingNode)
        keys[key] = (
            _construct_mapping(loader, value_node, key_path, lines, problems)
            if is_nested
            else loader.construct_object(value_node, deep=True)
        )
    return keys


def _shorten(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= MAX_SHOWN_CHARACTERS else f"{shown[:MAX_SHOWN_CHARACTERS]}..."


def _to_problem(error: ErrorDetails, lines: KeyLines) -> Problem:
    path = tuple(str(part) for part in error["loc"])
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        known = NESTED_MODELS.get(path[0], FrontMatter).model_fields
        return lines.problem(path, f"{key}: unknown key; {suggest_name(path[-1], known)}")
    if error["type"] == "missing":
        return lines.problem(path, f"{key}: is missing")
    if error["type"] == "model_type":
        keys = ", ".join(NESTED_MODELS[path[0]].model_fields)
        return lines.problem(path, f"{key}: must be a mapping with the keys {keys}, found {_shorten(error['input'])}")
    advice = "; put it in quotes" if error["type"] == "string_type" and path[0] == "fields" else ""
    return lines.problem(path, f"{key}: {error['msg'].lower()}, found {_shorten(error['input'])}{advice}")


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """The files that a library is loaded from, and the front matters in them."""

    sources: Mapping[str, SourceFile]  # template name -> file, including shipped files that replace missing ones
    front_matters: Mapping[str, FrontMatter]  # prompt name -> the valid keys of its front matter
    front_texts: Mapping[str, str]  # prompt name -> its front matter as written
    lines: Mapping[str, KeyLines]  # prompt name -> line numbers of the keys in its front matter
    inherited: frozenset[str]  # names of prompts that are not in the first folder


def read_source_files(folders: Sequence[Path], shipped: Path | None) -> tuple[SourceFiles, list[Problem]]:
    """Read the folders, and the shipped files that they use. Raises `PromptError` if a folder does not exist."""
    missing = [folder.as_posix() for folder in folders if not folder.is_dir()]
    if missing:
        message = "there is no such folder; check prompts.directory in the settings"
        raise prompt_error([Problem(folder, 1, message) for folder in missing])
    read = [read_folder(folder) for folder in folders]
    problems = [problem for _, found in read for problem in found]
    shipped_sources = read_folder(shipped)[0] if shipped is not None and shipped not in folders else {}
    layers = [*(sources for sources, _ in read), shipped_sources]
    own = {name: source for sources, _ in reversed(read) for name, source in sources.items()}
    front_sources = {name: _find_front_source(name, layers) for name, source in own.items() if source.is_prompt}
    sources = {**_shipped_fallbacks(front_sources, shipped_sources), **own}
    first_folder = folders[0].as_posix()
    if not front_sources:
        folder = "this folder" if len(folders) == 1 else f"any of {', '.join(f.as_posix() for f in folders)}"
        problems.append(
            Problem(first_folder, 1, f"there is no prompt in {folder}; a prompt is a file such as issues/analyze.j2")
        )
    if BASE not in sources:
        sources[BASE] = SourceFile(BASE, f"{first_folder}/{BASE}", text="", front=None, template="")
        problems.append(
            Problem(f"{first_folder}/{BASE}", 1, "is missing; it contains the system message of every prompt")
        )
    front_matters: dict[str, FrontMatter] = {}
    texts: dict[str, str] = {}
    lines: dict[str, KeyLines] = {}
    for name, source in own.items():
        if not source.is_prompt:
            problems += _non_prompt_problems(source, own)
            continue
        front_source = front_sources[name]
        if front_source.front is None:
            problems.append(_missing_front_problem(source, front_source))
            continue
        front, lines[source.prompt], found = _parse_front_matter(front_source)
        problems += found
        if front is not None:
            front_matters[source.prompt], texts[source.prompt] = front, front_source.front
    inherited = frozenset(source.prompt for name, source in own.items() if name not in read[0][0])
    return SourceFiles(sources, front_matters, texts, lines, inherited), problems


def _find_front_source(name: str, layers: Sequence[Mapping[str, SourceFile]]) -> SourceFile:
    """Return the first file of this name that has front matter, even unclosed; if none has, the first file."""
    candidates = [sources[name] for sources in layers if name in sources]
    return next((source for source in candidates if source.front is not None or source.is_unclosed), candidates[0])


def _missing_front_problem(source: SourceFile, front_source: SourceFile) -> Problem:
    if front_source.is_unclosed:
        return Problem(front_source.file, 1, f"the front matter has no end; close it with a line {FENCE}")
    message = "has no front matter, and no shipped prompt has this path; add front matter between lines ---"
    return Problem(source.file, 1, f"{message}, or rename a part to _{source.name.rpartition('/')[2]}")


def _shipped_fallbacks(
    front_sources: Mapping[str, SourceFile], shipped: Mapping[str, SourceFile]
) -> dict[str, SourceFile]:
    """Return the shipped parts, and the shipped comments of prompts that use the shipped front matter.

    Such prompts replace only the wording of the shipped prompt.
    """
    fallbacks = {name: source for name, source in shipped.items() if not source.is_prompt and not source.is_comment}
    if SHARED_COMMENT in shipped:
        fallbacks[SHARED_COMMENT] = shipped[SHARED_COMMENT]
    for name, front_source in front_sources.items():
        comment = f"{front_source.prompt}{COMMENT_SUFFIX}"
        if shipped.get(name) is front_source and comment in shipped:
            fallbacks[comment] = shipped[comment]
    return fallbacks


def _non_prompt_problems(source: SourceFile, own: Mapping[str, SourceFile]) -> list[Problem]:
    problems = []
    if source.front is not None:
        message = "has front matter, but is not a prompt; a prompt is a file such as issues/analyze.j2"
        problems.append(Problem(source.file, 1, message))
    if source.is_comment and f"{source.prompt}{SUFFIX}" not in own and source.name != SHARED_COMMENT:
        problems.append(
            Problem(source.file, 1, f"is the comment template of {source.prompt}{SUFFIX}, which does not exist")
        )
    return problems
