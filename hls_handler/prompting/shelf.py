"""Source files of a prompt library, merged from several folders and the shipped library, before parsing templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hls_handler.prompting.folder import BASE, COMMENT_SUFFIX, FENCE, SHARED_COMMENT, SUFFIX, SourceFile, read_folder
from hls_handler.prompting.frontmatter import FrontMatter, KeyLines, parse_front_matter
from hls_handler.prompting.problems import Problem, prompt_error


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
        front, lines[source.prompt], found = parse_front_matter(front_source)
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
