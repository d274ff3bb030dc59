"""Log of the requests that the stand-ins for GitHub and Claude received, without secrets."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from hls_handler.sandbox.faults import Effect, StandIn

MAX_REQUESTS = 20_000
SECRET_HEADERS = frozenset({"authorization", "x-api-key", "cookie", "proxy-authorization"})


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request. `path` is percent-encoded as sent, without the stand-in's prefix, such as /api/v3."""

    at: datetime
    stand_in: StandIn
    method: str
    path: str  # "/repos/o/r/issues/7/labels/type%2Fbug-fix"
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case; secrets are "***"
    body: Any  # parsed JSON, or text if it is not JSON; None without a body
    status: int | None  # None: there was no response
    fault: Effect | None  # the injected fault, if any
    took_s: float

    @property
    def writes(self) -> bool:
        return self.method != "GET" and self.path != "/graphql"  # HLS sends no mutations

    def document(self) -> dict[str, Any]:
        return {**asdict(self), "at": self.at.isoformat()}


class RequestLog:
    """The last `MAX_REQUESTS` requests, in the order in which they were processed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: deque[LoggedRequest] = deque(maxlen=MAX_REQUESTS)

    def add(self, request: LoggedRequest) -> None:
        with self._lock:
            self._requests.append(request)

    def clear(self) -> None:
        with self._lock:
            self._requests.clear()

    def all(self, stand_in: StandIn | None = None) -> tuple[LoggedRequest, ...]:
        with self._lock:
            return tuple(request for request in self._requests if stand_in in {None, request.stand_in})


def redact_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    plain = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
    return {name: "***" if name in SECRET_HEADERS else value for name, value in plain.items()}


def parse_body(raw: bytes) -> Any:
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode("utf-8", "replace")
