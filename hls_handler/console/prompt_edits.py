"""The pages that render an unsaved edit of a prompt and send it to Claude. No file is ever changed.

Only people who signed in with `server.api_key` may do this: an edit is a template from outside of the operator's
folders.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from hls_handler import shipped
from hls_handler.analysis import Analysis, UnusableReply, ValidReply
from hls_handler.console.dry_runs import CallRefused, ConnectClaude, check_budget
from hls_handler.console.frame import Form, Frame
from hls_handler.console.prompts import Shown, load_input, prompt_name, show_rendered
from hls_handler.console.render_child import Rendered, RenderJob, RenderResult
from hls_handler.console.render_process import RenderBusy, RunRenderJob
from hls_handler.errors import HlsError, with_remedy
from hls_handler.handlers.labels import plan_labels
from hls_handler.prompting.front_matter import parse_front_matter
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.prompting.prompt import Library, Prompt
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.prompting.reply_fields import build_reply_model
from hls_handler.prompting.source_files import SourceFile
from hls_handler.reports.prompt_input import PromptInput, list_deliveries
from hls_handler.settings.effective import find_chosen_events, find_shadow_only_prompts
from hls_handler.settings.model import Claude as ClaudeSettings
from hls_handler.storage import Storage
from hls_handler.untrusted.redaction import redact
from hls_handler.wording import format_usd
from hls_handler.work.library import all_variables

MAX_EDIT_BYTES = 256 * 1024
"""Limit on the form, in which most characters of a text have one to three bytes."""

MAX_FRONT_CHARACTERS = 64_000
NEEDS_KEY = "An unsaved prompt is a template from the browser, so it needs server.api_key. Set it in the settings."
BUSY = "Another edit is being rendered. Wait a few seconds, then try again."

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Edit:
    name: str  # "issues/analyze"
    file: str  # "issues/_issue.j2"
    text: str
    guid: str  # of the delivery; "" for the default

    def digest(self, shown: Shown) -> str:
        """Identifies what was rendered, so that nothing is sent whose cost was not shown.

        Without a GUID, the delivery is the newest suitable one, which may be another one by now.
        """
        parts = (self.name, self.file, self.text, shown.guid or "", shown.title, shown.cost)
        return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Question:
    """An unsaved prompt that was sent to Claude, and the reply."""

    prompt_id: str
    name: str
    shown: Shown
    diff: Sequence[str]
    asked_at: datetime  # aware UTC
    answer: ValidReply | UnusableReply | None = None  # None while Claude works, or after an error
    error: str = ""

    @property
    def is_finished(self) -> bool:
        return self.answer is not None or bool(self.error)


class Questions:
    """Sends one unsaved prompt at a time to Claude, in a thread, and keeps the latest reply. Thread-safe."""

    def __init__(self, connect: ConnectClaude, now: Callable[[], float]) -> None:
        self._connect, self._now = connect, now
        self._lock = threading.Lock()
        self.latest: Question | None = None

    def begin(self, settings: ClaudeSettings, rendered: RenderedPrompt, shown: Shown, diff: Sequence[str]) -> bool:
        """Send the prompt in the background. Return False if a question is still open."""
        with self._lock:
            if self.latest is not None and not self.latest.is_finished:
                return False
            prompt = rendered.prompt
            asked_at = datetime.fromtimestamp(self._now(), UTC)
            question = self.latest = Question(prompt.id, prompt.name, shown, diff, asked_at)
        threading.Thread(target=self._ask, args=(settings, rendered, question), name="prompt-edit", daemon=True).start()
        return True

    def _ask(self, settings: ClaudeSettings, rendered: RenderedPrompt, question: Question) -> None:
        answer: ValidReply | UnusableReply | None = None
        try:
            with closing(self._connect(settings)) as client:
                answer = client.ask(rendered)
            error = ""
        except HlsError as exc:
            error = with_remedy(exc)
        except Exception as exc:
            log.exception("a defect in HLS: an unsaved prompt could not be sent")
            error = f"a defect in HLS, please report it: {type(exc).__name__}"
        if answer is not None:
            usage = answer.usage
            fields = {"prompt": rendered.prompt.id, "cost_usd": usage.cost_usd, "took_s": round(usage.took_s, 3)}
            read = usage.input_tokens + usage.cache_write_tokens + usage.cache_read_tokens
            tokens = {"input_tokens": read, "output_tokens": usage.output_tokens}
            log.info("unsaved prompt sent to Claude", extra={**fields, **tokens})
        self.latest = replace(question, answer=answer, error=redact(error))


class PromptEdits:
    def __init__(
        self,
        frame: Frame,
        store: Storage,
        prompts: Callable[[], ReloadingLibrary],
        run: RunRenderJob,
        questions: Questions,
        delimiter_key: bytes,
    ) -> None:
        self._frame, self._store, self._prompts = frame, store, prompts
        self._run, self._questions, self._key = run, questions, delimiter_key

    def routes(self) -> Sequence[BaseRoute]:
        edit, reply = "/prompts/{family}/{name:path}/edit", "/prompts/{family}/{name:path}/reply"
        return [
            self._frame.page(edit, self._begin),
            self._frame.page(edit, self._render, method="POST"),
            self._frame.page(reply, self._show_reply),
            self._frame.page(reply, self._send, method="POST"),
        ]

    async def _begin(self, request: Request) -> Response:
        name, library = self._check(request)
        file = request.query_params.get("file") or library.sources[name].template.name
        source = _find_file(library, name, file)
        guid = request.query_params.get("delivery", "")
        return await self._page(request, library, Edit(name, file, source.text, guid))

    async def _render(self, request: Request) -> Response:
        library, edit, _ = await self._read(request)
        try:
            result, shown, _ = await self._try(library, edit)
        except RenderBusy:
            return await self._page(request, library, edit, said=BUSY, status=429)
        return await self._page(request, library, edit, result=result, shown=shown)

    async def _send(self, request: Request) -> Response:
        library, edit, shown_digest = await self._read(request)
        try:
            result, shown, rendered = await self._try(library, edit)
        except RenderBusy:
            return await self._page(request, library, edit, said=BUSY, status=429)
        if shown is None or rendered is None:
            return await self._page(request, library, edit, result=result)
        try:
            await asyncio.to_thread(check_budget, self._store, self._frame.settings)
        except CallRefused as exc:
            return await self._page(request, library, edit, result=result, shown=shown, said=str(exc), status=409)
        if shown_digest != edit.digest(shown):
            said = "The text or the delivery has changed since the cost was shown. This is the new cost; send it again."
            return await self._page(request, library, edit, result=result, shown=shown, said=said, status=409)
        if not self._questions.begin(self._frame.settings.claude, rendered, shown, result.diff):
            said = "Claude still works on the last unsaved prompt. Wait for its reply."
            return await self._page(request, library, edit, result=result, shown=shown, said=said, status=409)
        return RedirectResponse(f"/prompts/{edit.name}/reply", 303)

    async def _show_reply(self, request: Request) -> Response:
        name, question = prompt_name(request), self._questions.latest
        if question is None or question.name != name:
            text = f"No unsaved edit of {name} was sent to Claude since this process started."
            return self._frame.message(request, text, status=404)
        answer = question.answer
        reply = labels = ""
        if isinstance(answer, ValidReply):
            reply = redact(json.dumps(answer.reply.model_dump(mode="json"), indent=2, ensure_ascii=False))
            actions = plan_labels(Analysis((answer,), comment=None))
            labels = ", ".join(label.name for action in actions for label in action.requested)
        elif answer is not None:
            reply = redact(answer.text)
        problem = redact(answer.problem) if isinstance(answer, UnusableReply) else question.error
        return self._frame.render(
            request,
            "prompt_reply.html",
            question=question,
            usage=answer and answer.usage,
            cost=format_usd(answer.usage.cost_usd) if answer else "",
            reply=reply,
            labels=labels,
            problem=problem,
        )

    def _check(self, request: Request) -> tuple[str, Library]:
        """Return the prompt's name and the library. Raises `HTTPException` without a key, or without such a prompt."""
        if not self._frame.access.needs_key:
            raise HTTPException(403, NEEDS_KEY)
        name, library = prompt_name(request), self._prompts().latest
        if name not in library.prompts:
            raise HTTPException(404, f"there is no prompt {name} in the library")
        return name, library

    async def _read(self, request: Request) -> tuple[Library, Edit, str]:
        """Return the library, the edit of the form, and the digest of the edit whose cost was shown."""
        name, library = self._check(request)
        form = await self._frame.read_own_form(request, max_bytes=MAX_EDIT_BYTES)
        return library, _parse_edit(name, form), form.get("shown", "")

    async def _try(self, library: Library, edit: Edit) -> tuple[RenderResult, Shown | None, RenderedPrompt | None]:
        """Render the edit. Raises `RenderBusy`. Problems are in the result."""
        settings = self._frame.settings
        try:
            given = await asyncio.to_thread(self._load_input, library, edit)
        except HlsError as exc:
            return RenderResult(problems=(str(exc),)), None, None
        result = await self._run(self._make_job(library, edit, given))
        if result.rendered is None:
            return result, None, None
        try:
            rendered = _to_prompt(library.prompts[edit.name], result.rendered)
        except HlsError as exc:
            return RenderResult(result.diff, (str(exc),)), None, None
        return result, await asyncio.to_thread(show_rendered, settings, rendered, given), rendered

    def _load_input(self, library: Library, edit: Edit) -> PromptInput:
        offered = [] if edit.guid else list_deliveries(self._store, library, edit.name)
        return load_input(self._frame, self._store, library, edit.name, edit.guid, offered)

    def _make_job(self, library: Library, edit: Edit, given: PromptInput) -> RenderJob:
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
        shown: Shown | None = None,
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
            shown=shown,
            said=said,
            query=urlencode({"delivery": edit.guid}) if edit.guid else "",
        )


