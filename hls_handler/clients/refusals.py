"""What GitHub's refusals mean: one place turns a status, its headers and its message into one of our errors.

https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from urllib.parse import urlsplit

import requests
from github.Requester import Requester

from hls_handler.clients.retry_after import LONGEST, retry_after
from hls_handler.clients.way import Way
from hls_handler.errors import DependencyDown, Permanent, Retryable, StepFailed

SHORTEST_PAUSE = timedelta(seconds=60)
"""What GitHub asks for after a secondary limit that names no time."""

TOKEN_REMEDY = "set github.token to a valid token: this one is wrong, expired or revoked"  # noqa: S105 (a sentence)
PERMISSION_REMEDY = "let the account of github.token have the permission, or give the token more rights"
ADDRESS_REMEDY = "check github.base_url and what stands between here and GitHub"
OUTAGE_REMEDY = "nothing to do but wait: GitHub has trouble (https://www.githubstatus.com)"
LIMIT_REMEDY = "nothing to do but wait: the quota fills up again; fewer repositories or events use less of it"


def refused(call: str, status: int, headers: Mapping[str, str], message: str | None, now: datetime) -> StepFailed:
    """The error for an answer with a status of 400 and more.

    `call` is "GET /repos/o/r/issues/7"; `headers` has lower-case names; `message` is GitHub's own sentence, without
    secrets, or None where the body was not GitHub's JSON.
    """
    what = f"{call}: {status} {message or _phrase(status)}"
    if status == 401:
        return DependencyDown(what, dependency="github", remedy=TOKEN_REMEDY)
    if status == 429 or (status == 403 and _is_limit(headers, message)):
        until = _limited_until(headers, now)
        return DependencyDown(what, dependency="github", remedy=LIMIT_REMEDY, not_before=until)
    if status >= 500 or status == 408:
        until_or_none = retry_after(headers, now)
        return DependencyDown(
            what, dependency="github", remedy=OUTAGE_REMEDY, not_before=until_or_none, maybe_done=_is_write(call)
        )
    if status in (403, 404, 410, 451):
        if message is None:
            return DependencyDown(f"{what}, which is not GitHub's", dependency="github", remedy=ADDRESS_REMEDY)
        return Permanent(what + _why_never(status, headers, message))
    return Retryable(what)


SLOWEST_WRITE = timedelta(seconds=60)
"""A write that we did not wait for may still take effect; GitHub itself gives up on a request after ten seconds.

So long its own delivery waits. From a comment everybody else is kept away, too, by its lock (`github.slowest_write_s`).
"""


def unreachable(call: str, exc: BaseException, now: datetime, way: Way) -> DependencyDown:
    """The error for a request without an answer: refused, dropped, timed out, or unreadable.

    After a write that timed out, nobody looks whether it was done before it must have been.
    """
    timed_out = isinstance(exc, requests.Timeout) and not isinstance(exc, requests.ConnectTimeout)
    not_before = now + SLOWEST_WRITE if timed_out and _is_write(call) else None
    why, remedy = way.told(exc, otherwise=ADDRESS_REMEDY)
    message = f"{call}: no answer{why}"
    return DependencyDown(
        message,
        dependency="github",
        remedy=remedy,
        not_before=not_before,
        maybe_done=_is_write(call),
        for_all=False,
    )


def _is_write(call: str) -> bool:
    return not call.startswith("GET ")


def unexpected(call: str, what: str) -> DependencyDown:
    """The error for an answer that GitHub's API does not give."""
    return DependencyDown(
        f"{call}: GitHub answered something unexpected: {what}",
        dependency="github",
        remedy=ADDRESS_REMEDY,
        maybe_done=_is_write(call),
    )


def redirected(call: str, status: int, location: str | None, base_url: str) -> StepFailed:
    """The error for a redirect, which we never follow: it tells that a thing has moved, or that our address is wrong.

    GitHub redirects for a renamed or transferred repository and for a transferred issue. Following would read from one
    repository and write to another than the event and the settings name.
    """
    there, here = urlsplit(location or ""), urlsplit(base_url)
    what = f"{call}: {status} {_phrase(status)}"
    if location and (there.netloc and (there.scheme, there.netloc) != (here.scheme, here.netloc)):
        remedy = f"set github.base_url to the address itself: {base_url} redirects to {there.scheme}://{there.hostname}"
        return DependencyDown(what, dependency="github", remedy=remedy)
    return Permanent(f"{what}: renamed, transferred or moved; name its new place in repositories")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(no such HTTP status)"


def _is_limit(headers: Mapping[str, str], message: str | None) -> bool:
    text = (message or "").lower()
    told = Requester.isRateLimitError(text) or "rate limit" in text or "abuse detection" in text
    return told or "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0"


def _limited_until(headers: Mapping[str, str], now: datetime) -> datetime:
    told = retry_after(headers, now)
    if told is not None:
        return told
    reset = headers.get("x-ratelimit-reset", "")
    if headers.get("x-ratelimit-remaining") == "0" and reset.isascii() and reset.isdigit() and len(reset) <= 10:
        return min(max(datetime.fromtimestamp(int(reset), UTC), now), now + LONGEST)
    return now + SHORTEST_PAUSE


def _why_never(status: int, headers: Mapping[str, str], message: str) -> str:
    """The reason, after GitHub's own sentence, that the operator reads in `why`."""
    text = message.lower()
    if status != 403:
        return ": deleted, moved, or not visible to this token"
    if "archived" in text:
        return ": the repository is archived, and so read-only"
    if "locked" in text:
        return ": the conversation is locked"
    permissions = headers.get("x-accepted-github-permissions")
    if permissions:
        return f": the token lacks a permission; GitHub asks for {permissions}"
    scopes = headers.get("x-accepted-oauth-scopes")
    if scopes:
        return f": the token lacks a permission or a scope; GitHub asks for the scope {scopes}"
    return ": the token or its account lacks a permission"
