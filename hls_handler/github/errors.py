"""Translation of GitHub's error responses and of failed connections into HLS's errors.

https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin, urlsplit

from pydantic import AliasPath, BaseModel, Field, TypeAdapter, ValidationError

from hls_handler.errors import (
    REJECTED,
    DependencyDown,
    Forbidden,
    NotFound,
    Permanent,
    Retryable,
    StepFailed,
)
from hls_handler.transport import (
    MAX_WAIT,
    ProxySettings,
    rate_limit_reset,
    redact_secret,
    retry_after,
    timed_out,
)

SECONDARY_LIMIT_PAUSE = timedelta(seconds=60)
"""Pause that GitHub requires after a secondary rate limit if its response does not say how long to
wait.
"""

GRAPHQL_PATH = "/graphql"
GRAPHQL_CALL = f"POST {GRAPHQL_PATH}"
"""Name of all GraphQL queries in messages. HLS sends no GraphQL mutations, so it is not a write."""

TOKEN_REMEDY = f"set github.token to a valid token: {REJECTED}"
ANONYMOUS_REMEDY = "set github.token to a token that may read it"
ADDRESS_REMEDY = (
    "check github.base_url (Enterprise Server: https://HOST/api/v3), and proxies and firewalls"
    " between this host and GitHub"
)
OUTAGE_REMEDY = "wait: GitHub is temporarily unavailable (https://www.githubstatus.com)"
LIMIT_REMEDY = (
    "wait until the rate limit resets; fewer repositories or events use less of the quota"
)

WRITES_REMEDY = (
    "wait: GitHub limits how fast an account writes; a greater github.min_seconds_between_writes"
    " avoids it"
)
ACCOUNT_REMEDY = (
    "ask https://support.github.com to review the account: it was suspended or taken for spam"
)

TOO_FAST = re.compile("too quickly|secondary rate limit|abuse detection", re.IGNORECASE)
LIMIT = re.compile(
    r"rate limit|retry your request again later\.$|wait a few minutes before you try again\.$", re.I
)
REJECTED_ACCOUNT = re.compile(
    r"account (?:was|is|has been) (?:suspended|flagged)|flagged as spam|been spammed", re.IGNORECASE
)
BLOCKED = re.compile("user is blocked|been blocked from", re.IGNORECASE)
RESTRICTED = re.compile("interactions on this repository have been restricted", re.IGNORECASE)

TOO_MANY_COMMENTS = re.compile("more than 2,?500 comments", re.I)
LOCKED = re.compile(r"\blocked\b", re.I)
ONE_CONVERSATION = (TOO_MANY_COMMENTS, BLOCKED, LOCKED)
"""Reasons for a 403 that say nothing about another conversation."""

CURES = {
    TOO_MANY_COMMENTS: "continue in a new one; for a fallback issue, change comments.post_to",
    re.compile(
        "SAML enforcement", re.I
    ): "authorize the token for the organization (Settings, Tokens, Configure SSO)",
    re.compile(
        "IP allow list", re.I
    ): "an owner of the organization adds this host to its IP allow list",
    BLOCKED: (
        "the author or the repository's owner blocked HLS's account, and can unblock it (Blocked"
        " users)"
    ),
    RESTRICTED: (
        "an interaction limit keeps HLS's account out: give it the role write, or end the limit"
        " (Settings, Moderation options)"
    ),
    re.compile(r"\barchived\b", re.I): "the repository is archived, and so read-only",
    LOCKED: "the conversation is locked",
}
"""Pattern of a reason of GitHub -> what to do. It is not about permissions, though the response's
headers name some.
"""

NOT_SHOWN = ": deleted, moved, or not visible to this token"
PHRASES = {status.value: status.phrase for status in HTTPStatus}
NO_PHRASE = "(no such HTTP status)"

_down = partial(DependencyDown, dependency="github")


class Refused(Exception):
    """A response that is no success: another status than 200, 201 and 204, or errors of GraphQL."""

    def __init__(self, call: str, status: int, headers: Mapping[str, Any], data: Any) -> None:
        super().__init__(call, status)
        self.call = call  # "GET /repos/o/r/issues/7"
        self.status = status
        self.headers = headers  # names in lower case
        self.data = data  # parsed JSON; None if the body is not JSON

    @property
    def message(self) -> str | None:
        """The reason that GitHub gives; None if the body is not GitHub's."""
        message = self.get("message")
        if isinstance(message, str):
            return message
        return None

    @property
    def reasons(self) -> str:
        """The reasons of a 422: "name: is too long; color: invalid"."""
        errors = self.get("errors")
        parts: list[str] = []
        if isinstance(errors, list):  # it may have sentences
            parts = [_describe_error(error) for error in errors]
        return "; ".join(filter(None, parts)) or str(self.message)

    @property
    def details(self) -> str | None:
        """The message, with the reasons of a 422."""
        message = self.message
        if message is None or self.status != 422 or self.reasons == message:
            return message
        return f"{message}: {self.reasons}"

    def get(self, key: str) -> Any:
        """Return a value of the JSON object; None if it is missing, or the data is no object."""
        if isinstance(self.data, dict):
            return self.data.get(key)
        return None


