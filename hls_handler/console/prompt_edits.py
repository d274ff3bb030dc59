"""The pages that try an unsaved edit of a prompt: rendered, and sent to Claude, with one or several stored deliveries.

No file is ever changed. Only people who signed in with `server.api_key` may do this: an edit is a template from outside
of the operator's folders.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from hls_handler import shipped
from hls_handler.console.claude_runs import CallRefused, ClaudeRuns
from hls_handler.console.edited_prompt import RenderJob, RenderResult, render_edit
from hls_handler.console.frame import Form, Frame
from hls_handler.console.prompts import prompt_name, show_rendered
from hls_handler.engine.library import all_variables
from hls_handler.errors import HlsError, StoreUnavailable
from hls_handler.prompting.front_matter import parse_front_matter
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.prompting.prompt import Library, Prompt
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.prompting.reply_fields import build_reply_model
from hls_handler.prompting.source_files import SourceFile
from hls_handler.reports.estimate import Estimate, estimate, format_cost
from hls_handler.reports.prompt_input import choose_sources, list_deliveries, make_input
from hls_handler.settings.effective import find_chosen_events, find_shadow_only_prompts
from hls_handler.storage import Storage
from hls_handler.trials.replay import StoredFacts
from hls_handler.trials.trial import Trial, plan_edit

NUMBERS = (1, 5, 10, 20)
"""Numbers of deliveries that the form offers."""

MAX_EDIT_BYTES = 256 * 1024
"""Limit on the form, in which most characters of a text have one to three bytes."""

MAX_FRONT_CHARACTERS = 64_000
MAX_PREPARED = 4
"""Rendered edits that one process keeps until they are sent."""

KEPT_FIELDS = ("text", "file", "delivery", "most")
NEEDS_KEY = (
    "An unsaved prompt is a template from the browser, and the real Claude answers it, so it needs server.api_key. Set "
    "it in the settings."
)
CHANGED = "The text or a delivery has changed since the cost was shown. This is the new cost; send it again."


@dataclass(frozen=True, slots=True)
class Edit:
    name: str  # "issues/analyze"
    file: str  # "issues/_issue.j2"
    text: str
    guid: str  # of the first delivery; "" for the default
    most: int  # number of deliveries


@dataclass(frozen=True, slots=True)
class Prepared:
    """An edit that was rendered, and what sending it costs."""

    edit: Edit
    diff: tuple[str, ...]
    trials: tuple[Trial, ...]  # at least one, until it is sent
    failed: tuple[tuple[str, str], ...]  # title and problem of deliveries that it cannot be rendered with
    shown: Mapping[str, object]  # the first question
    costs: tuple[Estimate, ...]  # of the questions of each trial
    total: Estimate
    once: str = field(default_factory=lambda: secrets.token_hex(16))  # key of the form that sends it

    @property
    def cost(self) -> str:
        return format_cost(self.total)


class PromptEdits:
    def __init__(
        self,
        frame: Frame,
        store: Storage,
        prompts: Callable[[], ReloadingLibrary],
        runs: ClaudeRuns,
        delimiter_key: bytes,
    ) -> None:
        self._frame, self._store, self._prompts = frame, store, prompts
        self._runs, self._key = runs, delimiter_key
        self._prepared: dict[str, Prepared] = {}  # rendered and not sent, by `Prepared.once`, the newest last
        self._lock = threading.Lock()

    def routes(self) -> Sequence[BaseRoute]:
        edit, reply = "/prompts/{family}/{name:path}/edit", "/prompts/{family}/{name:path}/reply"
        form = partial(self._frame.form, keep=KEPT_FIELDS, max_bytes=MAX_EDIT_BYTES)
        return [
            self._frame.page(edit, self._begin),
            form(edit, self._render),
            self._frame.page(reply, self._show_reply),
            form(reply, self._send),
        ]

    def _begin(self, request: Request) -> Response:
        given = {name: value for name, value in request.query_params.items() if name != "text"}  # links give no text
        library, edit = self._read(request, given)
        return self._page(request, library, edit)

    def _render(self, request: Request, form: Form) -> Response:
        return self._try(request, *self._read(request, form))

    def _send(self, request: Request, form: Form) -> Response:
        library, edit = self._read(request, form)
        once, location = form.get("once", ""), RedirectResponse(f"/prompts/{edit.name}/reply", 303)
        with self._lock:  # the second request of a double click waits for the first one
            progress, prepared = self._runs.find(edit.name), self._prepared.get(once)
            if progress is not None and progress.about.once == once:
                return location
            if prepared is not None and prepared.edit == edit:
                about, settings = replace(prepared, trials=()), self._frame.settings
                try:
                    self._runs.start("trial", edit.name, prepared.trials, settings, {"unsaved": edit.file}, about)
                except CallRefused as exc:
                    return self._page(request, library, edit, prepared=prepared, said=str(exc), status=409)
                del self._prepared[once]
                return location
        if once:
            return self._try(request, library, edit, said=CHANGED, status=409)
        return self._try(request, library, edit)

    def _show_reply(self, request: Request) -> Response:
        name = prompt_name(request)
        progress = self._runs.find(name)
        if progress is None:
            text = f"No unsaved edit of {name} was sent to Claude since this process started."
            return self._frame.message(request, text, status=404)
        return self._frame.render(
            request, "prompt_reply.html", sent=progress.about, progress=progress, report=progress.report
        )

    def _read(self, request: Request, given: Mapping[str, str]) -> tuple[Library, Edit]:
        """Return the edit, by default of the prompt's file as it is. Raises `HTTPException`: 403 without a key, 404."""
        if not self._frame.settings.may_try_edits:
            raise HTTPException(403, NEEDS_KEY)
        name, library = prompt_name(request), self._prompts().latest
        if name not in library.prompts:
            raise HTTPException(404, f"there is no prompt {name} in the library")
        file = given.get("file") or library.sources[name].template.name
        text = given.get("text", _find_file(library, name, file).text).replace("\r\n", "\n")  # browsers send CRLF
        most = int(given["most"]) if given.get("most", "") in map(str, NUMBERS) else 1
        return library, Edit(name, file, text, given.get("delivery", "").strip(), most)

    def _try(self, request: Request, library: Library, edit: Edit, *, said: str = "", status: int = 200) -> Response:
        """Render the edit, and show it with its cost, or with its problems."""
        result, prepared = RenderResult(), None
        try:
            sources, unsuitable = self._choose(library, edit)
            result = render_edit(self._make_job(library, edit, sources))
            if result.requests:
                prepared = self._prepare(library, edit, result, sources, unsuitable)
        except StoreUnavailable:
            raise
        except HlsError as exc:
            result = RenderResult(result.diff, (str(exc),))
        if prepared is not None:
            with self._lock:
                self._prepared[prepared.once] = prepared
                while len(self._prepared) > MAX_PREPARED:
                    del self._prepared[next(iter(self._prepared))]
        return self._page(request, library, edit, result=result, prepared=prepared, said=said, status=status)

    def _prepare(
        self,
        library: Library,
        edit: Edit,
        result: RenderResult,
        sources: Sequence[StoredFacts],
        unsuitable: Sequence[str],
    ) -> Prepared:
        prompt, claude = _to_prompt(library.prompts[edit.name], result), self._frame.settings.claude
        schema = prompt.reply_model.model_json_schema()
        failed = [(sentence, "") for sentence in unsuitable]
        trials: list[Trial] = []
        for source, made in zip(sources, result.requests, strict=True):
            if isinstance(made, str):
                failed.append((source.title, made))
                continue
            requests = tuple(RenderedPrompt(prompt, one.system, one.task, schema, one.missing) for one in made)
            trials.append(plan_edit(self._store, source, library, edit.name, requests))
        first = trials[0]
        return Prepared(
            edit,
            result.diff,
            tuple(trials),
            tuple(failed),
            show_rendered(self._frame.settings, first.requests[0], first.source),
            tuple(estimate(claude, *trial.requests) for trial in trials),
            estimate(claude, *(one for trial in trials for one in trial.requests)),
        )

    def _choose(self, library: Library, edit: Edit) -> tuple[Sequence[StoredFacts], Sequence[str]]:
        """Return the deliveries to try the edit with: that of the form, those with corrections, then the newest.

        Also returns sentences about deliveries with corrections that cannot be used. Raises `HlsError`.
        """
        corrected = [one.row for one in self._store.corrections.newest_of_prompt(edit.name, most=edit.most)]
        rows = [*corrected, *list_deliveries(self._store, library, edit.name)]
        settings, table = self._frame.settings, self._frame.table
        sources, unsuitable = choose_sources(
            self._store, library, edit.name, table, settings, rows, guid=edit.guid, most=edit.most
        )
        return sources, [f"{unsuitable[row.guid]}." for row in corrected if row.guid in unsuitable]

    def _make_job(self, library: Library, edit: Edit, sources: Sequence[StoredFacts]) -> RenderJob:
        settings, source = self._frame.settings, _find_file(library, edit.name, edit.file)
        return RenderJob(
            folders=tuple(str(path.absolute()) for path in settings.prompts.folders.values() if path.is_dir()),
            chosen=tuple(find_chosen_events(settings)),
            shadows=tuple(find_shadow_only_prompts(settings)),
            config=all_variables(settings),
            prompt=edit.name,
            file=edit.file,
            label=_diff_label(source),
            before=source.text,
            after=edit.text,
            given=tuple(make_input(one, library, edit.name) for one in sources),
            key=self._key.hex(),
        )

    def _page(
        self,
        request: Request,
        library: Library,
        edit: Edit,
        *,
        result: RenderResult | None = None,
        prepared: Prepared | None = None,
        said: str = "",
        status: int = 200,
    ) -> Response:
        return self._frame.render(
            request,
            "prompt_edit.html",
            status=status,
            edit=edit,
            prompt=library.prompts[edit.name],
            is_shipped=Path(_find_file(library, edit.name, edit.file).file).is_relative_to(shipped.PROMPTS),
            result=result,
            prepared=prepared,
            said=said,
            numbers=NUMBERS,
            format_cost=format_cost,
            query=urlencode({"delivery": edit.guid}) if edit.guid else "",
        )


