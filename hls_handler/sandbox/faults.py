"""Faults: how the stand-ins can be told to fail, for which requests, and how often."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

StandIn = Literal["github", "claude"]

Effect = Literal[
    "status",  # answer `status` with `headers` and `body`; the request has no effect
    "drop",  # close the connection; the request has no effect
    "drop_after",  # do what was asked, then close the connection without an answer
    "hang",  # never answer; the request has no effect
    "hang_after",  # do what was asked, then never answer
    "slow",  # answer as usual, `seconds` later
    "garbage",  # do what was asked, then answer 200 with broken JSON
    "truncated",  # Claude: the reply ends at max_tokens, in the middle
    "refusal",  # Claude: a refusal, without text
    "wrong_schema",  # Claude: JSON, but not what was asked for
    "empty",  # Claude: end_turn without a text block
    "paused",  # Claude: pause_turn
]


def _is_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as exc:
        raise ValueError(f"not a regular expression: {exc}") from exc
    return pattern


Pattern = Annotated[str, AfterValidator(_is_pattern)]


class Fault(BaseModel):
    """One rule. It takes the requests that fit, after letting `skip` of them pass, `times` times (None: for ever)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    effect: Effect
    stand_in: StandIn | None = None  # both
    method: Pattern = ".*"  # has to match the whole
    path: Pattern = ".*"  # may match anywhere in "/repos/o/r/issues/7/comments" or "/v1/messages", as sent
    times: int | None = Field(1, ge=1)
    skip: int = Field(0, ge=0)
    status: int = Field(500, ge=200, le=599)
    headers: Mapping[str, str] = Field(default_factory=dict)
    body: str = ""  # of `status`; a stand-in's own error document if empty
    seconds: float = Field(0.0, ge=0, le=3600)

    def fits(self, stand_in: StandIn, method: str, path: str) -> bool:
        return (
            self.stand_in in {None, stand_in}
            and re.fullmatch(self.method, method) is not None
            and re.search(self.path, path) is not None
        )


class Faults:
    """The rules in force, oldest first; the first that fits takes the request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[tuple[Fault, int]] = []  # with the number of requests that fitted so far

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._rules.append((fault, 0))

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    @property
    def rules(self) -> tuple[tuple[Fault, int], ...]:
        """Every rule with how many requests it took; used-up ones stay until `clear`."""
        with self._lock:
            return tuple((fault, max(0, fitted - fault.skip)) for fault, fitted in self._rules)

    def take(self, stand_in: StandIn, method: str, path: str) -> Fault | None:
        """The fault that this request meets, counted; None if it meets none."""
        with self._lock:
            for index, (fault, fitted) in enumerate(self._rules):
                used_up = fault.times is not None and fitted >= fault.skip + fault.times
                if used_up or not fault.fits(stand_in, method, path):
                    continue
                self._rules[index] = (fault, fitted + 1)
                if fitted >= fault.skip:
                    return fault
            return None