def _describe_error(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)
    reason = error.get("message") or error.get("code")
    return ": ".join(str(part) for part in (error.get("field"), reason) if part)


def translate_status(
    call: str,
    status: int,
    headers: Mapping[str, str],
    message: str | None,
    now: datetime,
    *,
    token_remedy: str = TOKEN_REMEDY,
) -> StepFailed:
    """Return the error for a response with a status of 400 or more.

    `call` is "GET /repos/o/r/issues/7"; `headers` has lower-case names; `message` is GitHub's own
    message, without secrets, or None if the body was not GitHub's JSON. `token_remedy` is the
    operator's next step after a 401.
    """
    what = f"{call}: {status} {message or PHRASES.get(status, NO_PHRASE)}"
    if status == 401 and message is not None:
        return _down(what, remedy=token_remedy)
    text = message or ""
    if status in (403, 422) and REJECTED_ACCOUNT.search(text):
        return _down(what, remedy=ACCOUNT_REMEDY)
    is_too_fast = TOO_FAST.search(text) is not None
    if (
        status == 429
        or (status == 403 and _is_limit(headers, message))
        or (status == 422 and is_too_fast)
    ):
        remedy = LIMIT_REMEDY
        if is_too_fast and _is_write(call):
            remedy = WRITES_REMEDY
        return _down(what, remedy=remedy, not_before=_limited_until(headers, now))
    if status >= 500 or status == 408:
        retry_at = retry_after(headers, now)
        return _down(
            what,
            remedy=OUTAGE_REMEDY,
            not_before=retry_at,
            may_have_succeeded=_is_write(call),
            applies_to_all_calls=retry_at is not None,
        )
    if message is None and status in (401, 403, 404, 406, 410, 451):
        return _not_github(what)
    are_issues_disabled = status == 410 and "disabled" in text
    if status in (404, 410) and not are_issues_disabled:
        return NotFound(what + NOT_SHOWN, call=call, is_gone=status == 410)
    is_of_one = any(pattern.search(text) for pattern in ONE_CONVERSATION)
    if status == 403 and not is_of_one:
        return Forbidden(what + _permanent_reason(status, headers, text))
    if status in (403, 410, 451):
        return Permanent(what + _permanent_reason(status, headers, text))
    cure = find_cure(text)
    if status == 422 and cure is not None:
        return Permanent(f"{what}: {cure}")
    return Retryable(what)


def rejects_account(message: str) -> bool:
    """Return True if GitHub's reason is HLS's account or its speed, so that other requests would
    get it, too.
    """
    return any(
        pattern.search(message) for pattern in (TOO_FAST, REJECTED_ACCOUNT, BLOCKED, RESTRICTED)
    )


def find_cure(message: str) -> str | None:
    """Return what to do about a reason other than a missing permission; None if unknown."""
    return next((cure for pattern, cure in CURES.items() if pattern.search(message)), None)


PENDING_WRITE_WAIT = timedelta(seconds=60)
"""Wait before the next attempt of a delivery whose write timed out, because the write may still
take effect. GitHub cancels a request after ten seconds. Meanwhile the comment's lock keeps other
deliveries from writing to it.
"""


def translate_exception(
    call: str, exc: BaseException, now: datetime, proxy: ProxySettings
) -> DependencyDown:
    """Return the error for a request without a response, such as a refused connection.

    After a write that timed out, the error's `not_before` is `PENDING_WRITE_WAIT` after `now`.
    """
    not_before = None
    if timed_out(exc) and _is_write(call):
        not_before = now + PENDING_WRITE_WAIT
    reason, remedy = proxy.explain_failure(exc, otherwise=ADDRESS_REMEDY)
    return _down(
        f"{call}: no answer{reason}",
        remedy=remedy,
        not_before=not_before,
        may_have_succeeded=_is_write(call),
        applies_to_all_calls=False,
    )


def _is_write(call: str) -> bool:
    return not call.startswith("GET ") and call != GRAPHQL_CALL


