"""What Claude's refusals to answer mean: one place turns the SDK's exceptions into our errors.

None of their texts is used but the API's own sentence: they may quote headers, and with them the key.
https://platform.claude.com/docs/en/api/errors
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import httpx2

from hls_handler.clients.retry_after import retry_after
from hls_handler.clients.way import Way
from hls_handler.clients.wording import hush
from hls_handler.errors import DependencyDown, Permanent, StepFailed

if TYPE_CHECKING:
    import anthropic

KEY_REMEDY = "set claude.api_key to a valid key: this one is wrong, expired or revoked"
CREDIT_REMEDY = "add credit, or raise the spend limit, of the account of claude.api_key"
PERMISSION_REMEDY = "let the key claude.api_key use this model, or set claude.model to one that it may use"
MODEL_REMEDY = "set claude.model, or the prompt's model, to one that this key may use, and check claude.base_url"
REQUEST_REMEDY = "look at what `hls render` shows of that prompt, shorten or mend it, then run the delivery again"
LIMIT_REMEDY = "nothing to do but wait; less with a lower claude.requests_per_second"
OUTAGE_REMEDY = "nothing to do but wait: Claude has trouble (https://status.claude.com)"
ADDRESS_REMEDY = "check claude.base_url and what stands between here and Claude"


def translate(
    exc: anthropic.AnthropicError, *, asked: str, model: str, api_key: str, now: datetime, way: Way
) -> StepFailed:
    """Our error for the SDK's. `asked` names the prompt; `api_key` is kept out of the message."""
    import anthropic

    if not isinstance(exc, anthropic.APIStatusError):
        unconnected = isinstance(exc.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError)
        why, remedy = way.told(exc, otherwise=ADDRESS_REMEDY)
        return _down(f"no answer from Claude{why}", remedy, maybe_done=not unconnected)
    status, headers = exc.status_code, exc.response.headers
    message = hush(exc.api_message, api_key) if isinstance(exc.api_message, str) else None
    what = f"Claude answered {status} to {asked}: {message or 'without a reason'}"
    again_at = retry_after(headers, now)
    if status == 402 or _is_credit(exc, message):
        return _down(what, CREDIT_REMEDY, again_at)
    if status == 401:
        return _down(what, KEY_REMEDY)
    if status == 403:
        return _down(what, PERMISSION_REMEDY)
    if status == 404:
        return _down(f"{what} (model {model})", MODEL_REMEDY)
    if status == 429:
        return _down(what, LIMIT_REMEDY, again_at)
    if status >= 500 or status in (408, 409):
        return _down(what, OUTAGE_REMEDY, again_at)
    if status == 413 or (status in (400, 422) and message is not None):
        return Permanent(f"{what}; {REQUEST_REMEDY}")
    return _down(what, ADDRESS_REMEDY)


def unexpected(asked: str, what: str) -> DependencyDown:
    """The error for a 200 that is not what the API answers."""
    return _down(f"Claude answered something unexpected to {asked}: {what}", ADDRESS_REMEDY, maybe_done=True)


def _down(message: str, remedy: str, not_before: datetime | None = None, *, maybe_done: bool = False) -> DependencyDown:
    return DependencyDown(message, dependency="claude", remedy=remedy, not_before=not_before, maybe_done=maybe_done)


def _is_credit(exc: anthropic.APIStatusError, message: str | None) -> bool:
    """Running out of credit is a 400 by status, and a spend limit a 429."""
    told = (message or "").lower()
    return exc.type == "billing_error" or "credit balance" in told or "spend_limit" in (exc.error_code or "")
