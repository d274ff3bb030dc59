"""The shelf: everything that a library is made of as it was read, before any template is looked into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hls_handler.prompting.folder import BASE, COMMENT_SUFFIX, FENCE, SHARED_COMMENT, SUFFIX, Source, read_folder
from hls_handler.prompting.frontmatter import FrontMatter, Lines, parse_front_matter
from hls_handler.prompting.problems import Problem, prompt_error


@dataclass(frozen=True, slots=True)
class Shelf:
    sources: Mapping[str, Source]  # template name -> file, shipped ones that stand in included
    fronts: Mapping[str, FrontMatter]  # prompt name -> what could be read of its front matter
    front_texts: Mapping[str, str]  # prompt name -> its front matter as written
    lines: Mapping[str, Lines]  # prompt name -> where the keys of its front matter stand
    inherited: frozenset[str]  # names of prompts that the first of several folders does not have


def read_shelf(folders: Sequence[Path], shipped: Path | None) -> tuple[Shelf, list[Problem]]:
    """Read the folders, and what they take from the shipped one. Raises `PromptError` for a folder that is missing."""
    missing = [folder.as_posix() for folder in folders if not folder.is_dir()]
    if missing:
        advice = "prompts.directory in the settings names it"
        raise prompt_error([Problem(where, 1, f"there is no such folder; {advice}") for where in missing])
    read = [read_folder(folder) for folder in folders]
    problems = [problem for _, found in read for problem in found]
    spare = read_folder(shipped)[0] if shipped is not None and shipped not in folders else {}
    layers = [*(sources for sources, _ in read), spare]
    own = {name: source for sources, _ in reversed(read) for name, source in sources.items()}
    holders = {name: _holder(name, layers) for name, source in own.items() if source.is_prompt}
    sources = {**_stand_ins(holders, spare), **own}
    where = folders[0].as_posix()
    if not holders:
        folder = "this folder" if len(folders) == 1 else f"any of {', '.join(f.as_posix() for f in folders)}"
        problems.append(Problem(where, 1, f"there is no prompt in {folder}; one is a file such as issues/analyze.j2"))
    if BASE not in sources:
        sources[BASE] = Source(BASE, f"{where}/{BASE}", text="", front=None, template="")
        problems.append(Problem(f"{where}/{BASE}", 1, "is missing; the system message of every prompt comes from it"))
    fronts: dict[str, FrontMatter] = {}
    texts: dict[str, str] = {}
    lines: dict[str, Lines] = {}
    for name, source in own.items():
        if not source.is_prompt:
            problems += _misplaced(source, own)
            continue
        holder = holders[name]
        if holder.front is None:
            problems.append(_without_front(source, holder))
            continue
        front, lines[source.prompt], found = parse_front_matter(holder)
        problems += found
        if front is not None:
            fronts[source.prompt], texts[source.prompt] = front, holder.front
    inherited = frozenset(source.prompt for name, source in own.items() if name not in read[0][0])
    return Shelf(sources, fronts, texts, lines, inherited), problems


def _holder(name: str, layers: Sequence[Mapping[str, Source]]) -> Source:
    """The file whose front matter holds: the first of that name that has one, or that begins one and does not end it.

    Where none has, the first of that name.
    """
    alike = [sources[name] for sources in layers if name in sources]
    return next((source for source in alike if source.front is not None or source.is_unclosed), alike[0])


def _without_front(source: Source, holder: Source) -> Problem:
    if holder.is_unclosed:
        return Problem(holder.file, 1, f"the front matter has no end; close it with a line {FENCE}")
    message = "has no front matter, and no shipped prompt has this path; begin it with a line ---"
    return Problem(source.file, 1, f"{message}, or name a part _{source.name.rpartition('/')[2]}")


def _stand_ins(holders: Mapping[str, Source], spare: Mapping[str, Source]) -> dict[str, Source]:
    """Shipped parts, and the comments of prompts whose front matter is the shipped one: they replace the words only."""
    taken = {name: source for name, source in spare.items() if not source.is_prompt and not source.is_comment}
    if SHARED_COMMENT in spare:
        taken[SHARED_COMMENT] = spare[SHARED_COMMENT]
    for name, holder in holders.items():
        comment = f"{holder.prompt}{COMMENT_SUFFIX}"
        if spare.get(name) is holder and comment in spare:
            taken[comment] = spare[comment]
    return taken


def _misplaced(source: Source, own: Mapping[str, Source]) -> list[Problem]:
    problems = []
    if source.front is not None:
        message = "there is front matter, but this is no prompt; only a file such as issues/analyze.j2 is one"
        problems.append(Problem(source.file, 1, message))
    if source.is_comment and f"{source.prompt}{SUFFIX}" not in own and source.name != SHARED_COMMENT:
        problems.append(Problem(source.file, 1, f"is the comment of {source.prompt}{SUFFIX}, which does not exist"))
    return problems
