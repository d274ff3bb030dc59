"""Loading of a prompt library: reads, checks and smoke-renders all templates, or raises with all problems.

`ReloadingLibrary` reloads when files change, and keeps the last valid version if the new one is invalid.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain
from pathlib import Path

from jinja2 import TemplateSyntaxError, nodes

from hls_handler.analysis import Reply
from hls_handler.errors import PromptError
from hls_handler.prompting.checks import PromptGraph, compile_condition, smoke_render
from hls_handler.prompting.environment import COMMENT_FILTERS, PROMPT_FILTERS, PromptEnvironment
from hls_handler.prompting.folder import (
    BASE,
    COMMENT_SUFFIX,
    SHARED_COMMENT,
    SHARED_COMMENT_REPLY,
    SUFFIX,
    Problem,
    find_files,
    prompt_error,
)
from hls_handler.prompting.frontmatter import SourceFiles, read_source_files
from hls_handler.prompting.names import check_names
from hls_handler.prompting.prompt import Family, Library, Prompt, PromptSources, Then
from hls_handler.prompting.references import ParsedTemplates, check_blocks, check_references, find_used_templates
from hls_handler.prompting.reply_fields import build_reply_model
from hls_handler.prompting.type_hints import ANYTHING
from hls_handler.prompting.variables import COMMENT, COMMON
from hls_handler.untrusted.cleaning import RESERVED_CHARACTERS


def load_library(
    *folders: Path,
    families: Mapping[str, Family],
    shipped: Path | None = None,
    chosen: Set[str] = frozenset(),
    shadows: Set[str] = frozenset(),
) -> Library:
    """Read, check and smoke-render all prompts below `folders`; if several have a file, the first folder's is used.

    `families` are keyed by the event's name ("pull_request"). `shipped` is the library that HLS comes with. A template
    without front matter uses that of the same path in the next folder that has one, and finally in `shipped`; in that
    last case it also uses the shipped comment. Missing parts (`base.j2`, `_*.j2`) are taken from `shipped` too.

    `chosen` are the events ("issues.opened" or "issues") for which settings choose the prompt, so that several prompts
    may name them. `shadows` are prompts that run only as shadows, so that they may name the same events as others.

    Raises `PromptError` with all problems.
    """
    files, problems = read_source_files(folders, shipped)
    environment = PromptEnvironment(files.sources, PROMPT_FILTERS)
    comment_environment = PromptEnvironment(files.sources, COMMENT_FILTERS)
    templates, parse_problems = _parse(environment, files)
    parse_problems += check_references(templates)
    problems += check_blocks(templates)
    problems += parse_problems
    unreadable = {problem.file for problem in parse_problems}
    graph = PromptGraph(files.front_matters, files.lines, families, files.inherited)
    problems += graph.problems(chosen, shadows)
    replies: dict[str, type[Reply]] = {}
    for name, front in files.front_matters.items():
        model, found = build_reply_model(front, files.lines[name])
        problems += found
        if model is not None:
            replies[name] = model
    draft = _Draft(files, templates, replace(templates, environment=comment_environment), graph, replies)
    conditions: dict[str, Callable[[Reply], bool]] = {}
    for name, front in files.front_matters.items():
        problems += draft.check_names(name, unreadable)
        if front.then is not None:
            conditions[name], found = compile_condition(environment, front, files.lines[name], replies.get(name))
            problems += found
    problems += draft.compile({problem.file for problem in problems})
    library = Library(
        draft.prompts(), environment, comment_environment, draft.comments(), conditions, draft.makeups(), shadows
    )
    invalid = {problem.file for problem in problems}
    for name in library.prompts:
        if invalid.isdisjoint(draft.files_of(name)):
            problems += smoke_render(library, name, graph)
    if problems:
        raise prompt_error(problems)
    return library


def _parse(environment: PromptEnvironment, files: SourceFiles) -> tuple[ParsedTemplates, list[Problem]]:
    trees: dict[str, nodes.Template] = {}
    problems: list[Problem] = []
    for name, source in files.sources.items():
        for number, line in enumerate(source.text.split("\n"), start=1):
            if RESERVED_CHARACTERS.search(line):
                message = "has a private-use character (U+E000 to U+E01F), which HLS reserves; remove it"
                problems.append(Problem(source.file, number, message))
        try:
            trees[name] = environment.parse(source.template, name, source.file)
        except TemplateSyntaxError as exc:
            problems.append(Problem(source.file, exc.lineno, exc.message or "is not a valid template"))
        except RecursionError:
            problems.append(Problem(source.file, 1, "is nested too deeply for a template"))
    return ParsedTemplates(environment, trees, {name: source.file for name, source in files.sources.items()}), problems


@dataclass(frozen=True, slots=True)
class _Draft:
    """A library that is read and parsed, but not yet checked."""

    files: SourceFiles
    templates: ParsedTemplates  # with the filters for prompts
    comment_templates: ParsedTemplates  # the same, with the filters for comments
    graph: PromptGraph
    replies: Mapping[str, type[Reply]]  # by prompt name; without prompts whose front matter is invalid

    def templates_of(self, name: str) -> tuple[str, ...]:
        """Return all templates of a prompt (including `base.j2`) and of its comment."""
        return tuple(dict.fromkeys((*self.prompt_templates_of(name), *self.comment_templates_of(name))))

    def prompt_templates_of(self, name: str) -> tuple[str, ...]:
        return (*find_used_templates(self.templates, f"{name}{SUFFIX}"), *find_used_templates(self.templates, BASE))

    def find_comment_template(self, name: str) -> str | None:
        """Return the comment template of a prompt: its own, or the shared one for `generic_analysis`, or None."""
        comment = f"{name}{COMMENT_SUFFIX}"
        if comment in self.files.sources:
            return comment
        is_shared = (
            self.graph.front_matters[name].reply == SHARED_COMMENT_REPLY and SHARED_COMMENT in self.files.sources
        )
        return SHARED_COMMENT if is_shared else None

    def comment_templates_of(self, name: str) -> tuple[str, ...]:
        comment = self.find_comment_template(name)
        return () if comment is None else find_used_templates(self.templates, comment)

    def compile(self, invalid: Set[str]) -> Iterator[Problem]:
        """Compile all templates; yield errors that only Jinja's compiler finds, such as a duplicate block."""
        templates = {
            (self.templates.environment, part)
            for name in self.graph.front_matters
            for part in self.prompt_templates_of(name)
        }
        templates |= {
            (self.comment_templates.environment, part)
            for name in self.graph.front_matters
            for part in self.comment_templates_of(name)
        }
        for environment, part in templates:
            if self.templates.files[part] in invalid:
                continue
            try:
                environment.get_template(part)
            except TemplateSyntaxError as exc:
                yield Problem(self.templates.files[part], exc.lineno, exc.message or "is not a valid template")

    def files_of(self, name: str) -> set[str]:
        front_matter_files = {self.files.lines[other].file for other in (name, *self.graph.predecessors(name))}
        return front_matter_files | {self.templates.files[part] for part in self.templates_of(name)}

    def check_names(self, name: str, unreadable: Set[str]) -> list[Problem]:
        """Return unknown names in a prompt and its comment, for each of its event families.

        `unreadable` are files with syntax errors or invalid references; a prompt with such a file is not checked.
        """
        problems: list[Problem] = []
        front = self.graph.front_matters[name]
        if not unreadable.isdisjoint(self.files_of(name)):
            return problems
        preceding_replies: list[dict[str, object]] = [
            {"analysis": self.replies.get(other, ANYTHING)} for other in self.graph.predecessors(name)
        ]
        for family in self.graph.families_of(name):
            variables = {**COMMON, **family.variables}
            for preceding in preceding_replies if not front.on else [*preceding_replies, {}]:
                for template in (f"{name}{SUFFIX}", BASE):
                    problems += check_names(self.templates, template, {**variables, **preceding})
            comment = self.find_comment_template(name)
            if comment is not None and comment in self.templates.trees:
                extra = {**COMMENT, **family.comment_variables, "analysis": self.replies.get(name, ANYTHING)}
                problems += check_names(self.comment_templates, comment, {**variables, **extra})
        return problems

    def comments(self) -> dict[str, str]:
        found = {name: self.find_comment_template(name) for name in self.graph.front_matters}
        return {name: comment for name, comment in found.items() if comment is not None}

    def makeups(self) -> dict[str, PromptSources]:
        return {
            name: PromptSources(
                name=name,
                front=self.files.front_texts[name],
                front_file=self.files.lines[name].file,
                sources=tuple(self.files.sources[part] for part in self.templates_of(name)),
            )
            for name in self.graph.front_matters
        }

    def prompts(self) -> dict[str, Prompt]:
        return {name: self._prompt(name) for name in sorted(self.graph.front_matters)}

    def _prompt(self, name: str) -> Prompt:
        front = self.graph.front_matters[name]
        return Prompt(
            name=name,
            id=f"{name}@{self._hash_of(name)}",
            path=self.files.sources[f"{name}{SUFFIX}"].file,
            description=front.description,
            on=front.on,
            reply=front.reply,
            reply_model=self.replies.get(name, Reply),
            model=front.model,
            max_tokens=front.max_tokens,
            effort=front.effort,
            then=Then(front.then.name, front.then.when) if front.then is not None else None,
            has_comment=self.find_comment_template(name) is not None,
        )

    def _hash_of(self, name: str) -> str:
        """Return six hex digits of a hash over the front matter and all templates of the prompt."""
        digest = sha256(self.files.front_texts[name].encode())
        for part in sorted(self.templates_of(name)):
            digest.update(f"\0{part}\0{self.files.sources[part].text}".encode())
        return digest.hexdigest()[:6]


