"""The fixed question that shows whether an unknown error 400 is about the account or about the
prompt.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hls_handler.claude.provider_errors import RejectedRequest
from hls_handler.errors import Retryable, StepFailed
from hls_handler.settings.model import Provider

FIXED_QUESTION = "Answer with the word yes."
ASK_AFTER = timedelta(minutes=1)
"""Shortest time between two fixed questions of a process."""

Send = Callable[[str], StepFailed | None]


@dataclass(frozen=True, slots=True)
class _Subject:
    """The error that a fixed question is about. `words` are those of its message without digits."""

    provider: Provider
    model: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Asked:
    at: datetime
    subject: _Subject | None
    error: StepFailed | None  # None: it was answered


class AccountProbes:
    """The last fixed question of a process, which asks at most one a minute. Thread-safe.

    `send` asks the question of a model, and returns the error, or None if it is answered.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._last: _Asked | None = None

    def gets_same(
        self,
        rejected: RejectedRequest,
        provider: Provider,
        model: str,
        send: Send,
    ) -> bool:
        """Return whether the fixed question gets the same error.

        Raises `Retryable` if it was asked about another error within the last minute.
        """
        subject = _Subject(provider, model, _words_of(rejected))
        with self._lock:
            last = self._find_recent()
            if last is None:
                last = self._ask(subject, model, send)
            elif last.subject != subject:
                at = last.at + ASK_AFTER
                message = (
                    f"{rejected.what}; it may be the account's: asked again at {at:%H:%M:%S} UTC"
                )
                raise Retryable(message, not_before=at)
        error = last.error
        return isinstance(error, RejectedRequest) and _words_of(error) == subject.words

    def find_error(self, model: str, send: Send) -> StepFailed | None:
        """Return the error of the fixed question, or of the last one if that was asked within the
        last minute.
        """
        with self._lock:
            last = self._find_recent() or self._ask(None, model, send)
        return last.error

    def _find_recent(self) -> _Asked | None:
        last = self._last
        if last is None or self._now() >= last.at + ASK_AFTER:
            return None
        return last

    def _ask(self, subject: _Subject | None, model: str, send: Send) -> _Asked:
        error = send(model)
        self._last = _Asked(self._now(), subject, error)
        return self._last


def _words_of(rejected: RejectedRequest) -> tuple[str, ...]:
    """Return the words without digits: numbers, times and ids of requests differ between equal
    errors.
    """
    return tuple(word for word in rejected.reason.split() if not re.search(r"\d", word))
