"""Errors that HLS raises, and who must act on each.

HlsError
├── SettingsError          the operator corrects a file; the service does not start
│   ├── InvalidYaml        a text is not YAML, or exceeds the limits
│   └── DatabaseUnavailable the settings are valid; the database does not answer
├── PromptError            the prompt author corrects a template; the last valid one stays in use
│   ├── BrokenTemplateError one template could not be rendered
│   └── BrokenPlaceholder  a template split the placeholder of an untrusted text
├── PayloadError           the body does not match the event in its header: 400
├── Rejected               the receiver rejects the request with 4xx
├── StoreUnavailable       the database cannot be read or written: 503, the workers pause
│   ├── NotReady           the database server is starting
│   └── UnsupportedTables  another version of HLS wrote the tables: the service does not start
├── InvalidQuery           a query for deliveries has a wrong word: the error names it
├── UnknownPayload         no recorded payload has this name
├── DamagedError           a stored value cannot be read: the operator restores a backup
├── ProblemFound           a periodic check found a problem: /health shows it to the operator
├── CannotPlan             no batch can be started: it says why
├── NotRepeatable          a delivery cannot be analysed again: something is not stored
├── MirrorUnavailable      a review goes on without the mirror: the check and `hls why` say so
│   ├── DiskFull           the disk of the mirrors has no room: nothing is fetched for a while
│   ├── TooMuch            the commits are too large, or fetching them takes too long
│   └── HostFailed         the git host does not answer: nothing is fetched for a minute
├── VectorsUnavailable     only full-text search is used, without Qdrant
├── Stopped                catch-up ends early; the next run continues
├── LeaseLost              another worker may claim the delivery: this one writes nothing
├── Postponed              not a failure: the delivery waits (rate limiter, budget, a held lock)
│   ├── BudgetUsedUp       the next call to Claude does not fit the budget of a day or month
│   └── TokenReplaced      another token takes over: the delivery is repeated at once
├── Superseded             a newer event makes this delivery unnecessary
│   └── ConversationIgnored the issue or pull request is not to be processed
└── StepFailed             one step of one delivery failed
    ├── Permanent          a retry cannot help: rejected reply, missing permission
    │   ├── NotFound       GitHub answers 404 or 410
    │   ├── Forbidden      GitHub answers 403: a batch stops
    │   ├── RequestRejected Claude's service answers 400 or 422
    │   ├── BudgetExceeded the next call to Claude does not fit the money for a review
    │   │   └── PullRequestLimitReached it does not fit that for a pull request: `/review` goes on
    │   └── UnusableAnswer a reply to `hls prompts try` cannot be used
    └── Retryable          the same call may succeed later
        ├── SlowResponse   Claude was still sending at claude.timeout_s: an attempt is counted
        └── DependencyDown GitHub or Claude is not available: no attempt is counted
            ├── AppNotInstalled the App is not installed on the repository, or suspended
            ├── ModelNotFound Claude's service does not know the model (404)
            ├── AccountLimited a limit of the account ends on a date that the service names
            └── RateLimited Claude's service asks to wait (429)

The sandbox defines more. A message names the cause and what to do next. It never contains a secret
or a whole payload.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

Dependency = Literal["github", "claude"]


class HlsError(Exception):
    """Base of all errors that HLS defines."""


class SettingsError(HlsError):
    """The settings are invalid; `problems` has one sentence for each problem, with its file and
    line.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class DatabaseUnavailable(SettingsError):
    """The service cannot start because the database is unavailable; a later start may succeed
    without a change.
    """


