"""Reads the source files of a prompt library, and completes them from the shipped library.

`issues/analyze.j2` is a prompt, and `issues/analyze.comment.md.j2` is the template of its comment
on GitHub. Other templates are parts, which prompts include: files in the top folder (`base.j2`) and
files whose name begins with `_`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hls_handler.analysis import SUFFIX
from hls_handler.errors import PromptError
from hls_handler.prompting.front_matter import (
    BYTE_ORDER_MARK,
    FENCE_PROBLEM,
    FrontMatter,
    Problem,
    find_wrong_fence,
    parse_front_matter,
    prompt_error,
    split_front_matter,
)
from hls_handler.settings.model import Settings
from hls_handler.settings.problems import Kind, Sentence
from hls_handler.settings.yaml_parser import Sources

COMMENT_SUFFIX = ".comment.md.j2"
BASE = "base.j2"
UNSAVED = "/unsaved"
"""Folder that messages name for the files in the argument `unsaved`, which are in no folder."""

SHARED_COMMENT = "generic.comment.md.j2"
SHARED_COMMENT_REPLY = "generic_analysis"
"""Prompts with this reply type use `SHARED_COMMENT` if they have no comment template of their
own.
"""

SHIPPED_FRONT_MATTER = Path(__file__).parent / "shipped_front_matter"
"""Copies of the shipped front matters, for templates without front matter that replace the shipped
files themselves.

