"""Every request that the stand-ins saw, without its secrets."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from hls_handler.sandbox.faults import Effect, StandIn

KEPT = 20_000
SECRET_HEADERS = frozenset({"authorization", "x-api-key", "cookie", "proxy-authorization"})


@dataclass(frozen=True, slots=True)
class Seen:
    """One request. `path` is the API's own, as it was sent: without the stand-in's prefix, and not unquoted."""

    at: datetime
    stand_in: StandIn
    method: str
    path: str  # "/repos/o/r/issues/7/labels/type%2Fbug-fix"
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case; secrets are "***"
    body: Any  # parsed JSON; text where it is none; None where there is no body
    status: int | None  # None: no answer was given
    fault: Effect | None  # that it met
    took_s: float

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    def document(self) -> dict[str, Any]:
        return {**asdict(self), "at": self.at.isoformat()}


class SeenLog:
    """The last requests, oldest first."""

    def __init__(self, kept: int = KEPT) -> None:
        self._lock = threading.Lock()
        self._requests: deque[Seen] = deque(maxlen=kept)

    def add(self, seen: Seen) -> None:
        with self._lock:
            self._requests.append(seen)

    def clear(self) -> None:
        with self._lock:
            self._requests.clear()

    def all(self, stand_in: StandIn | None = None) -> tuple[Seen, ...]:
        with self._lock:
            return tuple(seen for seen in self._requests if stand_in in {None, seen.stand_in})


def without_secrets(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    plain = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
    return {name: "***" if name in SECRET_HEADERS else value for name, value in plain.items()}


def parsed(raw: bytes) -> Any:
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode("utf-8", "replace")