class _GraphqlError(BaseModel):
    type: Any = None
    code: Any = Field(None, validation_alias=AliasPath("extensions", "code"))
    message: Any = None


_ERRORS = TypeAdapter(list[_GraphqlError])


def translate_graphql_errors(
    errors: object, headers: Mapping[str, str], now: datetime, *, secret: str
) -> StepFailed:
    """Return the error for the list `errors` in a response to a GraphQL query, which has the status
    200.

    `secret` is removed from GitHub's messages.
    https://docs.github.com/en/graphql/guides/forming-calls-with-graphql
    """
    try:
        first = _ERRORS.validate_python(errors)[0]
    except (ValidationError, IndexError):
        first = _GraphqlError()
    kind = str(first.type or first.code or "")
    message = str(first.message or "")
    what = f"{GRAPHQL_CALL}: {kind or 'error'}: {redact_secret(message, secret)}"
    if kind == "RATE_LIMITED" or _is_limit({}, message):
        # The limit of GraphQL does not apply to other requests, a secondary one does.
        is_secondary = "secondary" in message.lower()
        until = _limited_until(headers, now)
        return _down(what, remedy=LIMIT_REMEDY, not_before=until, applies_to_all_calls=is_secondary)
    if kind == "NOT_FOUND":
        return Permanent(what + _permanent_reason(404, headers, message))
    if kind in ("FORBIDDEN", "INSUFFICIENT_SCOPES"):
        return Forbidden(what + _permanent_reason(403, headers, message))
    if kind == "undefinedField":
        return Permanent(f"{what}: this GitHub Enterprise Server is too old for HLS")
    # "Something went wrong while executing your query"
    if kind in ("", "SERVICE_UNAVAILABLE", "INTERNAL"):
        return _down(what, remedy=OUTAGE_REMEDY, applies_to_all_calls=False)
    return Retryable(what)


def unexpected_response(call: str, what: str) -> DependencyDown:
    """Return the error for a response that GitHub's API does not document."""
    message = f"{call}: unexpected response from GitHub: {what}"
    return _down(
        message,
        remedy=ADDRESS_REMEDY,
        may_have_succeeded=_is_write(call),
        applies_to_all_calls=False,
    )


def _not_github(what: str) -> DependencyDown:
    message = f"{what}: not a response of GitHub's API"
    return _down(message, remedy=ADDRESS_REMEDY, applies_to_all_calls=False)


def translate_redirect(
    call: str, status: int, location: str | None, message: str | None, base_url: str
) -> StepFailed:
    """Return the error for a redirect: the resource has moved, or github.base_url is wrong.

    GitHub's API redirects within itself, with a `message`, for a renamed or transferred repository
    and for a transferred issue. Redirects are never followed, because HLS would then read and write
    a repository that neither the event nor the settings name.
    """
    what = f"{call}: {status} {PHRASES.get(status, NO_PHRASE)}"
    if message is None or not _has_same_host(base_url, location or ""):
        return _not_github(what)
    return Permanent(
        f"{what}: the repository or issue was moved; if it has a new name, update `repositories` in"
        " the settings"
    )


def _has_same_host(base_url: str, location: str) -> bool:
    base = urlsplit(base_url)
    try:
        target = urlsplit(urljoin(base_url, location))
    except ValueError:  # such as "http://[bad"
        return False
    return (target.scheme, target.netloc) == (base.scheme, base.netloc)


def _is_limit(headers: Mapping[str, str], message: str | None) -> bool:
    is_limit = any(pattern.search(message or "") for pattern in (LIMIT, TOO_FAST))
    return is_limit or "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0"


def _limited_until(headers: Mapping[str, str], now: datetime) -> datetime:
    retry_at = retry_after(headers, now)
    if retry_at is not None:
        return retry_at
    reset = rate_limit_reset(headers)
    if headers.get("x-ratelimit-remaining") == "0" and reset is not None:
        return min(max(reset, now), now + MAX_WAIT)
    return now + SECONDARY_LIMIT_PAUSE


def _permanent_reason(status: int, headers: Mapping[str, str], message: str) -> str:
    if status != 403:
        return NOT_SHOWN
    cure = find_cure(message)
    if cure is not None:
        return f": {cure}"
    permissions = headers.get("x-accepted-github-permissions")
    if permissions:
        return f": the token lacks a permission; GitHub asks for {permissions}"
    scopes = headers.get("x-accepted-oauth-scopes")
    if scopes:
        return f": the token lacks a permission or a scope; GitHub asks for the scope {scopes}"
    return ": the token or its account lacks a permission"
