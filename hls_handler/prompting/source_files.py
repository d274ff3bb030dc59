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
from types import MappingProxyType

from hls_handler.prompting.front_matter import (
    BYTE_ORDER_MARK,
    FENCE_PROBLEM,
    FrontMatter,
    find_wrong_fence,
    parse_front_matter,
    split_front_matter,
)
from hls_handler.prompting.problems import Problem, prompt_error
from hls_handler.question import (
    SUFFIX,
)
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

NOTHING_UNSAVED: Mapping[str, str] = MappingProxyType({})

SHIPPED_FRONT_MATTER = Path(__file__).parent / "shipped_front_matter"
"""Copies of the shipped front matters, for templates without front matter that replace the shipped
files themselves.

`python -m hls_handler.sandbox.samples` writes the files. A test fails if they are out of date.
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
        return None if line is None else Problem(self.file, line, FENCE_PROBLEM)

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


def read_folder(directory: Path) -> tuple[Mapping[str, SourceFile], list[Problem]]:
    """Return {name: file} of all templates below `directory`, and a problem for each unreadable
    file or folder.
    """
    sources: dict[str, SourceFile] = {}
    problems: list[Problem] = []

    def unreadable(exc: OSError) -> None:
        problems.append(
            Problem(Path(exc.filename).as_posix(), 1, f"this folder cannot be read: {exc.strerror}")
        )

    for path in map(Path, find_files(directory, unreadable)):
        if not path.name.endswith(SUFFIX) or path.is_dir():
            continue
        name = path.relative_to(directory).as_posix()
        file = path.as_posix()
        try:
            sources[name] = _split(name, file, path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            problems.append(Problem(file, 1, "the file is not UTF-8; save it as UTF-8"))
        except OSError as exc:
            problems.append(Problem(file, 1, f"the file cannot be read: {exc.strerror}"))
    return sources, problems


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


def read_source_files(
    folders: Sequence[Path],
    shipped: Path | None,
    *,
    unsaved: Mapping[str, str] = NOTHING_UNSAVED,
    unsaved_in: str = UNSAVED,
) -> tuple[SourceFiles, list[Problem]]:
    """Read the files of `folders`, and those of `shipped` that they need. Raises `PromptError` for
    a missing folder.

    `unsaved` are texts by name ("issues/analyze.j2") that take precedence over the files of all
    folders, and `unsaved_in` is the folder that messages name for them.
    """
    missing = [folder.as_posix() for folder in folders if not folder.is_dir()]
    if missing:
        message = "there is no such folder; check prompts.directory in the settings"
        raise prompt_error([Problem(folder, 1, message) for folder in missing])
    read = [read_folder(folder) for folder in folders]
    if unsaved:
        edits = {name: _split(name, f"{unsaved_in}/{name}", text) for name, text in unsaved.items()}
        read.insert(0, (edits, []))
    problems = [problem for _, found in read for problem in found]
    shipped_sources = (
        read_folder(shipped)[0] if shipped is not None and shipped not in folders else {}
    )
    copies = read_folder(SHIPPED_FRONT_MATTER)[0] if shipped is not None else {}
    layers = [*(sources for sources, _ in read), shipped_sources, copies]
    own = {name: source for sources, _ in reversed(read) for name, source in sources.items()}
    own |= _find_followers(own, layers, shipped_sources)
    front_sources = {
        name: _find_front_source(name, layers) for name, source in own.items() if source.is_prompt
    }
    sources = {**_shipped_fallbacks(front_sources, shipped_sources), **own}
    first_folder = folders[0].as_posix()
    if not front_sources:
        folder = (
            "this folder"
            if len(folders) == 1
            else f"any of {', '.join(f.as_posix() for f in folders)}"
        )
        message = f"there is no prompt in {folder}; a prompt is a file such as issues/analyze.j2"
        problems.append(Problem(first_folder, 1, message))
    if BASE not in sources:
        base = sources[BASE] = SourceFile(
            BASE, f"{first_folder}/{BASE}", text="", front=None, template=""
        )
        problems.append(
            Problem(
                base.file, 1, "the file is missing; it contains the system message of every prompt"
            )
        )
    front_matters: dict[str, FrontMatter] = {}
    texts: dict[str, str] = {}
    lines: dict[str, Sources] = {}
    for name, source in own.items():
        if not source.is_prompt:
            problems += _non_prompt_problems(source, own)
            continue
        front_source = front_sources[name]
        if front_source.fence_problem is not None:
            problems.append(front_source.fence_problem)
        if front_source.front is None:
            problems += [] if front_source.fence_problem else [_missing_front_problem(source)]
            continue
        front, lines[source.prompt], found = parse_front_matter(
            front_source.front, front_source.file
        )
        problems += found
        if front is not None:
            front_matters[source.prompt], texts[source.prompt] = front, front_source.front
    inherited = frozenset(source.prompt for name, source in own.items() if name not in read[0][0])
    return SourceFiles(sources, front_matters, texts, lines, inherited), problems


def _find_front_source(name: str, layers: Sequence[Mapping[str, SourceFile]]) -> SourceFile:
    candidates = [sources[name] for sources in layers if name in sources]
    return next(
        (source for source in candidates if source.front is not None or source.fence_problem),
        candidates[0],
    )


def _find_followers(
    own: Mapping[str, SourceFile],
    layers: Sequence[Mapping[str, SourceFile]],
    shipped: Mapping[str, SourceFile],
) -> Mapping[str, SourceFile]:
    """Return the shipped prompts that `own` lacks and that the `then` of its prompts names,
    directly or indirectly.
    """
    found: dict[str, SourceFile] = {}
    pending = [source for source in own.values() if source.is_prompt]
    while pending:
        source = pending.pop()
        text = _find_front_source(source.name, layers).front
        front = None if text is None else parse_front_matter(text, source.file)[0]
        follower = f"{front.then.prompt}{SUFFIX}" if front is not None and front.then else ""
        if follower in shipped and follower not in {*own, *found}:
            found[follower] = shipped[follower]
            pending.append(shipped[follower])
    return found


def _missing_front_problem(source: SourceFile) -> Problem:
    message = (
        "the file has no front matter, and no shipped prompt has its path; add front matter between"
        " lines ---"
    )
    return Problem(
        source.file,
        1,
        f"{message}, or if it is a part, rename it to _{source.name.rpartition('/')[2]}",
    )


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


def _non_prompt_problems(source: SourceFile, own: Mapping[str, SourceFile]) -> Iterator[Problem]:
    if source.front is not None:
        message = (
            "the file has front matter, but is not a prompt; a prompt is a file such as"
            " issues/analyze.j2"
        )
        yield Problem(source.file, 1, message)
    if (
        source.is_comment
        and f"{source.prompt}{SUFFIX}" not in own
        and source.name != SHARED_COMMENT
    ):
        message = f"this is the comment template of {source.prompt}{SUFFIX}, which does not exist"
        yield Problem(source.file, 1, message)
