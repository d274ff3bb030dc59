"""Errors that HLS raises, and who must act on each.

HlsError
├── SettingsError          the operator corrects a file; the service does not start
│   └── StartLater         the settings are valid, but the database is unavailable at the moment
├── PromptError            the prompt author corrects a template; the last valid version stays in use
│   ├── BrokenTemplateError one template could not be rendered (prompting/problems.py)
│   └── TornToken          a template split the placeholder of an untrusted text (untrusted/tokens.py)
├── PayloadError           the body does not match the event that its header names: 400
├── Refused                a request that is rejected with 4xx (web/refusal.py)
├── StoreUnavailable       the database cannot be read or written now: the receiver returns 503, the workers pause
│   ├── NotReady           the database server is starting (store/database.py)
│   └── Conflict           a constraint of the database rejected a write (store/database.py)
├── DamagedError           a stored value cannot be read: the operator restores a backup (store/packed.py)
├── EndsAlways             the demo's service exits however often it is restarted (cli/service_process.py)
├── Found                  a check of the probe found a problem: /health shows it to the operator (work/probe.py)
├── LeaseLost              another worker has claimed the delivery: stop, and write nothing
├── Wait                   not a failure: the delivery is postponed (rate limiter, budget, a held lock)
├── Overtaken              a newer event supersedes this work
└── StepFailed             one step of one delivery failed
    ├── Permanent          a retry cannot help: 404, locked conversation, rejected reply
    └── Retryable          the same call may succeed later
        └── DependencyDown it succeeds once GitHub or Claude is available again: no attempt is counted

The file in parentheses defines the class, if it is not this one; the sandbox defines more. A message names the cause
and what to do next, and never contains a secret or a whole payload.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

Dependency = Literal["github", "claude"]


class HlsError(Exception):
    """Base of all errors that HLS raises deliberately."""


class SettingsError(HlsError):
    """The settings are invalid; `problems` has one sentence for each problem, with its file and line."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class StartLater(SettingsError):
    """The service cannot start because the database is unavailable; a later start may succeed without a change."""


class PromptError(HlsError):
    """Prompts are invalid; `problems` has one sentence for each problem, with its file and line."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class PayloadError(HlsError):
    """A request body does not match the event that its header names."""


class StoreUnavailable(HlsError):
    """The database cannot be read or written at the moment."""


class LeaseLost(HlsError):
    """The lease on a delivery has expired and another worker may hold it: stop, and write nothing."""


class Wait(HlsError):
    """The delivery is postponed; nothing failed, and no attempt is counted.

    `at` is aware UTC, by the database's clock. `holdup` is the dependency that causes a delay which the operator
    should know about (Claude's hourly budget is used up); None for an ordinary wait.
    """

    def __init__(self, message: str, *, at: datetime, holdup: Dependency | None = None) -> None:
        super().__init__(message)
        self.at = at
        self.holdup: Dependency | None = holdup


class Overtaken(HlsError):
    """A newer event (a push, a closed issue) supersedes this work; the message is stored as the reason."""


class StepFailed(HlsError):
    """A step of one delivery failed; the message is shown to the operator."""


class Permanent(StepFailed):
    """A retry cannot help."""


class Retryable(StepFailed):
    """The same call may succeed later. `not_before` is the time that the server gave, if any (aware UTC)."""

    def __init__(self, message: str, *, not_before: datetime | None = None) -> None:
        super().__init__(message)
        self.not_before = not_before


class DependencyDown(Retryable):
    """GitHub or Claude is unavailable: unreachable, 5xx, 429, 401, no credit.

    `remedy` is one sentence for the operator about what to do; `/health` shows it. `maybe_done`: no response arrived,
    but the request may have been executed and billed. `for_all`: `not_before` applies to all calls, not only to this
    one.
    """

    def __init__(
        self,
        message: str,
        *,
        dependency: Dependency,
        remedy: str,
        not_before: datetime | None = None,
        maybe_done: bool = False,
        for_all: bool = True,
    ) -> None:
        super().__init__(message, not_before=not_before)
        self.for_all = for_all
        self.dependency: Dependency = dependency
        self.remedy = remedy
        self.maybe_done = maybe_done