`python -m tests.github_fake.samples` writes the files. A test fails if they are out of date.
"""


@dataclass(frozen=True, slots=True)
class SourceFile:
    name: str  # relative path, as used in include and extends: "issues/analyze.j2"
    file: str  # path for messages: "prompts/issues/analyze.j2"
    text: str  # the whole file
    # the front matter without its fences, from line 2 on; None if the file has none
    front: str | None
    # the text; a Jinja comment of as many lines replaces the front matter, so line numbers stay
    template: str

    @property
    def is_comment(self) -> bool:
        return self.name.endswith(COMMENT_SUFFIX)

    @property
    def is_prompt(self) -> bool:
        folder, _, file = self.name.rpartition("/")
        return bool(folder) and not file.startswith("_") and not self.is_comment

    @property
    def fence_problem(self) -> Problem | None:
        line = find_wrong_fence(self.text)
        if line is None:
            return None
        return Problem(self.file, line, FENCE_PROBLEM, Kind.FRONT_MATTER)

    @property
    def prompt(self) -> str:
        """The name of the prompt whose template or comment template this file is:
        "issues/analyze".
        """
        return self.name.removesuffix(COMMENT_SUFFIX).removesuffix(SUFFIX)


def find_files(directory: Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[str]:
    """Yield the paths of all files below a folder, sorted within each folder, except hidden ones
    (`.name`).

    Paths are strings because `Path` objects are slow to create, and this runs for every delivery.
    `on_error` is called for each folder that cannot be read.
    """
    for folder, below, names in os.walk(directory, onerror=on_error):
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield from (f"{folder}{os.sep}{name}" for name in sorted(names) if not name.startswith("."))


@dataclass(frozen=True, slots=True)
class SourceFolder:
    """The templates below a folder."""

    sources: Mapping[str, SourceFile]  # by name
    problems: Sequence[Problem] = ()  # one for each unreadable file or folder


NOTHING_UNSAVED = SourceFolder({})


def make_folder(texts: Mapping[str, str], path: str = UNSAVED) -> SourceFolder:
    """Return texts by name ("issues/analyze.j2") as a folder that messages name `path`."""
    return SourceFolder(
        {name: _split(name, f"{path}/{name}", text) for name, text in texts.items()}
    )


def read_folder(directory: Path) -> SourceFolder:
    sources: dict[str, SourceFile] = {}
    problems: list[Problem] = []

    def unreadable(exc: OSError) -> None:
        folder = Path(exc.filename).as_posix()
        message = f"this folder cannot be read: {exc.strerror}"
        problems.append(Problem(folder, 1, message, Kind.PROMPT_FILE))

    for path in map(Path, find_files(directory, unreadable)):
        if not path.name.endswith(SUFFIX) or path.is_dir():
            continue
        name = path.relative_to(directory).as_posix()
        file = path.as_posix()
        try:
            sources[name] = _split(name, file, path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            message = "the file is not UTF-8; save it as UTF-8"
            problems.append(Problem(file, 1, message, Kind.PROMPT_FILE))
        except OSError as exc:
            message = f"the file cannot be read: {exc.strerror}"
            problems.append(Problem(file, 1, message, Kind.PROMPT_FILE))
    return SourceFolder(sources, problems)


def _split(name: str, file: str, text: str) -> SourceFile:
    front, template = split_front_matter(text.removeprefix(BYTE_ORDER_MARK))
    return SourceFile(name, file, text, front, template)


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """The source files and front matters of a prompt library, merged from its folders and the
    shipped library.
    """

    # by template name; with shipped parts and comments that the folders lack
    sources: Mapping[str, SourceFile]
    # prompt name -> its front matter; defaults replace invalid values
    front_matters: Mapping[str, FrontMatter]
    front_texts: Mapping[str, str]  # prompt name -> its front matter as written
    lines: Mapping[str, Sources]  # prompt name -> line numbers of the keys in its front matter
    inherited: frozenset[str]  # prompts whose template is from a later folder, not from the first
    problems: Sequence[Problem]


def read_source_files(
    folders: Sequence[Path], shipped: Path | None, unsaved: SourceFolder = NOTHING_UNSAVED
) -> SourceFiles:
    """Read the files of `folders`, and those of `shipped` that they need. Raises `PromptError` for
    a missing folder.

    The files of `unsaved` take precedence over those of all folders.
    """
    missing = [folder.as_posix() for folder in folders if not folder.is_dir()]
    if missing:
        message = "there is no such folder; check prompts.directory in the settings"
        raise prompt_error([Problem(folder, 1, message, Kind.PROMPT_FILE) for folder in missing])
    read = [read_folder(folder) for folder in folders]
    if unsaved.sources:
        read.insert(0, unsaved)
    problems: list[Problem] = []
    folder_sources: dict[str, SourceFile] = {}
    for folder in reversed(read):
        problems += folder.problems
        folder_sources |= folder.sources
    layers = [folder.sources for folder in read]
    shipped_sources: Mapping[str, SourceFile] = {}
    if shipped is not None:
        if shipped not in folders:
            shipped_sources = read_folder(shipped).sources
        layers += [shipped_sources, read_folder(SHIPPED_FRONT_MATTER).sources]
    front_sources: dict[str, SourceFile] = {}
    front_matters: dict[str, FrontMatter] = {}
    texts: dict[str, str] = {}
    lines: dict[str, Sources] = {}
    pending = [source for source in folder_sources.values() if source.is_prompt]
    while pending:
        source = pending.pop()
        front_source = _find_front_source(source.name, layers)
        front_sources[source.name] = front_source
        text = front_source.front
        if front_source.fence_problem is not None:
            problems.append(front_source.fence_problem)
        elif text is None:
            problems.append(_missing_front_problem(source))
        if text is None:
            continue
        parsed = parse_front_matter(text, front_source.file)
        problems += parsed.problems
        lines[source.prompt] = parsed.lines
        if parsed.front is None:
            continue
        front_matters[source.prompt] = parsed.front
        texts[source.prompt] = text
        if parsed.front.then is not None:
            follower = f"{parsed.front.then.prompt}{SUFFIX}"
            if follower in shipped_sources and follower not in folder_sources:
                folder_sources[follower] = shipped_sources[follower]
                pending.append(folder_sources[follower])
    for source in folder_sources.values():
        if not source.is_prompt:
            problems += _non_prompt_problems(source, folder_sources)
    sources = {**_shipped_fallbacks(front_sources, shipped_sources), **folder_sources}
    if not front_sources:
        problems.append(_empty_problem(folders))
    if BASE not in sources:
        base = f"{folders[0].as_posix()}/{BASE}"
        sources[BASE] = _split(BASE, base, "")
        message = "the file is missing; it contains the system message of every prompt"
        problems.append(Problem(base, 1, message, Kind.PROMPT_FILE))
    inherited = frozenset(
        own_source.prompt for name, own_source in folder_sources.items() if name not in layers[0]
    )
    return SourceFiles(sources, front_matters, texts, lines, inherited, problems)


def _empty_problem(folders: Sequence[Path]) -> Problem:
    where = "this folder"
    if len(folders) > 1:
        where = f"any of {', '.join(folder.as_posix() for folder in folders)}"
    message = f"there is no prompt in {where}; a prompt is a file such as issues/analyze.j2"
    return Problem(folders[0].as_posix(), 1, message, Kind.PROMPT_FILE)


def _find_front_source(name: str, layers: Sequence[Mapping[str, SourceFile]]) -> SourceFile:
    candidates = [sources[name] for sources in layers if name in sources]
    with_front = [
        candidate
        for candidate in candidates
        if candidate.front is not None or candidate.fence_problem
    ]
    return (with_front or candidates)[0]


def _missing_front_problem(source: SourceFile) -> Problem:
    message = "the file has no front matter, and no shipped prompt has its path"
    advice = (
        "write description, on and reply between two lines ---, or if it is a part, rename it to"
        f" _{source.name.rpartition('/')[2]}"
    )
    return Problem(source.file, 1, f"{message}; {advice}", Kind.FRONT_MATTER)


def _shipped_fallbacks(
    front_sources: Mapping[str, SourceFile], shipped: Mapping[str, SourceFile]
) -> dict[str, SourceFile]:
    fallbacks = {
        name: source
        for name, source in shipped.items()
        if not source.is_prompt and not source.is_comment
    }
    if SHARED_COMMENT in shipped:
        fallbacks[SHARED_COMMENT] = shipped[SHARED_COMMENT]
    for name, front_source in front_sources.items():
        comment = f"{front_source.prompt}{COMMENT_SUFFIX}"
        # With shipped front matter, the reply has the fields that the shipped comment template
        # uses.
        if shipped.get(name) is front_source and comment in shipped:
            fallbacks[comment] = shipped[comment]
    return fallbacks


def _non_prompt_problems(
    source: SourceFile, folder_sources: Mapping[str, SourceFile]
) -> Iterator[Problem]:
    if source.front is not None:
        message = (
            "the file has front matter, but is not a prompt; a prompt is a file such as"
            " issues/analyze.j2"
        )
        yield Problem(source.file, 1, message, Kind.PROMPT_FILE)
    if (
        source.is_comment
        and f"{source.prompt}{SUFFIX}" not in folder_sources
        and source.name != SHARED_COMMENT
    ):
        message = f"this is the comment template of {source.prompt}{SUFFIX}, which does not exist"
        yield Problem(source.file, 1, message, Kind.PROMPT_FILE)


def find_folders(settings: Settings) -> list[Path]:
    """Return the prompt folders of the settings that exist. Raises `PromptError` if none does."""
    folders = settings.prompts.folders
    present = [folder for folder in folders.values() if folder.is_dir()]
    if not present:
        raise PromptError(
            [
                Sentence(
                    f"{settings.sources.where(key)}: there is no folder {folder.absolute()}",
                    Kind.PROMPT_FILE,
                )
                for key, folder in folders.items()
            ]
        )
    return present