def _find_file(library: Library, name: str, file: str) -> SourceFile:
    for source in library.sources[name].sources:
        if source.name == file:
            return source
    raise HTTPException(404, f"{name} uses no file {file[:200]}")


def _parse_edit(name: str, form: Form) -> Edit:
    text = form.get("text", "").replace("\r\n", "\n")  # browsers send CRLF
    return Edit(name, form.get("file", ""), text, form.get("delivery", "").strip())


def _diff_label(source: SourceFile) -> str:
    """Return "prompts/issues/analyze.j2": the file with the name of its folder, without the folder's path."""
    folder = Path(source.file.removesuffix(source.name)).absolute()
    return f"{folder.name}/{source.name}"


def _to_prompt(before: Prompt, rendered: Rendered) -> RenderedPrompt:
    """Return the prompt that the child process rendered, with a reply type made from its front matter.

    This parses YAML and compiles no template. Raises `HlsError` if the front matter is not valid.
    """
    if len(rendered.front) > MAX_FRONT_CHARACTERS:
        raise HlsError(f"the front matter has more than {MAX_FRONT_CHARACTERS:,} characters")
    front, lines, problems = parse_front_matter(rendered.front, before.path)
    model, found = (None, []) if front is None else build_reply_model(front, lines)
    if front is None or model is None or problems or found:
        raise HlsError("; ".join(str(problem) for problem in (*problems, *found)) or "there is no front matter")
    prompt = replace(
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
    return RenderedPrompt(prompt, rendered.system, rendered.task, model.model_json_schema(), rendered.missing)