log = logging.getLogger(__name__)

FileState = frozenset[tuple[str, int, int]]


class ReloadingLibrary:
    """A library with automatic reload. Thread-safe: every worker calls `current` for each delivery."""

    def __init__(self, load: Callable[[], Library], *folders: Path, before: Library | None = None) -> None:
        """Load the library. If `load` raises a `PromptError`, use `before`, or raise the error if `before` is None.

        `folders` are the folders that `load` reads.
        """
        self._load = load
        self._folders = folders
        self._lock = threading.Lock()
        self._loaded_state = _file_state(folders)  # before loading, so that `current` sees a change during loading
        self._load_error: str | None = None
        if before is None:
            self._library = load()
        else:
            self._library = before
            self._reload()

    def current(self) -> Library:
        """Return the library, reloaded if a file has changed; the last valid version if the files are invalid.

        While one thread reloads, others wait, so that every delivery that begins after a change uses it.

        Raises other exceptions of `load` than `PromptError` once; after that, it returns the last valid version until
        the files change again.
        """
        with self._lock:
            if _file_state(self._folders) != self._loaded_state:
                self._reload()
            return self._library

    @property
    def latest(self) -> Library:
        """The loaded library, without a check for changed files: for the webhook receiver, which must respond fast."""
        return self._library

    @property
    def report_problem(self) -> str | None:
        """Error message of the last reload; None if it succeeded."""
        return self._load_error

    def _reload(self) -> None:
        self._loaded_state = _file_state(self._folders)
        try:
            self._library = self._load()
        except PromptError as exc:
            self._load_error = (
                f"the changed prompts cannot be used, the last valid version stays in use: {'; '.join(exc.problems)}"
            )
            log.error(
                "prompts cannot be used, the last valid version stays in use", extra={"problems": list(exc.problems)}
            )
            return
        except Exception as exc:
            self._load_error = (
                f"the changed prompts cannot be read ({type(exc).__name__}), the last valid version stays in use"
            )
            raise
        self._load_error = None
        log.info("prompts reloaded", extra={"prompts": [prompt.id for prompt in self._library.prompts.values()]})


def _file_state(folders: Iterable[Path]) -> FileState:
    """Return (path, mtime in ns, size in bytes) of every file. Files removed during the call are left out."""
    found = set()
    for path in chain.from_iterable(map(find_files, folders)):
        try:
            status = os.stat(path)  # noqa: PTH116 (faster than Path.stat; this runs for every delivery)
        except OSError:
            continue
        found.add((path, status.st_mtime_ns, status.st_size))
    return frozenset(found)
