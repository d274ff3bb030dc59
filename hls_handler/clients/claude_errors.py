"""Translation of the Claude SDK's exceptions into HLS's errors.

Only the API's own error message is shown, because other texts of an exception may contain the API key.
https://platform.claude.com/docs/en/api/errors
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import httpx2

from hls_handler.clients.transport import ProxySettings, redact_secret, retry_after
from hls_handler.errors import DependencyDown, Permanent, StepFailed

if TYPE_CHECKING:
    import anthropic

KEY_REMEDY = "set claude.api_key to a valid key: this one is wrong, expired or revoked"
CREDIT_REMEDY = "add credit, or raise the spend limit, of the account of claude.api_key"
PERMISSION_REMEDY = "give the key claude.api_key access to this model, or set claude.model to one that it may use"
MODEL_REMEDY = "set claude.model, or the prompt's model, to one that this key may use, and check claude.base_url"
REQUEST_REMEDY = "check that prompt with `hls render`, shorten or correct it, then run the delivery again"
LIMIT_REMEDY = "wait until the rate limit resets; a lower claude.requests_per_second avoids it"
OUTAGE_REMEDY = "wait: Claude is temporarily unavailable (https://status.claude.com)"
ADDRESS_REMEDY = "check claude.base_url, and proxies and firewalls between this host and Claude"


def translate(
    exc: anthropic.AnthropicError | httpx2.HTTPError,
    *,
    label: str,
    model: str,
    api_key: str,
    now: datetime,
    proxy: ProxySettings,
) -> StepFailed:
    """Return HLS's error for an exception of the SDK or of its transport. The message does not contain `api_key`.

    If Claude sent an error response, the message begins with "Claude answered 401 to" and `label`.
    """
    import anthropic

    if not isinstance(exc, anthropic.APIStatusError):
        never_connected = isinstance(exc.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError)
        reason, remedy = proxy.explain_failure(exc, otherwise=ADDRESS_REMEDY)
        return _down(f"no answer from Claude{reason}", remedy, may_have_succeeded=not never_connected)
    status, headers = exc.status_code, exc.response.headers
    message = redact_secret(exc.api_message, api_key) if isinstance(exc.api_message, str) else None
    what = f"Claude answered {status} to {label}: {message or 'no reason given'}"
    retry_at = retry_after(headers, now)
    if status == 402 or _is_billing_error(exc, message):
        return _down(what, CREDIT_REMEDY, retry_at)
    if status == 401:
        return _down(what, KEY_REMEDY)
    if status == 403:
        return _down(what, PERMISSION_REMEDY)
    if status == 404:
        return _down(f"{what} (model {model})", MODEL_REMEDY)
    if status == 429:
        return _down(what, LIMIT_REMEDY, retry_at)
    if status >= 500 or status in (408, 409):
        return _down(what, OUTAGE_REMEDY, retry_at)
    if status == 413 or (status in (400, 422) and message is not None):
        return Permanent(f"{what}; {REQUEST_REMEDY}")
    return _down(what, ADDRESS_REMEDY)


def unexpected_response(label: str, what: str) -> DependencyDown:
    """Return the error for a response with status 200 and an invalid body."""
    return _down(f"unexpected response from Claude to {label}: {what}", ADDRESS_REMEDY, may_have_succeeded=True)


def _down(
    message: str, remedy: str, not_before: datetime | None = None, *, may_have_succeeded: bool = False
) -> DependencyDown:
    return DependencyDown(
        message, dependency="claude", remedy=remedy, not_before=not_before, may_have_succeeded=may_have_succeeded
    )


def _is_billing_error(exc: anthropic.APIStatusError, message: str | None) -> bool:
    text = (message or "").lower()
    # Exhausted credit has the status 400, and a reached spend limit 429.
    return exc.type == "billing_error" or "credit balance" in text or "spend_limit" in (exc.error_code or "")
