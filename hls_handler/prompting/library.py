"""Loads a prompt library: reads, checks and renders all templates once, and raises one error with
all problems.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jinja2 import TemplateSyntaxError, meta, nodes

from hls_handler.analysis import SUFFIX, Prompt, ReplyFields
from hls_handler.errors import PromptError
from hls_handler.prompting.environment import (
    COMMENT_FILTERS,
    PROMPT_FILTERS,
    TAG_ADVICE,
    TOO_SLOW,
    ParsedTemplates,
    PromptEnvironment,
    check_blocks,
    check_references,
)
from hls_handler.prompting.front_matter import (
    Checked,
    FrontMatter,
    Problem,
    parse_front_matter,
    prompt_error,
    with_absolute_path,
)
from hls_handler.prompting.library_checks import (
    LibraryCheck,
    check_outside_blocks,
    compile_condition,
    templates_of,
)
from hls_handler.prompting.prompt import Condition, Family, Library, PromptSources
from hls_handler.prompting.reply_fields import build_reply_model
from hls_handler.prompting.source_files import (
    COMMENT_SUFFIX,
    NOTHING_UNSAVED,
    SHARED_COMMENT,
    SHARED_COMMENT_REPLY,
    SourceFiles,
    SourceFolder,
    find_files,
    read_source_files,
)
from hls_handler.untrusted.cleaning import RESERVED_CHARACTERS

log = logging.getLogger(__name__)

NO_CONFIG: Mapping[str, object] = MappingProxyType({})
APPENDED = (
    ("earlier_findings", "earlier", "pull_requests/_earlier.j2"),
    ("removals", "earlier", "pull_requests/_removals.j2"),
    ("repository_labels", "suggested_labels", "_repository_labels.j2"),
    ("summarized_files", "findings", "pull_requests/_options.j2"),
)
"""Variable, field of the reply, template: appended to a prompt with this field that does not show
the variable.
"""

# (path, mtime in ns, size in bytes) of every readable file
FileState = frozenset[tuple[str, int, int]]

_READING = (
    "the changed prompts are being read, and the last valid version stays in use; if this lasts, a"
    " template may have a loop that does not end: correct it, and restart HLS;"
    " until then, changed settings are not read"
)


def load_library(
    *folders: Path,
    families: Mapping[str, Family],
    shipped: Path | None = None,
    chosen: Set[str] = frozenset(),
    config: Mapping[str, object] = NO_CONFIG,
    unsaved: SourceFolder = NOTHING_UNSAVED,
) -> Library:
    """Read all prompts below `folders`, check them and return the library. Raises `PromptError`
    with all problems.

    Each file is from the first folder that has it. Parts, front matters and their comment templates
    that no folder has are from `shipped`. The keys of `families` are event names ("pull_request").
    Two prompts must not have the same event in `on`, except for the events in `chosen`, for which
    the settings name the prompt. `config` has a value for each name that templates may read as
    `config.NAME`. The files of `unsaved` take precedence over all others.
    """
    files = read_source_files(folders, shipped, unsaved)
    parsed = _parse(files)
    templates = parsed.value
    built = _build_library(files, templates)
    library = built.value
    check = LibraryCheck(library, files, templates, families, config)
    parse_problems = [*parsed.problems, *check_references(templates)]
    problems = [
        *files.problems,
        *parse_problems,
        *built.problems,
        *check_blocks(templates),
        *check_outside_blocks(templates),
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


def restore_library(*versions: PromptSources) -> Library:
    """Return a library of prompts from the source files of an earlier version. Raises
    `PromptError`.

    The files are not checked: this version was in use.
    """
    fronts = {
        version.name: parse_front_matter(version.front, version.front_file) for version in versions
    }
    files = SourceFiles(
        sources={source.name: source for version in versions for source in version.sources},
        front_matters={
            name: version.front for name, version in fronts.items() if version.front is not None
        },
        front_texts={version.name: version.front for version in versions},
        lines={name: version.lines for name, version in fronts.items()},
        inherited=frozenset(),
        problems=tuple(problem for version in fronts.values() for problem in version.problems),
    )
    return _build_unchecked(files)


def read_library(*folders: Path, shipped: Path | None) -> Library:
    """Return the library as `load_library`, but render nothing, and check only what the list of
    prompts needs.
    """
    return _build_unchecked(read_source_files(folders, shipped, NOTHING_UNSAVED))


def _build_unchecked(files: SourceFiles) -> Library:
    templates = _parse(files)
    library = _build_library(files, templates.value)
    problems = [*files.problems, *templates.problems, *library.problems]
    if problems:
        raise prompt_error(problems)
    return library.value


def _build_library(files: SourceFiles, templates: ParsedTemplates) -> Checked[Library]:
    problems: list[Problem] = []
    prompts: dict[str, Prompt] = {}
    conditions: dict[str, Condition] = {}
    comments: dict[str, str] = {}
    sources: dict[str, PromptSources] = {}
    names_in = {part: _list_names(tree) for part, tree in templates.trees.items()}
    names_read: dict[str, set[str]] = {}
    appended: dict[str, dict[str, str]] = {}
    for name, front in sorted(files.front_matters.items()):
        lines = files.lines[name]
        model = build_reply_model(front, lines)
        problems += model.problems
        if front.then is not None:
            reply_model = model.value or Any
            condition = compile_condition(templates, front.then.when, lines, reply_model)
            problems += condition.problems
            if condition.value is not None:
                conditions[name] = condition.value
        comment = _find_comment(name, front, files)
        if comment is not None:
            comments[name] = comment
        parts = templates_of(templates, name, comment)
        names_read[name] = set().union(*(names_in.get(part, ()) for part in parts))
        reply_model = model.value or ReplyFields
        appended[name] = {
            variable: template
            for variable, field, template in APPENDED
            if field in reply_model.model_fields
            and variable not in names_read[name]
            and template in files.sources
        }
        used = tuple(files.sources[part] for part in (*parts, *appended[name].values()))
        sources[name] = PromptSources(name, files.front_texts[name], lines.file, used)
        prompts[name] = Prompt(
            name=name,
            id=f"{name}@{sources[name].hash[:6]}",
            path=files.sources[f"{name}{SUFFIX}"].file,
            on=front.on,
            reply=front.reply,
            reply_model=reply_model,
            model=front.model,
            max_tokens=front.max_tokens,
            effort=front.effort,
            then=front.then,
        )
    library = Library(
        prompts,
        templates.environment,
        PromptEnvironment(files.sources, COMMENT_FILTERS),
        comments,
        conditions,
        sources,
        names_read,
        appended,
    )
    return Checked(library, problems)


def _find_comment(name: str, front: FrontMatter, files: SourceFiles) -> str | None:
    """Return the comment template of a prompt."""
    template_file = f"{name}{COMMENT_SUFFIX}"
    if template_file in files.sources:
        return template_file
    if front.reply == SHARED_COMMENT_REPLY and SHARED_COMMENT in files.sources:
        return SHARED_COMMENT
    return None


def _list_names(tree: nodes.Template) -> set[str]:
    """Return the variables and attributes that a template reads: {"files", ".numbered"}."""
    names = set()
    for node in tree.find_all((nodes.Name, nodes.Getattr)):
        if isinstance(node, nodes.Getattr):
            names.add(f".{node.attr}")
        elif isinstance(node, nodes.Name):
            names.add(node.name)
    return names


def _parse(files: SourceFiles) -> Checked[ParsedTemplates]:
    environment = PromptEnvironment(files.sources, PROMPT_FILTERS)
    trees: dict[str, nodes.Template] = {}
    references: dict[str, Collection[str]] = {}
    problems: list[Problem] = []
    for name, source in files.sources.items():
        for number, line in enumerate(source.text.split("\n"), start=1):
            if RESERVED_CHARACTERS.search(line):
                message = (
                    "the line has a private-use character (U+E000 to U+E01F), which HLS reserves;"
                    " remove it"
                )
                problems.append(Problem(source.file, number, message))
        try:
            trees[name] = environment.parse(source.template, name, source.file)
            references[name] = [*filter(None, meta.find_referenced_templates(trees[name]))]
        except TemplateSyntaxError as exc:
            message = f"{str(exc.message).rstrip('.')}; {TAG_ADVICE}"
            problems.append(Problem(source.file, exc.lineno, message))
        except RecursionError:
            problems.append(Problem(source.file, 1, "the template is nested too deeply"))
    paths = {name: source.file for name, source in files.sources.items()}
    return Checked(ParsedTemplates(environment, trees, paths, references), problems)


class ReloadingLibrary:
    """The prompt library in use. One thread reloads it when its files change; others read
    `latest`.
    """

    def __init__(
        self, load: Callable[[], Library], *folders: Path, before: Library | None = None
    ) -> None:
        """Load the library. If `load` raises `PromptError`, use the library `before`; if that is
        None, raise the error.
        """
        self._load = load
        self._folders = folders
        # before `load`, so that `reload` notices changes during it
        self._loaded_state = _file_state(folders)
        self.reload_error: str | None = None  # of the last reload, or of one in progress
        if before is None:
            self.latest = load()
            self._log_warnings()
        else:
            self.latest = before
            self._reload()

    def reload(self) -> None:
        """Load the library again if a file has changed. If a file is invalid, keep the last valid
        library.

        An error of `load` other than `PromptError` is raised once. Later calls do nothing until a
        file changes.
        """
        if _file_state(self._folders) != self._loaded_state:
            self._reload()

    def _reload(self) -> None:
        self._loaded_state = _file_state(self._folders)
        self.reload_error = _READING
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
    state = set()
    for path in chain.from_iterable(map(find_files, folders)):
        try:
            status = Path(path).stat()
        except OSError:
            continue
        state.add((path, status.st_mtime_ns, status.st_size))
    return frozenset(state)
