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
from hls_handler.console.frame import Form, Frame
from hls_handler.console.prompts import prompt_name, show_rendered
from hls_handler.engine.active_config import DeliveryConfig
from hls_handler.engine.library import load_checked
from hls_handler.errors import HlsError, PromptError, StoreUnavailable
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.prompting.prompt import Library, diff_texts
from hls_handler.prompting.render import render_comment
from hls_handler.prompting.source_files import COMMENT_SUFFIX, SHARED_COMMENT, SourceFile
from hls_handler.prompting.variables import sample_values
from hls_handler.reports.estimate import Estimate, estimate, format_cost
from hls_handler.storage import Storage
from hls_handler.trials.comparison import Comparison
from hls_handler.trials.sources import list_deliveries
from hls_handler.trials.trial import Trial, choose_trials

NUMBERS = (1, 5, 10, 20)
"""Numbers of deliveries that the form offers."""

MAX_EDIT_BYTES = 256 * 1024
"""Limit on the form, in which most characters of a text have one to three bytes."""

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
    diff: Sequence[str]
    warnings: Sequence[str]
    comment: str | None  # with an invented reply; None unless a comment template was edited
    trials: tuple[Trial, ...]  # at least one, until it is sent
    failed: Sequence[Comparison]  # the deliveries that it cannot be rendered with
    shown: Mapping[str, object]  # the first question
    costs: tuple[Estimate, ...]  # of the questions of each trial
    total: Estimate
    once: str = field(default_factory=lambda: secrets.token_hex(16))  # key of the form that sends it

    @property
    def cost(self) -> str:
        return format_cost(self.total)


class PromptEdits:
    def __init__(self, frame: Frame, store: Storage, prompts: Callable[[], ReloadingLibrary], runs: ClaudeRuns) -> None:
        self._frame, self._store, self._prompts, self._runs = frame, store, prompts, runs
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
        return self._frame.render(request, "prompt_reply.html", sent=progress.about, progress=progress)

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
        prepared: Prepared | None = None
        problems: Sequence[str] = ()
        try:
            prepared = self._prepare(library, edit)
            with self._lock:
                self._prepared[prepared.once] = prepared
                while len(self._prepared) > MAX_PREPARED:
                    del self._prepared[next(iter(self._prepared))]
        except StoreUnavailable:
            raise
        except HlsError as exc:
            problems = exc.problems if isinstance(exc, PromptError) else [str(exc)]
        return self._page(request, library, edit, prepared=prepared, problems=problems, said=said, status=status)

    def _prepare(self, library: Library, edit: Edit) -> Prepared:
        """Render the edit with the delivery of the form, those with corrections, then the newest. Raises `HlsError`."""
        store, settings, name = self._store, self._frame.settings, edit.name
        edited = load_checked(settings, unsaved={edit.file: edit.text})
        if name not in edited.prompts:
            raise HlsError(f"with this edit, there is no prompt {name} any more")
        corrected = [one.row for one in store.corrections.newest_of_prompt(name, most=edit.most)]
        rows = {row.guid: row for row in (*corrected, *list_deliveries(store, edited, name))}
        config = DeliveryConfig(settings, self._frame.table, edited)
        planned = choose_trials(store, config, name, rows.values(), guid=edit.guid, most=edit.most)
        trials = [one for one in planned if isinstance(one, Trial)]
        failed = [one for one in planned if isinstance(one, Comparison)]
        if not trials:
            raise HlsError(failed[0].problem)
        return Prepared(
            edit,
            _diff(library, edit),
            edited.warnings,
            _render_edited_comment(edited, edit, trials[0]),
            tuple(trials),
            failed,
            show_rendered(settings, trials[0]),
            tuple(estimate(settings.claude, *trial.requests) for trial in trials),
            estimate(settings.claude, *(one for trial in trials for one in trial.requests)),
        )

    def _page(
        self,
        request: Request,
        library: Library,
        edit: Edit,
        *,
        prepared: Prepared | None = None,
        problems: Sequence[str] = (),
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
            diff=_diff(library, edit),
            problems=problems,
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


def _diff(library: Library, edit: Edit) -> list[str]:
    """Return a diff to apply. It names the file with the name of its folder: "a/prompts/issues/analyze.j2"."""
    source = _find_file(library, edit.name, edit.file)
    folder = Path(source.file.removesuffix(source.name)).absolute().name
    before, after = ((f"{side}/{folder}/{source.name}", text) for side, text in (("a", source.text), ("b", edit.text)))
    return diff_texts(before, after)


def _render_edited_comment(library: Library, edit: Edit, trial: Trial) -> str | None:
    """Return the comment with an invented reply; None unless its template is the edited file."""
    if not edit.file.endswith((COMMENT_SUFFIX, ".md.j2")) and edit.file != SHARED_COMMENT:
        return None
    source = trial.source
    invented = {name: sample_values(hint)[0] for name, hint in source.handler.comment_variable_types.items()}
    reply = sample_values(library.prompts[edit.name].reply_model)[0]
    variables = {**source.variables(edit.name)(source.facts), **invented, "analysis": reply}
    return render_comment(library, edit.name, variables, key=trial.key)
