"""The page with a prompt as it was sent to Claude, in which untrusted text is marked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hls_handler.clients.claude import request_schema
from hls_handler.console.delivery_search import require_delivery
from hls_handler.console.frame import Frame
from hls_handler.engine.active_config import DeliveryConfig
from hls_handler.errors import PromptError
from hls_handler.prompting.render import estimate_tokens
from hls_handler.reports.sent_prompt import SentPrompt, render_sent_prompt
from hls_handler.storage import Storage
from hls_handler.trials.replay import NotRepeatable
from hls_handler.untrusted.cleaning import split_untrusted


class SentPromptPages:
    def __init__(self, frame: Frame, store: Storage, config: Callable[[], DeliveryConfig]) -> None:
        self._frame, self._store, self._config = frame, store, config

    def routes(self) -> Sequence[BaseRoute]:
        return [
            self._frame.page("/deliveries/{guid}/prompt", self._show),
            self._frame.page("/deliveries/{guid}/prompt/{number}", self._show),
        ]

    def _show(self, request: Request) -> Response:
        row, given = require_delivery(self._store, request), request.path_params.get("number", "1")
        number = int(given) if given.isdecimal() and len(given) < 6 else 0
        calls = self._store.calls.calls_of(row.guid)
        if calls and not 1 <= number <= len(calls):
            raise HTTPException(404, f"delivery {row.guid} has {len(calls)} calls to Claude")
        sent: SentPrompt | None = None
        problem = "Claude was not asked: there is no call of this delivery."
        call = calls[number - 1] if calls else None
        if call is not None:
            try:
                sent = render_sent_prompt(self._store, row, calls, call, self._config().table)
            except NotRepeatable as exc:
                problem = f"The prompt cannot be shown: {exc}."
            except PromptError as exc:
                problem = f"The prompt cannot be rendered again: {'; '.join(exc.problems)}."
        rendered = sent.rendered if sent else None
        return self._frame.render(
            request,
            "sent_prompt.html",
            row=row,
            calls=calls,
            call=call,
            number=number,
            sent=sent,
            problem=problem,
            parts=tuple(split_untrusted(rendered.task)) if rendered else (),
            schema=json.dumps(request_schema(rendered.schema), indent=2) if rendered else "",
            count=estimate_tokens,
        )
