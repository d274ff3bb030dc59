"""The page of trials: a prompt, perhaps with an unsaved edit, is rendered with stored deliveries
and sent to Claude.

A dry run of a delivery is a trial of its prompt. No file is ever changed. Only people who signed in
may try an edit, because it is a template from outside of the operator's folders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from hls_handler import shipped
from hls_handler.console.claude_runs import CallRefused, ClaudeRuns
from hls_handler.console.delivery_search import require_delivery
from hls_handler.console.frame import Form, Frame
from hls_handler.console.prompts import prompt_name
from hls_handler.engine.active_config import DeliveryConfig
from hls_handler.engine.asking import digest_request
from hls_handler.engine.library import load_checked
from hls_handler.errors import HlsError, PromptError, StoreUnavailable
from hls_handler.handlers.handler import common_variables
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.prompting.prompt import Library, diff_texts
from hls_handler.prompting.render import render_comment
from hls_handler.prompting.source_files import (
    COMMENT_SUFFIX,
    SHARED_COMMENT,
    SourceFile,
    make_folder,
)
from hls_handler.prompting.variables import sample_values
from hls_handler.question import estimate_tokens
from hls_handler.reports.estimate import Estimate, estimate, format_cost
from hls_handler.storage import Storage
from hls_handler.store.statistics import DeliveryRow
from hls_handler.trials.comparison import Comparison
from hls_handler.trials.replay import NotRepeatable
from hls_handler.trials.trial import Plan, Trial, list_deliveries, plan_trial, plan_trials
from hls_handler.untrusted.cleaning import split_untrusted

NUMBERS = (1, 5, 20, 100)
"""Numbers of deliveries that the form offers."""

MAX_EDIT_BYTES = 256 * 1024
"""Limit on the form, in which most characters of a text have one to three bytes."""

MAX_SHOWN_CHARACTERS = 200_000
"""Most characters of a rendered message that the page shows."""

NEEDS_KEY = (
    "An unsaved prompt is a template from the browser, and the real Claude answers it, so it needs"
    " server.api_key. Set it in the settings."
)
CHANGED = (
    "The text or a delivery has changed since the cost was shown. This is the new cost; send it"
    " again."
)


@dataclass(frozen=True, slots=True)
class Edit:
    name: str  # "issues/analyze"
    file: str  # "issues/_issue.j2"
    text: str
    guid: str  # of the first delivery; "" for the default
    most: int  # number of deliveries
    is_changed: bool  # whether the text is not that of the file


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prompt that was rendered with deliveries, and what sending it costs."""

    warnings: Sequence[str]
    comment: str | None  # with an invented reply; None unless a comment template was edited
    planned: tuple[Plan, ...]  # at least one trial
    cost: Estimate  # of all questions

    @property
    def trials(self) -> tuple[Trial, ...]:
        return tuple(one for one in self.planned if isinstance(one, Trial))

    @property
    def digest(self) -> str:
        """Identifies the questions. The form sends it with the button that says what they cost."""
        return sha256(
            b"".join(digest_request(one) for trial in self.trials for one in trial.requests)
        ).hexdigest()

    @property
    def guids(self) -> str:
        return " ".join(
            one.source.event.delivery if isinstance(one, Trial) else one.guid
            for one in self.planned
        )


