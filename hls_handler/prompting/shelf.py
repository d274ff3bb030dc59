"""The shelf: everything that a library is made of as it was read, before any template is looked into."""

from __future__ import annotations

from collections.abc import Mapping
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


def read_shelf(directory: Path, shipped: Path | None) -> tuple[Shelf, list[Problem]]:
    """Read the folder, and what it takes from the shipped one. Raises `PromptError` if there is no such folder."""
    where = directory.as_posix()
    if not directory.is_dir():
        raise prompt_error([Problem(where, 1, "there is no such folder; prompts.directory in the settings names it")])
    own, problems = read_folder(directory)
    spare = read_folder(shipped)[0] if shipped is not None and shipped != directory else {}
    sources = {**_stand_ins(own, spare), **own}
    if not any(source.is_prompt for source in own.values()):
        problems.append(Problem(where, 1, "there is no prompt in this folder; one is a file such as issues/analyze.j2"))
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
        holder = source if source.front is not None else spare.get(name, source)
        if source.front is None and source.text.startswith(f"{FENCE}\n"):
            problems.append(Problem(source.file, 1, f"the front matter has no end; close it with a line {FENCE}"))
            continue
        if holder.front is None:
            message = "has no front matter, and no shipped prompt has this path; begin it with a line ---"
            problems.append(Problem(source.file, 1, f"{message}, or name a part _{name.rpartition('/')[2]}"))
            continue
        front, lines[source.prompt], found = parse_front_matter(holder)
        problems += found
        if front is not None:
            fronts[source.prompt], texts[source.prompt] = front, holder.front
    return Shelf(sources, fronts, texts, lines), problems


def _stand_ins(own: Mapping[str, Source], spare: Mapping[str, Source]) -> dict[str, Source]:
    """Shipped parts, and the comments of prompts whose own file has no front matter: it replaces the words only."""
    taken = {name: source for name, source in spare.items() if not source.is_prompt and not source.is_comment}
    if SHARED_COMMENT in spare:
        taken[SHARED_COMMENT] = spare[SHARED_COMMENT]
    for source in own.values():
        comment = f"{source.prompt}{COMMENT_SUFFIX}"
        if source.is_prompt and source.front is None and comment in spare:
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
