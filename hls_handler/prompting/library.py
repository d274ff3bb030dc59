"""Loads a prompt library: reads, checks and renders all templates once, and raises one error with
all problems.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jinja2 import TemplateSyntaxError, nodes

from hls_handler.analysis import Reply
from hls_handler.errors import PromptError
from hls_handler.prompting.checks import LibraryCheck, compile_condition, templates_of
from hls_handler.prompting.environment import (
    COMMENT_FILTERS,
    PROMPT_FILTERS,
    TOO_SLOW,
    ParsedTemplates,
    PromptEnvironment,
    check_blocks,
    check_references,
)
from hls_handler.prompting.front_matter import parse_front_matter
from hls_handler.prompting.front_matter import SUFFIX, FrontMatter, parse_front_matter
from hls_handler.prompting.problems import Problem, prompt_error, with_absolute_path
from hls_handler.prompting.prompt import (
    Condition,
    Family,
    Library,
    PromptSources,
)
from hls_handler.prompting.reply_fields import build_reply_model
from hls_handler.prompting.source_files import (
    COMMENT_SUFFIX,
    NOTHING_UNSAVED,
    SHARED_COMMENT,
    SHARED_COMMENT_REPLY,
    SourceFile,
    SourceFiles,
    SourceFolder,
    find_files,
    read_source_files,
)
from hls_handler.question import (
    SUFFIX,
    Prompt,
)
from hls_handler.untrusted.cleaning import RESERVED_CHARACTERS

NO_CONFIG: Mapping[str, object] = MappingProxyType({})
APPENDED = (
    ("earlier_findings", "earlier", "pull_requests/_earlier.j2"),
    ("repository_labels", "suggested_labels", "_repository_labels.j2"),
    ("summarized_files", "findings", "pull_requests/_options.j2"),
)
"""Variable, field of the reply, template: appended to a prompt with this field that does not show
the variable.
"""


def load_library(
    *folders: Path,
    families: Mapping[str, Family],
    shipped: Path | None = None,
    chosen: Set[str] = frozenset(),
    shadows: Set[str] = frozenset(),
    config: Mapping[str, object] = NO_CONFIG,
    unsaved: SourceFolder = NOTHING_UNSAVED,
) -> Library:
    """Read all prompts below `folders`, check them and return the library. Raises `PromptError`
    with all problems.

    Each file is from the first folder that has it. Parts, front matters and their comment templates
    that no folder has are from `shipped`. The keys of `families` are event names ("pull_request").
    Two prompts must not have the same event in `on`, except for the events in `chosen`, for which
    the settings name the prompt, and the prompts in `shadows`, which post nothing. `config` has a
    value for each name that templates may read as `config.NAME`. The files of `unsaved` take
    precedence over all others.
    """
    files = read_source_files(folders, shipped, unsaved)
    builder = _Builder(files)
    library = builder.build(shadows)
    templates = builder.templates
    check = LibraryCheck(library, files, templates, families, config)
    parse_problems = [*builder.parse_problems, *check_references(templates)]
    problems = [
        *files.problems,
        *parse_problems,
        *builder.problems,
        *check_blocks(templates),
        *check.event_problems(chosen),
    ]
    unreadable = {problem.file for problem in parse_problems}
    for name in library.prompts:
        if unreadable.isdisjoint(check.files_of(name)):
            problems += check.name_problems(name)
    invalid = {problem.file for problem in problems}
    for name in library.prompts:
        if invalid.isdisjoint(check.files_of(name)):
            problems += check.smoke_render(name)
        if any(TOO_SLOW in problem.message for problem in problems):
            break  # other prompts may share the part that takes too long
    if problems:
        raise prompt_error(problems)
    warnings: list[Problem] = []
    for name in library.prompts:
        warnings += check.warnings(name)
    return replace(library, warnings=tuple(map(with_absolute_path, sorted(warnings))))


def restore_library(version: PromptSources) -> Library:
    """Return a library of one prompt from the source files of an earlier version. Raises
    `PromptError`.

    The files are not checked: this version was in use.
    """
    parsed = parse_front_matter(version.front, version.front_file)
    files = SourceFiles(
        sources={source.name: source for source in version.sources},
        front_matters={},
        front_texts={version.name: version.front},
        lines={version.name: parsed.lines},
        inherited=frozenset(),
        problems=parsed.problems,
    )
    if parsed.front is not None:
        files = replace(files, front_matters={version.name: parsed.front})
    builder = _Builder(files)
    library = builder.build(frozenset())
    problems = [*files.problems, *builder.parse_problems, *builder.problems]
    if problems:
        raise prompt_error(problems)
    return library


class _Builder:
    """Builds the library of source files, and collects their problems."""

    def __init__(self, files: SourceFiles) -> None:
        self._files = files
        self._environment = PromptEnvironment(files.sources, PROMPT_FILTERS)
        self.problems: list[Problem] = []  # of front matters
        self.parse_problems: list[Problem] = []  # of templates
        trees: dict[str, nodes.Template] = {}
        for name, source in files.sources.items():
            tree = self._parse(source)
            if tree is not None:
                trees[name] = tree
        paths = {name: source.file for name, source in files.sources.items()}
        self.templates = ParsedTemplates(self._environment, trees, paths)
        self._prompts: dict[str, Prompt] = {}
        self._conditions: dict[str, Condition] = {}
        self._comments: dict[str, str] = {}
        self._sources: dict[str, PromptSources] = {}
        self._names_read: dict[str, set[str]] = {}
        self._appended: dict[str, dict[str, str]] = {}

    def _parse(self, source: SourceFile) -> nodes.Template | None:
        for number, line in enumerate(source.text.split("\n"), start=1):
            if RESERVED_CHARACTERS.search(line):
                message = (
                    "the line has a private-use character (U+E000 to U+E01F), which HLS reserves;"
                    " remove it"
                )
                self.parse_problems.append(Problem(source.file, number, message))
        try:
            return self._environment.parse(source.template, source.name, source.file)
        except TemplateSyntaxError as exc:
            message = exc.message or "the file is not a valid template"
            self.parse_problems.append(Problem(source.file, exc.lineno, message))
        except RecursionError:
            message = "the template is nested too deeply"
            self.parse_problems.append(Problem(source.file, 1, message))
        return None

    def build(self, shadows: Set[str]) -> Library:
        for name, front in sorted(self._files.front_matters.items()):
            self._add(name, front)
        return Library(
            self._prompts,
            self._environment,
            PromptEnvironment(self._files.sources, COMMENT_FILTERS),
            self._comments,
            self._conditions,
            self._sources,
            self._names_read,
            self._appended,
            shadows,
        )

    def _add(self, name: str, front: FrontMatter) -> None:
        files = self._files
        lines = files.lines[name]
        checked = build_reply_model(front, lines)
        self.problems += checked.problems
        reply_model = checked.value or Reply
        if front.then is not None:
            known = checked.value or Any
            condition = compile_condition(self.templates, front.then.when, lines, known)
            self.problems += condition.problems
            if condition.value is not None:
                self._conditions[name] = condition.value
        candidates = [f"{name}{COMMENT_SUFFIX}"]
        if front.reply == SHARED_COMMENT_REPLY:
            candidates.append(SHARED_COMMENT)
        comment = next((candidate for candidate in candidates if candidate in files.sources), None)
        if comment is not None:
            self._comments[name] = comment
        parts = templates_of(self.templates, name, comment)
        read = self._list_names(parts)
        appended = {
            variable: template
            for variable, field, template in APPENDED
            if field in reply_model.model_fields
            and variable not in read
            and template in files.sources
        }
        sources = tuple(files.sources[part] for part in (*parts, *appended.values()))
        self._names_read[name] = read
        self._appended[name] = appended
        self._sources[name] = PromptSources(name, files.front_texts[name], lines.file, sources)
        self._prompts[name] = Prompt(
            name=name,
            id=f"{name}@{self._sources[name].hash[:6]}",
            path=files.sources[f"{name}{SUFFIX}"].file,
            on=front.on,
            reply=front.reply,
            reply_model=reply_model,
            model=front.model,
            max_tokens=front.max_tokens,
            effort=front.effort,
            then=front.then,
        )

    def _list_names(self, parts: Iterable[str]) -> set[str]:
        """Return the variables and attributes that templates read: {"files", ".numbered"}."""
        found: set[str] = set()
        for part in parts:
            tree = self.templates.trees.get(part)
            if tree is not None:
                found.update(node.name for node in tree.find_all(nodes.Name))
                found.update(f".{node.attr}" for node in tree.find_all(nodes.Getattr))
        return found


log = logging.getLogger(__name__)

# (path, mtime in ns, size in bytes) of every readable file
FileState = frozenset[tuple[str, int, int]]


RELOAD_WAIT_S = 30.0
"""Seconds after which other threads no longer wait for a reload: a template may have a loop that
does not end.
"""

_ENDLESS = (
    f"the changed prompts were not loaded within {RELOAD_WAIT_S:.0f} s, perhaps because a template"
    " has a loop that does not end; the last valid version stays in use; correct the template and"
    " restart HLS"
)


class ReloadingLibrary:
    """The prompt library in use, reloaded when its files change. Thread-safe."""

    def __init__(
        self,
        load: Callable[[], Library],
        *folders: Path,
        before: Library | None = None,
        wait_s: float = RELOAD_WAIT_S,
    ) -> None:
        """Load the library. If `load` raises `PromptError`, use the library `before`; if that is
        None, raise the error.

        A change of a file in `folders` causes a reload.
        """
        self._load = load
        self._folders = folders
        self._wait_s = wait_s
        self._lock = threading.Lock()
        # before `load`, so that `current` notices changes during it
        self._loaded_state = _file_state(folders)
        self.reload_error: str | None = None  # of the last reload, or of one that does not end
        if before is None:
            # as last loaded; the receiver reads it without a check for changed files
            self.latest = load()
            self._log_warnings()
        else:
            self.latest = before
            self._reload()

    def current(self) -> Library:
        """Return the library, reloaded if a file has changed. If a new file is invalid, return the
        last valid library.

        While one thread reloads, other threads wait, so that a delivery that begins after a change
        uses the new files. After `RELOAD_WAIT_S`, they return the last valid library. An error of
        `load` other than `PromptError` is raised once. Later calls return the last valid library
        until a file changes.
        """
        wait_s = 0.0 if self.reload_error == _ENDLESS else self._wait_s
        if not self._lock.acquire(timeout=wait_s):
            self.reload_error = _ENDLESS
            return self.latest
        try:
            if _file_state(self._folders) != self._loaded_state:
                self._reload()
            elif self.reload_error == _ENDLESS:  # it was set while the reload ended
                self.reload_error = None
            return self.latest
        finally:
            self._lock.release()

    def _reload(self) -> None:
        self._loaded_state = _file_state(self._folders)
        problem: str | None = (
            "the changed prompts cannot be read; the last valid version stays in use; see the log"
        )
        try:
            self.latest = self._load()
            problem = None
            ids = [prompt.id for prompt in self.latest.prompts.values()]
            log.info("prompts reloaded", extra={"prompts": ids})
            self._log_warnings()
        except PromptError as exc:
            message = "prompts cannot be used, the last valid version stays in use"
            problem = f"the changed {message}: {'; '.join(exc.problems)}"
            log.error(message, extra={"problems": list(exc.problems)})
        finally:  # also after other exceptions, which are raised to the caller
            self.reload_error = problem

    def _log_warnings(self) -> None:
        for warning in self.latest.warnings:
            log.warning(warning)


def _file_state(folders: Iterable[Path]) -> FileState:
    found = set()
    for path in chain.from_iterable(map(find_files, folders)):
        try:
            # faster than Path.stat; this runs for every delivery
            status = os.stat(path)  # noqa: PTH116
        except OSError:
            continue
        found.add((path, status.st_mtime_ns, status.st_size))
    return frozenset(found)
