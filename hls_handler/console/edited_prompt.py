"""Renders a prompt with an unsaved edit."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hls_handler import shipped
from hls_handler.engine.library import families
from hls_handler.errors import HlsError, PromptError
from hls_handler.prompting.library import build_library
from hls_handler.prompting.prompt import Library, diff_texts
from hls_handler.prompting.render import render, render_comment
from hls_handler.prompting.source_files import (
    COMMENT_SUFFIX,
    SHARED_COMMENT,
    SHIPPED_FRONT_MATTER,
    UNSAVED,
    read_source_files,
)
from hls_handler.prompting.variables import sample_values
from hls_handler.reports.prompt_input import PromptInput, list_variables

MAX_PROBLEMS = 50


@dataclass(frozen=True, slots=True)
class RenderJob:
    folders: tuple[str, ...]  # of the prompt library, absolute; the first one has precedence
    chosen: tuple[str, ...]  # see `load_library`; the same for `shadows` and `config`
    shadows: tuple[str, ...]
    config: Mapping[str, Any]
    prompt: str  # "issues/analyze"
    file: str  # name of the edited file: "issues/_issue.j2"
    label: str  # its path in the diff: "prompts/issues/_issue.j2"
    before: str  # text of the file in the library
    after: str  # unsaved text
    given: tuple[PromptInput, ...]  # at least one; it is rendered with each
    key: str  # secret of the delimiters, hexadecimal


@dataclass(frozen=True, slots=True)
class RenderedRequest:
    system: str
    task: str
    missing: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RenderResult:
    """The diff, and either the rendered prompt or the problems: "edit/issues/analyze.j2:3: ..."."""

    diff: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    prompt_id: str = ""  # the id that the prompt would have if the edit were saved
    requests: tuple[tuple[RenderedRequest, ...] | str, ...] = ()  # for each of `given`; or why it cannot be rendered
    front: str = ""  # the front matter, without fences
    comment: str | None = None  # with invented values; None unless a comment template was edited


def render_edit(job: RenderJob) -> RenderResult:
    """Render the prompt with the edited file."""
    folders = [Path(folder) for folder in job.folders]
    hide = partial(_hide_folders, folders=folders)
    diff: tuple[str, ...] = ()
    try:
        files, problems = read_source_files(folders, shipped.PROMPTS, unsaved={job.file: job.after})
        diff = tuple(diff_texts((f"a/{job.label}", job.before), (f"b/{job.label}", job.after)))
        library = build_library(
            files,
            problems,
            families=families(),
            chosen=frozenset(job.chosen),
            shadows=frozenset(job.shadows),
            config=job.config,
        )
        return RenderResult(
            diff,
            warnings=tuple(map(hide, library.warnings)),
            requests=tuple(hide(one) if isinstance(one, str) else one for one in _render_all(job, library)),
            comment=_render_edited_comment(job, library),
            prompt_id=library.prompts[job.prompt].id,
            front=library.sources[job.prompt].front,
        )
    except PromptError as exc:
        return RenderResult(diff, tuple(map(hide, exc.problems[:MAX_PROBLEMS])))
    except HlsError as exc:
        return RenderResult(diff, (hide(str(exc)),))


def _render_all(job: RenderJob, library: Library) -> list[tuple[RenderedRequest, ...] | str]:
    if job.prompt not in library.prompts:
        raise HlsError(f"with this edit, there is no prompt {job.prompt} any more")
    requests: list[tuple[RenderedRequest, ...] | str] = []
    for given in job.given:
        try:
            requests.append(tuple(_render_requests(job, library, given)))
        except HlsError as exc:
            if len(job.given) == 1:
                raise
            requests.append("; ".join(exc.problems) if isinstance(exc, PromptError) else str(exc))
    if all(isinstance(one, str) for one in requests):
        raise HlsError(str(requests[0]))
    return requests


def _render_requests(job: RenderJob, library: Library, given: PromptInput) -> Iterator[RenderedRequest]:
    for variables in list_variables(given, library, job.prompt):
        made = render(library, job.prompt, variables, key=bytes.fromhex(job.key))
        yield RenderedRequest(made.system, made.task, made.missing)


def _render_edited_comment(job: RenderJob, library: Library) -> str | None:
    """Return the comment with an invented reply; None unless its template is the edited file."""
    if not job.file.endswith((COMMENT_SUFFIX, ".md.j2")) and job.file != SHARED_COMMENT:
        return None
    given = job.given[0]
    variables, family = next(list_variables(given, library, job.prompt)), families()[given.event]
    invented = {name: sample_values(hint)[0] for name, hint in family.comment_variables.items()}
    reply = sample_values(library.prompts[job.prompt].reply_model)[0]
    variables = {**variables, **invented, "analysis": reply}
    return render_comment(library, job.prompt, variables, key=bytes.fromhex(job.key))


def _hide_folders(message: str, folders: list[Path]) -> str:
    """Return the message with the folders' names in place of their paths."""
    places = {folder: folder.name for folder in (*folders, shipped.PROMPTS, SHIPPED_FRONT_MATTER)}
    for folder, name in places.items():
        message = message.replace(f"{folder}{os.sep}", f"{name}{os.sep}")
    here = Path.cwd().as_posix().rstrip("/")
    return re.sub(rf"(?<![\w./-]){re.escape(here)}/{UNSAVED}/", f"{UNSAVED}/", message)