def _find_file(library: Library, name: str, file: str) -> SourceFile:
    for source in library.sources[name].sources:
        if source.name == file:
            return source
    raise HTTPException(404, f"{name} uses no file {file[:200]}")


def _diff_label(source: SourceFile) -> str:
    """Return "prompts/issues/analyze.j2": the file with the name of its folder, without the folder's path."""
    folder = Path(source.file.removesuffix(source.name)).absolute()
    return f"{folder.name}/{source.name}"


def _to_prompt(before: Prompt, rendered: RenderResult) -> Prompt:
    """Return the edited prompt, with a reply type made from its front matter.

    This parses YAML and compiles no template. Raises `HlsError` if the front matter is not valid.
    """
    if len(rendered.front) > MAX_FRONT_CHARACTERS:
        raise HlsError(f"the front matter has more than {MAX_FRONT_CHARACTERS:,} characters")
    front, lines, problems = parse_front_matter(rendered.front, before.path)
    model, found = (None, []) if front is None else build_reply_model(front, lines)
    if front is None or model is None or problems or found:
        raise HlsError("; ".join(str(problem) for problem in (*problems, *found)) or "there is no front matter")
    return replace(
        before,
        id=rendered.prompt_id,
        on=front.on,
        reply=front.reply,
        reply_model=model,
        model=front.model,
        max_tokens=front.max_tokens,
        effort=front.effort,
        then=front.then,
    )
