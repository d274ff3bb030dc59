"""Translation of the SDKs' exceptions into HLS's errors.

Only the API's own error message is shown, because other texts of an exception may contain the API
key. https://platform.claude.com/docs/en/api/errors and
https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from hls_handler.errors import (
    REJECTED,
    AccountLimited,
    DependencyDown,
    Permanent,
    RateLimited,
    RequestRejected,
    StepFailed,
)
from hls_handler.settings.providers import ProviderSettings
from hls_handler.transport import ProxySettings, redact_secret, retry_after

KEY_REMEDY = f"set claude.api_key to a valid key: {REJECTED}"
CREDIT_REMEDY = "add credit, or raise the spend limit, of the account of claude.api_key"
_MODEL_KEYS = "set claude.model, claude.review_model or the prompt's model to one that"
PERMISSION_REMEDY = f"give the key claude.api_key access to this model, or {_MODEL_KEYS} it may use"
MODEL_REMEDY = f"{_MODEL_KEYS} this key may use, and check claude.base_url"
REQUEST_REMEDY = (
    "check that prompt with `hls render`, shorten or correct it, then run the delivery again"
)
GATEWAY_REMEDY = (
    "a gateway between HLS and Claude limits the size of requests: raise its limit, or lower"
    " claude.input_tokens"
)
CONFIGURATION_REMEDY = (
    "correct claude.model, claude.kind or what else the message names: until then all deliveries"
    " wait, and one tries again every ten minutes"
)
ACCOUNT_REMEDY = "wait, or see the limits and the state of the account of claude.api_key"
LIMIT_REMEDY = "wait until the rate limit resets; a lower claude.requests_per_second avoids it"
STATUS_PAGE = " (https://status.claude.com)"
OUTAGE_REMEDY = f"wait: Claude is temporarily unavailable{STATUS_PAGE}"
SLOW_REMEDY = "raise claude.timeout_s, or choose a faster model; each call may be billed"
ADDRESS_REMEDY = "check claude.base_url, and proxies and firewalls between this host and Claude"

BILLING = (
    "billing_error",
    "credit balance",
    "spend_limit",
    "insufficient_quota",
    "failed_precondition",
)
"""Parts of errors about an account without credit, spend limit or billing, which have the status
400 or 429.
"""
LIMITED = ("usage limit", "billing", "has been disabled")
"""Parts of messages about a limit or the state of an account, which have the status 400, as errors
about a prompt have.
"""
BLOCKED = ("content filtering policy", "content_filter", "content management policy")
"""Parts of a 400 about a reply that Anthropic's API or Azure did not send."""
LIMIT_RETRY = timedelta(minutes=10)
"""A limit of an account may be raised before its end. A rejected call costs nothing."""

REJECTED_KEY = "API_KEY_INVALID"
"""Google's reason for a wrong or expired key, which has the status 400."""


@dataclass(frozen=True, slots=True)
class ConfiguredProvider:
    """A provider as messages name it."""

    settings: ProviderSettings
    key: str  # "claude.fallbacks[0]"
    title: str  # "Claude" or its name
    proxy: ProxySettings
    now: Callable[[], datetime]

    @property
    def secret(self) -> str:
        return self.settings.api_key.get_secret_value()

    def localize(self, remedy: str) -> str:
        """Return a remedy with the keys and the name of this provider in place of those of the
        first one.
        """
        if self.title != "Claude":
            remedy = remedy.replace("Claude", self.title).replace(STATUS_PAGE, "")
        return re.sub(
            r"\bclaude\.(api_key|model|review_model|base_url)\b", rf"{self.key}.\1", remedy
        )


def translate(exc: Exception, service: ConfiguredProvider, *, label: str, model: str) -> StepFailed:
    """Return HLS's error for an exception of an SDK or of its transport. The message does not
    contain the key.

    If the service sent an error response, the message begins with "Claude answered 401 to" and
    `label`.
    """
    response: httpx2.Response | None = getattr(exc, "response", None)
    if response is None:
        never_connected = isinstance(
            exc.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError
        )
        return no_answer(exc, service, may_have_succeeded=not never_connected)
    failed = _translate_response(response, getattr(exc, "body", None), service, label, model)
    failed.request_id = find_request_id(response.headers)
    return failed


def _translate_response(
    response: httpx2.Response, body: object, service: ConfiguredProvider, label: str, model: str
) -> StepFailed:
    status = response.status_code
    error = _read_error(body)
    kinds = error.kinds
    message = error.message
    if message is not None:
        message = redact_secret(message, service.secret)
    what = f"{service.title} answered {status} to {label}: {message or 'no reason given'}"
    retry_at = retry_after(response.headers, service.now())
    if status == 402 or any(part in f"{kinds} {message}".lower() for part in BILLING):
        return limit_of_account(service, what, CREDIT_REMEDY, retry_at)
    if status == 401 or (status == 400 and REJECTED_KEY in kinds):
        return down(service, what, KEY_REMEDY)
    if status == 403:
        return down(service, what, PERMISSION_REMEDY)
    if status == 404:
        return down(service, f"{what} (model {model})", MODEL_REMEDY)
    if status == 429:
        return RateLimited(what, dependency="claude", remedy=LIMIT_REMEDY, not_before=retry_at)
    if status >= 500 or status in (408, 409):
        return down(service, what, OUTAGE_REMEDY, retry_at)
    if status == 413 and message is None:
        return Permanent(f"{what}; {GATEWAY_REMEDY}")
    if status == 413:
        return Permanent(f"{what}; {REQUEST_REMEDY}")
    if status == 400 and any(part in f"{message}".lower() for part in LIMITED):
        return limit_of_account(service, what, ACCOUNT_REMEDY)
    if status in (400, 422) and message is not None:
        return RequestRejected(f"{what}; {REQUEST_REMEDY}", reason=message)
    return down(service, what, ADDRESS_REMEDY)