class TrialPages:
    def __init__(
        self,
        frame: Frame,
        store: Storage,
        prompts: Callable[[], ReloadingLibrary],
        runs: ClaudeRuns,
    ) -> None:
        self._frame = frame
        self._store = store
        self._prompts = prompts
        self._runs = runs

    def routes(self) -> Sequence[BaseRoute]:
        path = "/prompts/{family}/{name:path}/edit"
        return [
            self._frame.page("/deliveries/{guid}/dry-run", self._find_prompt),
            self._frame.page(path, self._show),
            self._frame.form(path, self._process, max_bytes=MAX_EDIT_BYTES),
        ]

    def _find_prompt(self, request: Request) -> Response:
        """Lead to the trial of the prompt that was asked about a delivery, with this delivery."""
        row = require_delivery(self._store, request)
        library = self._prompts().latest
        asked = [call.prompt_id.partition("@")[0] for call in self._store.calls.calls_of(row.guid)]
        names = [
            one
            for one in (*asked, *library.on(row.event_key), *library.on(row.event))
            if one in library.prompts
        ]
        if not names:
            raise HTTPException(404, f"the library has no prompt for {row.event_key}")
        return RedirectResponse(
            f"/prompts/{names[0]}/edit?{urlencode({'delivery': row.guid})}", 303
        )

    def _show(self, request: Request) -> Response:
        """Show the last trial of the prompt, or with a query a new one."""
        # links give no text
        given = {name: value for name, value in request.query_params.items() if name != "text"}
        library, edit = self._read(request, given)
        progress = self._runs.find(edit.name)
        if progress is None or (given and progress.finished_at is not None):
            return self._page(request, library, edit)
        return self._page(request, library, progress.about, shows_trial=True)

    def _process(self, request: Request, form: Form) -> Response:
        library, edit = self._read(request, form)
        if "send" not in form:
            return self._page(request, library, edit)
        location = RedirectResponse(f"/prompts/{edit.name}/edit", 303)
        try:
            guids = form.get("deliveries", "").split()[: max(NUMBERS)]
            prepared = self._prepare(library, edit, guids, ())
            if prepared.digest == form["send"]:
                self._runs.start(
                    edit.name,
                    prepared.planned,
                    self._frame.settings,
                    edit,
                    by=self._frame.person(request),
                )
                return location
        except CallRefused as exc:
            return self._page(request, library, edit, said=str(exc), status=409)
        except (NotRepeatable, PromptError):
            pass  # the page says it
        return self._page(request, library, edit, said=CHANGED, status=409)

    def _read(self, request: Request, given: Mapping[str, str]) -> tuple[Library, Edit]:
        """Return the edit, by default of the prompt's file as it is. Raises `HTTPException`: 403
        without a key, 404.
        """
        name = prompt_name(request)
        library = self._prompts().latest
        if name not in library.prompts:
            raise HTTPException(404, f"there is no prompt {name} in the library")
        file = given.get("file") or library.sources[name].template.name
        saved = _find_file(library, name, file).text
        text = given.get("text", saved).replace("\r\n", "\n")  # browsers send CRLF
        if text != saved and not self._frame.settings.may_try_edits:
            raise HTTPException(403, NEEDS_KEY)
        most = 1
        if given.get("most", "") in map(str, NUMBERS):
            most = int(given["most"])
        return library, Edit(
            name, file, text, given.get("delivery", "").strip(), most, text != saved
        )

    def _prepare(
        self,
        library: Library,
        edit: Edit,
        guids: Sequence[str],
        listed: Sequence[DeliveryRow],
    ) -> Prepared:
        """Render with the deliveries `guids`; without any, with that of the form, then those of
        `listed` that are suitable.

        Raises `NotRepeatable` or `PromptError`.
        """
        store = self._store
        settings = self._frame.settings
        name = edit.name
        edited = library
        warnings: tuple[str, ...] = ()
        if edit.is_changed:
            edited = load_checked(settings, make_folder({edit.file: edit.text}))
            warnings = edited.warnings
        if name not in edited.prompts:
            raise NotRepeatable(f"with this edit, there is no prompt {name} any more")
        config = DeliveryConfig(settings, self._frame.table, edited)
        planned: list[Plan] = []
        for guid in guids or filter(None, [edit.guid]):
            row = store.deliveries.find(guid)
            if row is None:
                raise NotRepeatable(f"there is no delivery {guid}, or it was deleted")
            try:
                planned.append(plan_trial(store, config, row, name))
            except NotRepeatable as exc:
                raise NotRepeatable(f"{guid}: {exc}") from None
        if not guids:
            others = (row for row in listed if row.guid != edit.guid)
            planned += islice(plan_trials(store, config, name, others), edit.most - len(planned))
        trials = [one for one in planned if isinstance(one, Trial)]
        if not trials:
            known = (
                "no suitable delivery of its events is stored; `hls render` and `hls prompts try`"
                " have others"
            )
            raise NotRepeatable(
                next((one.problem for one in planned if isinstance(one, Comparison)), known)
            )
        return Prepared(
            warnings,
            _render_edited_comment(edited, edit, trials[0]),
            tuple(planned),
            estimate(settings.claude, *(one for trial in trials for one in trial.requests)),
        )

    def _page(
        self,
        request: Request,
        library: Library,
        edit: Edit,
        *,
        shows_trial: bool = False,
        said: str = "",
        status: int = 200,
    ) -> Response:
        """Show the prompt rendered, with its cost, or its problems; with `shows_trial`, also the
        last trial.
        """
        prepared: Prepared | None = None
        problems: Sequence[str] = ()
        listed: Sequence[DeliveryRow] = ()
        progress = None
        if shows_trial:
            progress = self._runs.find(edit.name)
        if progress is None or progress.finished_at is not None:
            body_days = self._frame.settings.storage.body_days
            listed = list_deliveries(self._store, library, edit.name, body_days=body_days)
            try:
                prepared = self._prepare(library, edit, (), listed)
            except StoreUnavailable:
                raise
            except PromptError as exc:
                problems = exc.problems
            except HlsError as exc:
                problems = [f"{exc}."]
        first = None
        parts: Sequence[object] = ()
        if prepared is not None:
            first = prepared.trials[0].requests[0]
            parts = tuple(split_untrusted(first.task[:MAX_SHOWN_CHARACTERS]))
        return self._frame.render(
            request,
            "trial.html",
            status=status,
            edit=edit,
            prompt=library.prompts[edit.name],
            may_edit=self._frame.settings.may_try_edits,
            is_shipped=Path(_find_file(library, edit.name, edit.file).file).is_relative_to(
                shipped.PROMPTS
            ),
            diff=_diff(library, edit),
            problems=problems,
            prepared=prepared,
            rendered=first,
            parts=parts,
            progress=progress,
            said=said,
            numbers=NUMBERS,
            offered=listed[: max(NUMBERS)],
            format_cost=format_cost,
            count=estimate_tokens,
            max_shown=MAX_SHOWN_CHARACTERS,
        )


