"""The page with a prompt as it was sent to Claude. Untrusted text is marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hls_handler.analysis import estimate_tokens
from hls_handler.console.frame import Pages
from hls_handler.console.queries import require_delivery
from hls_handler.store.call_rows import CallRow
from hls_handler.store.calls import SentQuestion
from hls_handler.store.storage import Storage
from hls_handler.untrusted.cleaning import split_untrusted

NOT_ASKED = "Claude was not asked: there is no call of this delivery."
NOT_STORED = "The prompt is not stored: prompts are kept for storage.body_days."


@dataclass(frozen=True, slots=True)
class CorrectionMessages:
    """The messages of a second call after the first question."""

    reply: str | None  # the invalid one; None: not stored any more
    request: str  # to correct it


@dataclass(frozen=True, slots=True)
class SentPrompt:
    system: str
    message: str
    schema: str  # JSON
    correction: CorrectionMessages | None

    @property
    def parts(self) -> Sequence[tuple[str, bool]]:
        """The parts of the message, and for each whether it is untrusted."""
        return tuple(split_untrusted(self.message))


def load_sent_prompt(
    store: Storage, guid: str, calls: Sequence[CallRow], call: CallRow
) -> SentPrompt | None:
    """Return what `call` has sent; None if it is not stored. `calls` are all of the delivery."""
    sent = _find_question(store, guid, call)
    if sent is None:
        return None
    if not call.is_correction:
        return SentPrompt(sent.system, sent.message, sent.schema, correction=None)
    corrected = _find_corrected(calls, call)
    first = _find_question(store, guid, corrected)
    if first is None:
        return None
    correction = CorrectionMessages(store.replies.find_text(corrected.id), sent.message)
    return SentPrompt(first.system, first.message, first.schema, correction)


def _find_question(store: Storage, guid: str, call: CallRow) -> SentQuestion | None:
    if call.request_digest is None:
        return None
    return store.questions.find(guid, call.request_digest)


def _find_corrected(calls: Sequence[CallRow], call: CallRow) -> CallRow:
    """Return the call with the invalid reply that `call` asked to correct."""
    before = [other for other in calls[: calls.index(call)] if other.index == call.index]
    return [other for other in before if other.outcome == "invalid" and not other.is_correction][-1]


class SentPromptPages(Pages):
    def routes(self) -> Sequence[BaseRoute]:
        return [
            self._frame.page("/deliveries/{guid}/prompt", self._show),
            self._frame.page("/deliveries/{guid}/prompt/{number}", self._show),
        ]

    def _show(self, request: Request) -> Response:
        row = require_delivery(self._store, request)
        number_text = request.path_params.get("number", "1")
        number = int(number_text) if number_text.isdecimal() and len(number_text) < 6 else 0
        calls = self._store.calls.calls_of(row.guid)
        if calls and not 1 <= number <= len(calls):
            raise HTTPException(404, f"delivery {row.guid} has {len(calls)} calls to Claude")
        call = calls[number - 1] if calls else None
        sent = None if call is None else load_sent_prompt(self._store, row.guid, calls, call)
        return self._frame.render(
            request,
            "sent_prompt.html",
            row=row,
            calls=calls,
            call=call,
            number=number,
            sent=sent,
            problem=NOT_ASKED if call is None else NOT_STORED,
            count=estimate_tokens,
        )