def find_refusal(exc: Exception) -> str | None:
    """Return the text of an error response that says that the reply was blocked, else None."""
    error = _read_error(getattr(exc, "body", None))
    text = f"{error.kinds} {error.message}".lower()
    if getattr(exc, "status_code", None) == 400 and any(part in text for part in BLOCKED):
        return error.message or ""
    return None


def reject_all(error: RequestRejected, service: ConfiguredProvider) -> AccountLimited:
    """Return the error for a request that was rejected as those of another conversation are.

    It is tried again later than others, because its own text may be the reason.
    """
    return AccountLimited(
        str(error).removesuffix(f"; {REQUEST_REMEDY}"),
        dependency="claude",
        remedy=service.localize(CONFIGURATION_REMEDY),
        not_before=service.now() + 2 * LIMIT_RETRY,
    )


@dataclass(frozen=True, slots=True)
class _Error:
    message: str | None = None
    kinds: str = ""  # as one text


def _read_error(body: Any) -> _Error:
    """Return the error in a response.

    The SDK of OpenAI passes the value of "error", that of Anthropic all of the body; AWS has no
    "error", Gemini a list.
    """
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, Mapping):
        return _Error()
    error = body.get("error", body)
    if not isinstance(error, Mapping):
        return _Error()
    details = error.get("details")
    code = error.get("code")
    reasons = []
    if isinstance(details, Mapping):
        code = details.get("error_code")
    elif isinstance(details, list):
        reasons = [detail.get("reason") for detail in details if isinstance(detail, Mapping)]
    kinds = f"{error.get('type')} {error.get('status')} {code} {reasons}"
    message = error.get("message")
    if not isinstance(message, str):
        message = None
    return _Error(message, kinds)


def no_answer(
    exc: Exception, service: ConfiguredProvider, *, may_have_succeeded: bool = False
) -> DependencyDown:
    reason, remedy = service.proxy.explain_failure(exc, otherwise=ADDRESS_REMEDY)
    return down(
        service,
        f"no answer from {service.title}{reason}",
        remedy,
        may_have_succeeded=may_have_succeeded,
    )


def unexpected_response(service: ConfiguredProvider, label: str, what: str) -> DependencyDown:
    """Return the error for a response with status 200 and an invalid body."""
    message = f"unexpected response from {service.title} to {label}: {what}"
    return down(service, message, ADDRESS_REMEDY, may_have_succeeded=True)


def limit_of_account(
    service: ConfiguredProvider, what: str, remedy: str, retry_at: datetime | None = None
) -> DependencyDown:
    """Return the error about an account; an `AccountLimited` if its message names the end of the
    limit.
    """
    now = service.now()
    ends_at = find_date(what, now)
    if ends_at is None:
        return down(service, what, remedy, retry_at)
    return AccountLimited(
        what,
        dependency="claude",
        remedy=service.localize(remedy),
        not_before=min(ends_at, now + LIMIT_RETRY),
    )


DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:(?: at |[T ])(\d\d:\d\d))?")


def find_date(text: str, now: datetime) -> datetime | None:
    """Return the last time after `now` that a text names, as "2026-12-01 at 00:00" (UTC); None
    without one.
    """
    dates = []
    for day, time in DATE.findall(text):
        try:
            named = datetime.fromisoformat(f"{day}T{time or '00:00'}")
        except ValueError:  # there is no such day
            continue
        dates.append(named.replace(tzinfo=UTC))
    return max((date for date in dates if date > now), default=None)


def down(
    service: ConfiguredProvider,
    message: str,
    remedy: str,
    not_before: datetime | None = None,
    *,
    may_have_succeeded: bool = False,
) -> DependencyDown:
    return DependencyDown(
        message,
        dependency="claude",
        remedy=service.localize(remedy),
        not_before=not_before,
        may_have_succeeded=may_have_succeeded,
    )


MAX_REQUEST_ID_CHARS = 100


def find_request_id(headers: Mapping[str, str]) -> str | None:
    names = ("request-id", "x-request-id", "x-amzn-requestid")
    request_id = next((headers[name] for name in names if name in headers), "")
    if (
        request_id.isascii()
        and request_id.isprintable()
        and 0 < len(request_id) <= MAX_REQUEST_ID_CHARS
    ):
        return request_id
    return None