def _find_file(library: Library, name: str, file: str) -> SourceFile:
    for source in library.sources[name].sources:
        if source.name == file:
            return source
    raise HTTPException(404, f"{name} uses no file {file[:200]}")


def _diff(library: Library, edit: Edit) -> list[str]:
    """Return the lines of a diff that `git apply` accepts, with the library's folder:
    "a/prompts/issues/analyze.j2".
    """
    source = _find_file(library, edit.name, edit.file)
    folder = Path(source.file.removesuffix(source.name)).absolute().name
    before, after = (
        (f"{side}/{folder}/{source.name}", text)
        for side, text in (("a", source.text), ("b", edit.text))
    )
    return diff_texts(before, after)


def _render_edited_comment(library: Library, edit: Edit, trial: Trial) -> str | None:
    """Return the comment with an invented reply; None unless its template is the edited file."""
    if not edit.file.endswith((COMMENT_SUFFIX, ".md.j2")) and edit.file != SHARED_COMMENT:
        return None
    source = trial.source
    invented = {
        name: sample_values(hint)[0] for name, hint in source.handler.comment_variable_types.items()
    }
    reply = sample_values(library.prompts[edit.name].reply_model)[0]
    variables = {
        **common_variables(source.event, edit.name, source.effective),
        **source.handler.variables(source.facts),
        **invented,
        "analysis": reply,
    }
    return render_comment(library, edit.name, variables, key=trial.key)
