"""The pages that try an unsaved edit of a prompt: rendered, and sent to Claude, with one or several stored deliveries.

No file is ever changed. Only people who signed in with `server.api_key` may do this: an edit is a template from outside
of the operator's folders.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from hls_handler import shipped
from hls_handler.console.claude_runs import CallRefused, ClaudeRuns
from hls_handler.console.frame import Form, Frame
from hls_handler.console.prompts import Shown, prompt_name, show_rendered
from hls_handler.console.render_child import Rendered, RenderJob, RenderResult
from hls_handler.console.render_process import NO_RESULT, RenderBusy, RunRenderJob
from hls_handler.engine.library import all_variables
from hls_handler.errors import HlsError, PromptError
from hls_handler.prompting.front_matter import parse_front_matter
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.prompting.prompt import Library, Prompt
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.prompting.reply_fields import build_reply_model
from hls_handler.prompting.source_files import SourceFile
from hls_handler.reports.dry_run import Run
from hls_handler.reports.estimate import CostEstimate, add_estimates, estimate, format_cost
from hls_handler.reports.prompt_input import (
    PromptInput,
    UnsuitableDelivery,
    list_deliveries,
    load_delivery,
    load_sample,
)
from hls_handler.reports.prompt_trial import (
    TrialQuestion,
    TrialResult,
    compare_with_stored,
    run_trial,
    summarize_labels,
)
from hls_handler.settings.effective import RepositoryTable, find_chosen_events, find_shadow_only_prompts
from hls_handler.storage import Storage

NUMBERS = (1, 5, 10, 20)
"""Numbers of deliveries that the form offers."""

MAX_EDIT_BYTES = 256 * 1024
"""Limit on the form, in which most characters of a text have one to three bytes."""

MAX_FRONT_CHARACTERS = 64_000
KEPT_FIELDS = ("text", "file", "delivery", "most")
NEEDS_KEY = (
    "An unsaved prompt is a template from the browser, and the real Claude answers it, so it needs server.api_key. Set "
    "it in the settings."
)
BUSY = "Another edit is being rendered. Wait a few seconds, then try again."


@dataclass(frozen=True, slots=True)
class Edit:
    name: str  # "issues/analyze"
    file: str  # "issues/_issue.j2"
    text: str
    guid: str  # of the first delivery; "" for the default
    most: int  # number of deliveries


@dataclass(frozen=True, slots=True)
class Chosen:
    """The deliveries that an edit is tried with."""

    inputs: tuple[PromptInput, ...]
    unsuitable: tuple[str, ...] = ()  # sentences about deliveries with corrections that cannot be used


@dataclass(frozen=True, slots=True)
class Prepared:
    """An edit that was rendered, and what sending it costs."""

    questions: tuple[TrialQuestion, ...]  # at least one
    failed: tuple[tuple[str, str], ...]  # title and problem of deliveries that it cannot be rendered with
    shown: Shown  # the first question
    costs: tuple[CostEstimate, ...]  # of each question
    total: CostEstimate

    @property
    def cost(self) -> str:
        return format_cost(self.total)

    @property
    def guids(self) -> str:
        """The chosen deliveries, as a field of the form."""
        return " ".join(question.given.guid or "" for question in self.questions)

    def digest(self, edit: Edit, key: bytes) -> str:
        """Identifies what was rendered, so that nothing is sent whose cost this process has not shown."""
        titles = [question.given.title for question in self.questions]
        parts = (edit.name, edit.file, edit.text, edit.guid, str(edit.most), self.guids, *titles, self.cost, key.hex())
        return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


Trial = tuple[TrialResult, ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """A sent edit, for the page of the replies."""

    edit: Edit
    prepared: Prepared
    diff: Sequence[str]


class PromptEdits:
    def __init__(
        self,
        frame: Frame,
        store: Storage,
        prompts: Callable[[], ReloadingLibrary],
        run: RunRenderJob,
        trials: ClaudeRuns[Trial],
        sent: dict[str, Sent],
        used: set[str],
        delimiter_key: bytes,
    ) -> None:
        """`sent` has what `trials` are about, by prompt, and `used` the random fields `once` of all sent forms."""
        self._frame, self._store, self._prompts = frame, store, prompts
        self._run, self._trials, self._sent, self._used, self._key = run, trials, sent, used, delimiter_key
        self._sending = asyncio.Lock()

    def routes(self) -> Sequence[BaseRoute]:
        edit, reply = "/prompts/{family}/{name:path}/edit", "/prompts/{family}/{name:path}/reply"
        page = partial(self._frame.page, method="POST", keep=KEPT_FIELDS, max_bytes=MAX_EDIT_BYTES)
        return [
            self._frame.page(edit, self._begin),
            page(edit, self._render),
            self._frame.page(reply, self._show_reply),
            page(reply, self._send),
        ]

    async def _begin(self, request: Request) -> Response:
        name, library = self._check(request)
        given = request.query_params
        file = given.get("file") or library.sources[name].template.name
        source = _find_file(library, name, file)
        edit = Edit(name, file, source.text, given.get("delivery", ""), _parse_number(given.get("most", "")))
        return await self._page(request, library, edit)

    async def _render(self, request: Request) -> Response:
        library, edit, _ = await self._read(request)
        return await self._show(request, library, edit)

    async def _show(
        self, request: Request, library: Library, edit: Edit, *, said: str = "", status: int = 200
    ) -> Response:
        try:
            result, prepared = await self._try(library, edit, await asyncio.to_thread(self._choose, library, edit))
        except RenderBusy:
            return await self._page(request, library, edit, said=BUSY, status=429)
        return await self._page(request, library, edit, result=result, prepared=prepared, said=said, status=status)

    async def _send(self, request: Request) -> Response:
        library, edit, form = await self._read(request)
        async with self._sending:  # the second request of a double click waits for the first one
            return await self._send_once(request, library, edit, form)

    async def _send_once(self, request: Request, library: Library, edit: Edit, form: Form) -> Response:
        location, once, shown = f"/prompts/{edit.name}/reply", form.get("once", ""), form.get("shown", "")
        if once in self._used:
            return RedirectResponse(location, 303)
        if not (shown and once):
            return await self._show(request, library, edit)
        try:
            chosen = await asyncio.to_thread(self._choose_again, library, edit, form.get("chosen", "").split())
            result, prepared = await self._try(library, edit, chosen)
        except RenderBusy:
            return await self._page(request, library, edit, said=BUSY, status=429)
        if prepared is None or shown != prepared.digest(edit, self._key):
            said = "The text or a delivery has changed since the cost was shown. This is the new cost; send it again."
            return await self._show(request, library, edit, said=said, status=409)
        settings, store = self._frame.settings, self._store
        compare = partial(compare_with_stored, store, library, RepositoryTable(settings), edit.name)
        prompt_id, questions = prepared.questions[0].requests[0].prompt.id, prepared.questions

        def begin() -> None:
            run = partial(run_trial, questions, compare=compare)
            self._trials.start(edit.name, prompt_id, settings, run, {"unsaved": edit.file})

        try:
            await asyncio.to_thread(begin)
        except CallRefused as exc:
            page = partial(self._page, request, library, edit, result=result, prepared=prepared)
            return await page(said=str(exc), status=409)
        self._used.add(once)
        self._sent[edit.name] = Sent(edit, prepared, result.diff)
        return RedirectResponse(location, 303)

    async def _show_reply(self, request: Request) -> Response:
        name = prompt_name(request)
        progress, sent = self._trials.find(name), self._sent.get(name)
        if progress is None or sent is None:
            text = f"No unsaved edit of {name} was sent to Claude since this process started."
            return self._frame.message(request, text, status=404)
        results = progress.result or ()
        return self._frame.render(
            request,
            "prompt_reply.html",
            sent=sent,
            progress=progress,
            results=[(result, *_format_replies(result)) for result in results],
            summary=summarize_labels(results),
            answered=sum(result.runs is not None for result in results),
        )

    def _check(self, request: Request) -> tuple[str, Library]:
        """Return the prompt's name and the library. Raises `HTTPException` without a key, or without such a prompt."""
        if not self._frame.settings.may_try_edits:
            raise HTTPException(403, NEEDS_KEY)
        name, library = prompt_name(request), self._prompts().latest
        if name not in library.prompts:
            raise HTTPException(404, f"there is no prompt {name} in the library")
        return name, library

    async def _read(self, request: Request) -> tuple[Library, Edit, Form]:
        """Return the library, the edit of the form, and the form."""
        form = await self._frame.read_own_form(request, max_bytes=MAX_EDIT_BYTES)
        name, library = self._check(request)
        edit = _parse_edit(name, form)
        _find_file(library, name, edit.file)
        return library, edit, form

    async def _try(self, library: Library, edit: Edit, chosen: Chosen | str) -> tuple[RenderResult, Prepared | None]:
        """Render the edit. Raises `RenderBusy`. Problems are in the result."""
        if isinstance(chosen, str):
            return RenderResult(problems=(chosen,)), None
        result = await self._run(self._make_job(library, edit, chosen.inputs))
        if result.rendered is None:
            return result, None
        made = result.rendered.requests
        if len(made) != len(chosen.inputs) or not all(made) or all(isinstance(one, str) for one in made):
            return RenderResult(problems=(NO_RESULT,)), None
        try:
            prompt = _to_prompt(library.prompts[edit.name], result.rendered)
        except HlsError as exc:
            return RenderResult(result.diff, (str(exc),)), None
        prepared = await asyncio.to_thread(self._prepare, prompt, result.rendered, chosen)
        return result, prepared

    def _prepare(self, prompt: Prompt, rendered: Rendered, chosen: Chosen) -> Prepared:
        settings, schema = self._frame.settings, prompt.reply_model.model_json_schema()
        questions: list[TrialQuestion] = []
        failed = [(sentence, "") for sentence in chosen.unsuitable]
        for given, made in zip(chosen.inputs, rendered.requests, strict=True):
            if isinstance(made, str):
                failed.append((given.title, made))
            else:
                parts = (RenderedPrompt(prompt, one.system, one.task, schema, one.missing) for one in made)
                questions.append(TrialQuestion(given, tuple(parts)))
        each = [[estimate(settings.claude, one) for one in question.requests] for question in questions]
        return Prepared(
            tuple(questions),
            tuple(failed),
            show_rendered(settings, questions[0].requests[0], questions[0].given),
            tuple(map(add_estimates, each)),
            add_estimates([one for of_question in each for one in of_question]),
        )

    def _choose(self, library: Library, edit: Edit) -> Chosen | str:
        """Return the deliveries to try the edit with: that of the form, those with corrections, then the newest.

        Returns a sentence if there are none, or if that of the form is not suitable.
        """
        try:
            first = [self._load(library, edit.name, edit.guid)] if edit.guid else []
        except HlsError as exc:
            return str(exc)
        inputs, unsuitable = {given.guid: given for given in first}, []
        corrected = [one.row for one in self._store.corrections.newest_of_prompt(edit.name, most=edit.most)]
        for row in (*corrected, *list_deliveries(self._store, library, edit.name)):
            if len(inputs) == edit.most:
                break
            try:
                given = load_delivery(self._store, row, library, edit.name, self._frame.table)
                inputs.setdefault(given.guid, given)
            except (UnsuitableDelivery, PromptError) as exc:
                if row in corrected:
                    unsuitable.append(f"{exc}.")
        if inputs:
            return Chosen(tuple(inputs.values()), tuple(unsuitable))
        sample = load_sample(library, edit.name, self._frame.settings)
        return (
            "no delivery of its events is stored, and HLS ships no recorded one"
            if sample is None
            else Chosen((sample,))
        )

    def _choose_again(self, library: Library, edit: Edit, guids: Sequence[str]) -> Chosen | str:
        """Return the deliveries that the form has shown, even if there are newer ones now."""
        if not guids:
            return self._choose(library, edit)
        try:
            return Chosen(tuple(self._load(library, edit.name, guid) for guid in guids[: NUMBERS[-1]]))
        except HlsError as exc:
            return str(exc)

    def _load(self, library: Library, name: str, guid: str) -> PromptInput:
        row = self._store.deliveries.find(guid)
        if row is None:
            raise UnsuitableDelivery(f"there is no delivery {guid[:100]}, or it was deleted")
        return load_delivery(self._store, row, library, name, self._frame.table)

    def _make_job(self, library: Library, edit: Edit, given: tuple[PromptInput, ...]) -> RenderJob:
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
            given=given,
            key=self._key.hex(),
        )

    async def _page(
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
            shown="" if prepared is None else prepared.digest(edit, self._key),
            said=said,
            once=secrets.token_hex(16),
            numbers=NUMBERS,
            format_cost=format_cost,
            query=urlencode({"delivery": edit.guid}) if edit.guid else "",
        )


