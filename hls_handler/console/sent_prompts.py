"""The page with a prompt as it was sent to Claude, rendered again. Untrusted text is marked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hls_handler.claude.provider import CORRECTION, request_schema
from hls_handler.console.delivery_search import require_delivery
from hls_handler.console.frame import Frame
from hls_handler.engine.asking import PROMPT_SECRET, UNUSABLE, digest_request
from hls_handler.errors import PromptError
from hls_handler.question import estimate_tokens
from hls_handler.settings.effective import RepositoryTable
from hls_handler.storage import Storage
from hls_handler.store.calls import FREE, CallRow
from hls_handler.store.statistics import DeliveryRow
from hls_handler.trials.replay import NotRepeatable, load_stored_facts, render_again
from hls_handler.untrusted.cleaning import split_untrusted

IDENTICAL = "This is identical to what was sent: its SHA-256 is the recorded one."
DIFFERENT = (
    "This was rendered again and differs from what was sent: the settings of the repository, the"
    " facts or HLS itself have changed since."
)
NOT_STORED = "(the problem is not stored any more)"
UNKNOWN = (
    "This was rendered again; the version of HLS that sent it recorded no SHA-256, so it may"
    " differ."
)


def render_sent_prompt(
    store: Storage,
    row: DeliveryRow,
    calls: Sequence[CallRow],
    call: CallRow,
    table: RepositoryTable,
) -> Mapping[str, Any]:
    """Return what the template shows of `call`, rendered again. Raises `NotRepeatable` or
    `PromptError`.

    `calls` are all of the delivery. `correction` is what a second call has sent after the prompt:
    the invalid reply, None if it is not stored any more, and the request to correct it.
    """
    stored = load_stored_facts(store, row, table)
    key = store.database.secret(PROMPT_SECRET)
    rendered = render_again(stored, call.prompt_id, call.index, key=key)
    is_identical = digest_request(rendered) == call.request_digest
    replies = UNUSABLE.decode(stored.steps.get((UNUSABLE.name, call.index))) or ()
    reply, problem = (replies[0].text, replies[0].problem) if replies else (None, NOT_STORED)
    return {
        "rendered": rendered,
        "is_identical": is_identical,
        "verdict": (
            IDENTICAL if is_identical else UNKNOWN if call.request_digest is None else DIFFERENT
        ),
        "correction": (
            (reply, CORRECTION.format(problem=problem)) if _is_correction(calls, call) else None
        ),
        "parts": tuple(split_untrusted(rendered.task)),
        "schema": json.dumps(request_schema(rendered.schema), indent=2),
    }


def _is_correction(calls: Sequence[CallRow], call: CallRow) -> bool:
    """Return True if the call asked to correct the invalid reply to the one before. `calls` are in
    their order.
    """
    earlier = (one for one in calls[: calls.index(call)] if one.index == call.index)
    # after those, the same is asked again
    before = [one for one in earlier if one.outcome not in (*FREE, None)]
    return (
        bool(before) and before[-1].outcome == "invalid" and not _is_correction(calls, before[-1])
    )


class SentPromptPages:
    def __init__(self, frame: Frame, store: Storage) -> None:
        self._frame = frame
        self._store = store

    def routes(self) -> Sequence[BaseRoute]:
        return [
            self._frame.page("/deliveries/{guid}/prompt", self._show),
            self._frame.page("/deliveries/{guid}/prompt/{number}", self._show),
        ]

    def _show(self, request: Request) -> Response:
        row = require_delivery(self._store, request)
        given = request.path_params.get("number", "1")
        number = int(given) if given.isdecimal() and len(given) < 6 else 0
        calls = self._store.calls.calls_of(row.guid)
        if calls and not 1 <= number <= len(calls):
            raise HTTPException(404, f"delivery {row.guid} has {len(calls)} calls to Claude")
        sent: Mapping[str, Any] | None = None
        problem = "Claude was not asked: there is no call of this delivery."
        call = calls[number - 1] if calls else None
        if call is not None:
            try:
                sent = render_sent_prompt(self._store, row, calls, call, self._frame.table)
            except NotRepeatable as exc:
                problem = f"The prompt cannot be shown: {exc}."
            except PromptError as exc:
                problem = f"The prompt cannot be rendered again: {'; '.join(exc.problems)}."
        return self._frame.render(
            request,
            "sent_prompt.html",
            row=row,
            calls=calls,
            call=call,
            number=number,
            sent=sent,
            problem=problem,
            count=estimate_tokens,
        )
