"""Reads the source files of a prompt library, and their front matters: the YAML between two lines `---` at the top.

`issues/analyze.j2` is a prompt, and `issues/analyze.comment.md.j2` is the template of its comment on GitHub. Other
templates are parts, which prompts include: files in the top folder (`base.j2`) and files whose name begins with `_`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from hls_handler.analysis import REPLY_TYPES
from hls_handler.errors import PromptError
from hls_handler.settings.yaml_parser import InvalidYaml, Sources, parse_tree

MAX_LISTED_NAMES = 20
"""Limit on the number of names that one message lists."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    file: str  # path for messages: "prompts/issues/analyze.j2"
    line: int  # from 1
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


def prompt_error(problems: Iterable[Problem]) -> PromptError:
    """Return one error that lists all problems, sorted by file and line, without duplicates."""
    return PromptError([str(problem) for problem in sorted(set(problems))])


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'title'?" for the most similar name, or "known: body, title" if none is similar."""
    names = sorted(known)
    near = get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    more = f" and {len(names) - MAX_LISTED_NAMES} more" if len(names) > MAX_LISTED_NAMES else ""
    return f"known: {', '.join(names[:MAX_LISTED_NAMES]) or 'none'}{more}"


class BrokenTemplateError(PromptError):
    """A template cannot be rendered; `problem` has the file, the line and the reason."""

    def __init__(self, problem: Problem) -> None:
        super().__init__([str(problem)])
        self.problem = problem


SUFFIX = ".j2"
COMMENT_SUFFIX = ".comment.md.j2"
BASE = "base.j2"
SHARED_COMMENT = "generic.comment.md.j2"
SHARED_COMMENT_REPLY = "generic_analysis"
"""Prompts with this reply type use `SHARED_COMMENT` if they have no comment template of their own."""
FENCE = "---"


@dataclass(frozen=True, slots=True)
class SourceFile:
    name: str  # relative path, as used in include and extends: "issues/analyze.j2"
    file: str  # path for messages: "prompts/issues/analyze.j2"
    text: str  # the whole file
    front: str | None  # the front matter without its fences, from line 2 on; None if the file has none
    template: str  # the text; a Jinja comment of as many lines replaces the front matter, so line numbers stay

    @property
    def is_comment(self) -> bool:
        return self.name.endswith(COMMENT_SUFFIX)

    @property
    def is_prompt(self) -> bool:
        folder, _, file = self.name.rpartition("/")
        return bool(folder) and not file.startswith("_") and not self.is_comment

    @property
    def is_unclosed(self) -> bool:
        """True if the file begins with a line `---`, but no second line `---` ends the front matter."""
        return self.front is None and self.text.startswith(f"{FENCE}\n")

    @property
    def prompt(self) -> str:
        """The name of the prompt whose template or comment template this file is: "issues/analyze"."""
        return self.name.removesuffix(COMMENT_SUFFIX).removesuffix(SUFFIX)