def _find_file(library: Library, name: str, file: str) -> SourceFile:
    for source in library.sources[name].sources:
        if source.name == file:
            return source
    raise HTTPException(404, f"{name} uses no file {file[:200]}")


def _parse_edit(name: str, form: Form) -> Edit:
    text = form.get("text", "").replace("\r\n", "\n")  # browsers send CRLF
    guid, most = form.get("delivery", "").strip(), _parse_number(form.get("most", ""))
    return Edit(name, form.get("file", ""), text, guid, most)


def _parse_number(given: str) -> int:
    return int(given) if given in map(str, NUMBERS) else 1


def _format_replies(result: TrialResult) -> tuple[str, str]:
    """Return the old and the new reply as JSON, each "" if there is none."""
    if result.runs is None:
        return "", ""
    old, new = (_format_reply(run) for run in (result.runs.old, result.runs.new))
    return old, new


def _format_reply(run: Run) -> str:
    return "\n".join(json.dumps(reply, indent=2, ensure_ascii=False) for _, reply in run.replies)


def _diff_label(source: SourceFile) -> str:
    """Return "prompts/issues/analyze.j2": the file with the name of its folder, without the folder's path."""
    folder = Path(source.file.removesuffix(source.name)).absolute()
    return f"{folder.name}/{source.name}"


def _to_prompt(before: Prompt, rendered: Rendered) -> Prompt:
    """Return the prompt that the child process rendered, with a reply type made from its front matter.

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