class PromptError(HlsError):
    """Prompts are invalid; `problems` has one sentence for each problem, with its file and line."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class PayloadError(HlsError):
    """A request body does not match the event that its header names."""


class StoreUnavailable(HlsError):
    """The database cannot be read or written at the moment."""


class InvalidQuery(HlsError):
    """A word of a query for deliveries is unknown, or has an invalid value."""


class LeaseLost(HlsError):
    """A lease has expired, or soon will. The worker must stop, because another worker may claim the
    delivery.
    """


class Postponed(HlsError):
    """The delivery is postponed; nothing failed, and no attempt is counted.

    `at` is the time of the next attempt: aware UTC, by the database's clock. `waiting_for` is
    "claude" if the limit claude.calls_per_hour is reached or a budget is used up, else None.
    `/health` reports "claude" as a problem.
    """

    def __init__(
        self, message: str, *, at: datetime, waiting_for: Dependency | None = None
    ) -> None:
        super().__init__(message)
        self.at = at
        self.waiting_for: Dependency | None = waiting_for


class BudgetUsedUp(Postponed):
    """The next call to Claude may cost more than a budget of `budgets` leaves; `at` is when its
    next period begins.

    `is_first` is True for the first call of this day that did not fit the budget.
    """

    def __init__(
        self, message: str, *, at: datetime, waiting_for: Dependency | None, is_first: bool
    ) -> None:
        super().__init__(message, at=at, waiting_for=waiting_for)
        self.is_first = is_first


class TokenReplaced(Postponed):
    """GitHub did not execute the request because of its token, and another token takes over."""


class Superseded(HlsError):
    """A newer event, such as a push or a closing, makes this delivery unnecessary. The message
    names the event.
    """


class ConversationIgnored(Superseded):
    """The issue or pull request is not to be processed, as GitHub or the database shows it now.

    `kind` is an `IgnoredKind`: a person deleted or locked it or gave the command /stop, its title
    or a label asks HLS to skip it, a bot opened it that the settings do not include, it was
    processed too often (`limits.thread_runs_per_hour`), `budgets` leave nothing for it, or a run
    was cancelled by a person or by a newer one.
    """

    def __init__(
        self,
        message: str,
        kind: Literal[
            "conversation deleted",
            "conversation locked",
            "asked to skip",
            "other bot",
            "stopped",
            "too many runs",
            "over budget",
            "nothing failed",
        ],
    ) -> None:
        super().__init__(message)
        self.kind = kind


class StepFailed(HlsError):
    """A step of one delivery failed; the message is shown to the operator."""

    request_id: str | None = None  # Claude's id of the request that failed


class Permanent(StepFailed):
    """A step failed, and would fail again if it were retried."""


class NotFound(Permanent):
    """GitHub answered 404 or 410 to `call`: "GET /repos/o/r/issues/7".

    `is_gone` is True if it was deleted (410). With a 404, it may also be invisible to the token.
    """

    def __init__(self, message: str, *, call: str, is_gone: bool) -> None:
        super().__init__(message)
        self.call = call
        self.is_gone = is_gone


class Forbidden(Permanent):
    """GitHub answered 403, and would again: the token or its account lacks a permission."""


class RequestRejected(Permanent):
    """Claude's service answered 400 or 422. `reason` is its text."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class BudgetExceeded(Permanent):
    """The next call to Claude may cost more than `review.max_usd` or
    `review.max_usd_per_pull_request` leaves.

    The call was not sent. Replies to earlier calls of the delivery are stored as checkpoints.
    """


class PullRequestLimitReached(BudgetExceeded):
    """The next call may cost more than `review.max_usd_per_pull_request` leaves.

    `/review` of a person with write permission continues for one more review.
    """


class Retryable(StepFailed):
    """A step failed, but a retry may succeed. `not_before` is the server's earliest time for a
    retry: aware UTC.
    """

    def __init__(self, message: str, *, not_before: datetime | None = None) -> None:
        super().__init__(message)
        self.not_before = not_before


class SlowResponse(Retryable):
    """A service that answers prompts was still sending when `claude.timeout_s` was over. The call
    may be billed.

    `remedy` is a sentence for the operator, shown by `/health`.
    """

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


REJECTED = "this one is wrong, expired or revoked"
"""End of the remedy for a key or a token that was rejected."""


class DependencyDown(Retryable):
    """GitHub or Claude is unavailable: unreachable, 5xx, 429, 401, no credit.

    `remedy` is a sentence for the operator, shown by `/health`. `may_have_succeeded` is True if the
    request may have been executed and billed, as after a timeout. If `applies_to_all_calls` is
    True, all requests to the dependency must wait until `not_before`; otherwise, only the failed
    request must wait.
    """

    def __init__(
        self,
        message: str,
        *,
        dependency: Dependency,
        remedy: str,
        not_before: datetime | None = None,
        may_have_succeeded: bool = False,
        applies_to_all_calls: bool = True,
    ) -> None:
        super().__init__(message, not_before=not_before)
        self.applies_to_all_calls = applies_to_all_calls
        self.dependency: Dependency = dependency
        self.remedy = remedy
        self.may_have_succeeded = may_have_succeeded


class AppNotInstalled(DependencyDown):
    """The GitHub App is not installed on the repository, or its installation is suspended.

    Only deliveries of this repository wait: until an event reports that it is installed again, or
    for the next attempt.
    """

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            dependency="github",
            remedy=(
                "install the App there on GitHub, or unsuspend its installation; waiting deliveries"
                " then continue"
            ),
            applies_to_all_calls=False,
        )


class ModelNotFound(DependencyDown):
    """Claude's service does not know the model: the name is wrong, or the service lists no
    models.
    """


class AccountLimited(DependencyDown):
    """A limit of the account ends on a date that Claude's service names, or the service rejects
    each request for the same reason. It is asked again at `not_before`, at the latest then. The
    delivery did not fail.
    """


class RateLimited(DependencyDown):
    """Claude's service asks to wait until `not_before`; None if it does not say how long."""


def with_remedy(error: HlsError) -> str:
    """Return the error's message. If the error has a remedy, append it."""
    if isinstance(error, DependencyDown | SlowResponse):
        return f"{error}; {error.remedy}"
    return str(error)
