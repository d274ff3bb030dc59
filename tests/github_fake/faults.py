"""Fault injection: how the stand-ins fail, for which requests, and how often."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

StandIn = Literal["github", "claude"]

Effect = Literal[
    "status",  # respond with `status`, `headers` and `body`; the request has no effect
    "status_after",  # process the request, then respond with `status`, as a gateway does
    "drop",  # close the connection; the request has no effect
    "drop_after",  # process the request, then close the connection without a response
    "hang",  # never respond; the request has no effect
    "hang_after",  # process the request, then never respond
    "slow",  # process the request after `seconds`
    "garbage",  # process the request, then respond 200 with invalid JSON
    "refusal",  # Claude: a refusal, without text
    "wrong_schema",  # Claude: JSON that does not match the schema
]


class Fault(BaseModel):
    """A fault to inject into matching requests."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    effect: Effect
    stand_in: StandIn | None = None  # None: both
    method: str = ".*"  # regular expression; must match the whole method
    path: str = ".*"
    """Regular expression; may match anywhere in "/repos/o/r/issues/7/comments" or "/v1/messages",
    as sent.
    """
    times: int | None = Field(1, ge=1)  # number of requests to affect; None: no limit
    skip: int = Field(0, ge=0)  # number of matching requests before the first affected request
    status: int = Field(500, ge=200, le=599)
    headers: Mapping[str, str] = Field(default_factory=dict)
    body: str = ""  # response body of the effect `status`; empty: the stand-in's own error document
    seconds: float = Field(0.0, ge=0, le=3600)

    def matches(self, stand_in: StandIn, method: str, path: str) -> bool:
        return (
            self.stand_in in {None, stand_in}
            and re.fullmatch(self.method, method) is not None
            and re.search(self.path, path) is not None
        )


class Faults:
    """The faults to inject, here called rules. At most one rule affects a request: the oldest that
    applies.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[tuple[Fault, int]] = []  # (rule, number of requests that matched it)

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._rules.append((fault, 0))

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def take(self, stand_in: StandIn, method: str, path: str) -> Fault | None:
        """Return the fault to inject into a request, or None. The request counts for the faults'
        `skip` and `times`.
        """
        with self._lock:
            for index, (fault, matched) in enumerate(self._rules):
                exhausted = fault.times is not None and matched >= fault.skip + fault.times
                if exhausted or not fault.matches(stand_in, method, path):
                    continue
                self._rules[index] = (fault, matched + 1)
                if matched >= fault.skip:
                    return fault
            return None


REPLY_FAULTS: frozenset[Effect | None] = frozenset({"refusal", "wrong_schema"})


def distort(effect: Effect | None, message: dict[str, Any]) -> dict[str, Any]:
    """Return Claude's message as changed by `effect`. The token usage in it stays the same."""
    if effect == "refusal":
        details = {
            "type": "refusal",
            "category": None,
            "explanation": "Refusal injected by the sandbox.",
        }
        return {**message, "content": [], "stop_reason": "refusal", "stop_details": details}
    text = json.dumps({"unexpected": "this does not match the schema"})
    return {**message, "content": [{"type": "text", "text": text, "citations": None}]}
