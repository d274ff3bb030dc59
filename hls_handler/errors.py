"""What can go wrong, and who has to act.

HlsError
├── SettingsError          the operator mends a file; the service does not start
│   └── StartLater         nothing is wrong with it, but the database cannot be used at the moment
├── PromptError            the prompt author mends a template; the last good version stays in use
│   ├── BrokenTemplateError one template could not be rendered (prompting/problems.py)
│   └── TornToken          a template cut a stranger's text (untrusted/tokens.py)
├── PayloadError           the sender's body does not fit the event it is named by: 400
├── Refused                a request that is answered with 4xx (web/refusal.py)
├── StoreUnavailable       the database cannot be read or written now: 503 at the door, a pause in the workers
│   ├── NotReady           the database's server is starting (store/database.py)
│   └── Conflict           a guard in the database refused a write (store/database.py)
├── DamagedError           a stored value cannot be read: the operator restores a copy (store/packed.py)
├── EndsAlways             the demo's service ends however often it is started (cli/service_process.py)
├── Found                  a look of the probe's found trouble: /health tells the operator (work/probe.py)
├── LeaseLost              another worker owns the delivery now; this one stops and writes nothing
├── Wait                   not an error of anybody: the delivery's turn comes later (pace, budget, a held lock)
├── Overtaken              a newer event made this work pointless: superseded
└── StepFailed             one delivery, one step
    ├── Permanent          trying again cannot help: 404, locked thread, refused reply
    └── Retryable          the same call may work later
        └── DependencyDown it will work once GitHub or Claude is back: no attempt is counted

A file in brackets is where the class stands, if not here; the sandbox has more of its own. A message names the
culprit and what to do next, and never holds a secret or a whole payload.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

Dependency = Literal["github", "claude"]


class HlsError(Exception):
    """Base of all errors that we raise on purpose."""


class SettingsError(HlsError):
    """The settings cannot be used; `problems` holds one sentence for each, each with its file and line."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class StartLater(SettingsError):
    """The service does not start, and may at another time, with nothing changed: the database cannot be used now."""


class PromptError(HlsError):
    """Prompts cannot be used; `problems` holds one sentence for each, each with its file and line."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class PayloadError(HlsError):
    """A body does not fit the event that it is named by."""


class StoreUnavailable(HlsError):
    """The database cannot be read or written at the moment."""


class LeaseLost(HlsError):
    """The lease on a delivery has ended and somebody else may hold it: stop, and write nothing."""


class Wait(HlsError):
    """The delivery's turn comes later; nothing failed, and nothing is counted against it.

    `at` is aware UTC, by the database's clock. `holdup` names a hold-up that the operator should know of ("claude:
    hourly budget used up"); an ordinary turn has none.
    """

    def __init__(self, message: str, *, at: datetime, holdup: Dependency | None = None) -> None:
        super().__init__(message)
        self.at = at
        self.holdup: Dependency | None = holdup


class Overtaken(HlsError):
    """Something newer made this work pointless (a newer push, a closed thread); the message is the reason kept."""


class StepFailed(HlsError):
    """A step of one delivery did not succeed; the message is shown to the operator."""


class Permanent(StepFailed):
    """Trying again cannot help."""


class Retryable(StepFailed):
    """The same call may work later. `not_before` is the server's word, if it gave one (aware UTC)."""

    def __init__(self, message: str, *, not_before: datetime | None = None) -> None:
        super().__init__(message)
        self.not_before = not_before


class DependencyDown(Retryable):
    """GitHub or Claude itself is the trouble: unreachable, 5xx, 429, 401, no credit.

    `remedy` tells the operator what to do, in one sentence; `/health` shows it. `maybe_done`: no answer came, but the
    request may have been carried out, and paid for. `for_all`: whether `not_before` is the server's word to
    everybody, or concerns this one call.
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