def find_files(directory: Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[str]:
    """Yield the paths of all files below a folder, sorted within each folder, except hidden ones (`.name`).

    Paths are strings because `Path` objects are slow to create, and this runs for every delivery. `on_error` is called
    for each folder that cannot be read.
    """
    for folder, below, names in os.walk(directory, onerror=on_error):
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield from (f"{folder}{os.sep}{name}" for name in sorted(names) if not name.startswith("."))


def read_folder(directory: Path) -> tuple[Mapping[str, SourceFile], list[Problem]]:
    """Return {name: file} of all templates below `directory`, and a problem for each unreadable file or folder."""
    sources: dict[str, SourceFile] = {}
    problems: list[Problem] = []

    def unreadable(exc: OSError) -> None:
        problems.append(Problem(Path(exc.filename).as_posix(), 1, f"this folder cannot be read: {exc.strerror}"))

    for path in map(Path, find_files(directory, unreadable)):
        if not path.name.endswith(SUFFIX) or path.is_dir():
            continue
        name, file = path.relative_to(directory).as_posix(), path.as_posix()
        try:
            sources[name] = _split(name, file, path.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError:
            problems.append(Problem(file, 1, "the file is not UTF-8; save it as UTF-8"))
        except OSError as exc:
            problems.append(Problem(file, 1, f"the file cannot be read: {exc.strerror}"))
    return sources, problems


def _split(name: str, file: str, text: str) -> SourceFile:
    lines = text.split("\n")
    if lines[0] != FENCE or FENCE not in lines[1:]:
        return SourceFile(name, file, text, front=None, template=text)
    end = lines.index(FENCE, 1)
    blank = "{#" + "\n" * (end + 1) + "-#}"  # a Jinja comment with as many line ends as the front matter and its fences
    return SourceFile(name, file, text, front="\n".join(lines[1:end]), template=blank + "\n".join(lines[end + 1 :]))


Effort = Literal["low", "medium", "high", "xhigh", "max"]
MAX_SHOWN_CHARACTERS = 80
"""Limit on the characters that a message shows of an invalid value."""


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Then(_StrictModel):
    prompt: Annotated[str, Field(min_length=1), AfterValidator(lambda name: name.removesuffix(SUFFIX))]
    when: Annotated[str, Field(min_length=1)]  # "analysis.kind == 'question'"


class FieldKeys(_StrictModel):
    """An entry of `fields` in a front matter: it adds a field to the reply, or changes the values of an enum field."""

    type: Literal["string", "integer", "number", "boolean", "list"] | None = None  # "list": of strings
    enum: tuple[Annotated[str, Field(strict=True, min_length=1, max_length=100)], ...] | None = None
    description: Annotated[str, Field(min_length=1, max_length=1000)] | None = None


class FrontMatter(_StrictModel):
    description: Annotated[str, Field(min_length=1)]
    on: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    ] = ()
    reply: str
    fields: Annotated[Mapping[str, FieldKeys], Field(max_length=30)] = {}
    labels: Mapping[str, object] = {}  # field -> label rule: "type: {value}", {value: label}, or false (no label)
    model: Annotated[str, Field(min_length=1)] | None = None
    max_tokens: Annotated[int, Field(strict=True, ge=256, le=64000)] | None = None
    effort: Effort | None = None
    then: Then | None = None


NESTED_MODELS: Mapping[str, type[_StrictModel]] = {"then": Then, "fields": FieldKeys}
"""Models of nested mappings in the front matter: of `then`, and of each entry of `fields`."""


def problem_at(lines: Sources, key: str, message: str) -> Problem:
    """Return a problem at the line of `key`; if "then.when" is missing, at that of "then"; if both are, at line 1."""
    return Problem(lines.file, lines.find_line(key) or 1, message)


def _parse_front_matter(source: SourceFile) -> tuple[FrontMatter | None, Sources, list[Problem]]:
    try:
        tree = parse_tree(f"\n{source.front or ''}", source.file)  # line 1 is the opening fence
    except InvalidYaml as exc:
        return None, Sources(source.file), [Problem(source.file, exc.line, f"front matter: {exc.sentence}")]
    lines = tree.sources
    if not isinstance(tree.root, dict):
        return None, lines, [Problem(source.file, 2, "the front matter has no keys; write `key: value`")]
    problems = [Problem(source.file, line, sentence) for line, sentence in tree.problems]
    problems += [problem_at(lines, key, f"{key}: {sentence}") for key, sentence in tree.rejected.items()]
    try:
        front = FrontMatter.model_validate(tree.root)
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
        problems += [_to_problem(error, lines) for error in errors if _key_of(error) not in tree.rejected]
        unusable = {error["loc"][0] for error in errors}
        if "fields" in unusable:  # then the reply's fields are unknown, and names in templates cannot be checked
            unusable.add("reply")
        usable = {key: value for key, value in tree.root.items() if key not in unusable}
        # The other keys get their defaults, so that the template can still be checked.
        front = FrontMatter.model_validate({"description": "?", "reply": "?", **usable})
    if front.reply not in REPLY_TYPES and front.reply != "?":
        message = f"reply: unknown type {front.reply!r}; {suggest_name(front.reply, REPLY_TYPES)}"
        problems.append(problem_at(lines, "reply", message))
    return front, lines, problems


def _key_of(error: ErrorDetails) -> str:
    return ".".join(map(str, error["loc"]))


def _to_problem(error: ErrorDetails, lines: Sources) -> Problem:
    path, key = [str(part) for part in error["loc"]], _key_of(error)
    shown = repr(error["input"])
    found = f"found {shown if len(shown) <= MAX_SHOWN_CHARACTERS else f'{shown[:MAX_SHOWN_CHARACTERS]}...'}"
    if error["type"] == "extra_forbidden":
        message = f"unknown key; {suggest_name(path[-1], NESTED_MODELS.get(path[0], FrontMatter).model_fields)}"
    elif error["type"] == "missing":
        message = "is missing"
    elif error["type"] == "model_type":
        message = f"must be a mapping with the keys {', '.join(NESTED_MODELS[path[0]].model_fields)}, {found}"
    else:
        advice = "; put it in quotes" if error["type"] == "string_type" and path[0] == "fields" else ""
        message = f"{error['msg'].lower()}, {found}{advice}"
    return problem_at(lines, key, f"{key}: {message}")


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """The source files and front matters of a prompt library, merged from its folders and the shipped library."""

    sources: Mapping[str, SourceFile]  # by template name; with shipped parts and comments that the folders lack
    front_matters: Mapping[str, FrontMatter]  # prompt name -> its front matter; defaults replace invalid values
    front_texts: Mapping[str, str]  # prompt name -> its front matter as written
    lines: Mapping[str, Sources]  # prompt name -> line numbers of the keys in its front matter
    inherited: frozenset[str]  # prompts whose template is from a later folder, not from the first


def read_source_files(folders: Sequence[Path], shipped: Path | None) -> tuple[SourceFiles, list[Problem]]:
    """Read the files of `folders`, and those of `shipped` that they need. Raises `PromptError` for a missing folder."""
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
        message = f"there is no prompt in {folder}; a prompt is a file such as issues/analyze.j2"
        problems.append(Problem(first_folder, 1, message))
    if BASE not in sources:
        base = sources[BASE] = SourceFile(BASE, f"{first_folder}/{BASE}", text="", front=None, template="")
        problems.append(Problem(base.file, 1, "the file is missing; it contains the system message of every prompt"))
    front_matters: dict[str, FrontMatter] = {}
    texts: dict[str, str] = {}
    lines: dict[str, Sources] = {}
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
    candidates = [sources[name] for sources in layers if name in sources]
    return next((source for source in candidates if source.front is not None or source.is_unclosed), candidates[0])


def _missing_front_problem(source: SourceFile, front_source: SourceFile) -> Problem:
    if front_source.is_unclosed:
        return Problem(front_source.file, 1, f"the front matter has no end; close it with a line {FENCE}")
    message = "the file has no front matter, and no shipped prompt has its path; add front matter between lines ---"
    return Problem(source.file, 1, f"{message}, or if it is a part, rename it to _{source.name.rpartition('/')[2]}")


def _shipped_fallbacks(
    front_sources: Mapping[str, SourceFile], shipped: Mapping[str, SourceFile]
) -> dict[str, SourceFile]:
    fallbacks = {name: source for name, source in shipped.items() if not source.is_prompt and not source.is_comment}
    if SHARED_COMMENT in shipped:
        fallbacks[SHARED_COMMENT] = shipped[SHARED_COMMENT]
    for name, front_source in front_sources.items():
        comment = f"{front_source.prompt}{COMMENT_SUFFIX}"
        # With shipped front matter, the reply has the fields that the shipped comment template uses.
        if shipped.get(name) is front_source and comment in shipped:
            fallbacks[comment] = shipped[comment]
    return fallbacks


def _non_prompt_problems(source: SourceFile, own: Mapping[str, SourceFile]) -> Iterator[Problem]:
    if source.front is not None:
        message = "the file has front matter, but is not a prompt; a prompt is a file such as issues/analyze.j2"
        yield Problem(source.file, 1, message)
    if source.is_comment and f"{source.prompt}{SUFFIX}" not in own and source.name != SHARED_COMMENT:
        message = f"this is the comment template of {source.prompt}{SUFFIX}, which does not exist"
        yield Problem(source.file, 1, message)
