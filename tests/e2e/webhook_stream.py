"""A stream of signed webhooks to a service, with the responses and a check of what became of each delivery."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from hls_handler.sandbox.server import Sandbox
from tests.e2e.service import Service, Waiting
from tests.e2e.test_life import assert_each_done_once
from tests.e2e.test_life import issue as small_issue

SENDERS = 3
PAUSE_S = 0.4


@dataclass(frozen=True, slots=True)
class Response:
    """The response to one delivery; status 0 if there was none."""

    number: int
    guid: str
    status: int
    retry_after: str | None
    took_s: float


@dataclass
class Stream:
    """Sends different issues over several connections at once, and records the responses."""

    service: Service
    sandbox: Sandbox
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1000))
    responses: list[Response] = field(default_factory=list)
    checked: int = 0  # number of responses that `assert_all_processed` has checked
    padding_bytes: int = 0  # random data added to each body
    _ended: threading.Event = field(default_factory=threading.Event)

    def of(self, status: int) -> list[Response]:
        return [response for response in list(self.responses) if response.status == status]

    @contextmanager
    def running(self) -> Iterator[Stream]:
        self._ended.clear()
        threads = [threading.Thread(target=self._send_repeatedly, name=f"sender-{n}") for n in range(SENDERS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            for thread in threads:
                thread.join(timeout=60)

    def wait_for(self, status: int, *, more: int = 3, within_s: float = 30) -> None:
        """Wait for `more` further responses with this status."""
        enough = len(self.of(status)) + more
        waiting = Waiting(within_s)
        while len(self.of(status)) < enough:
            assert waiting.more(), (
                f"no {more} more responses with {status}: {self.responses[-10:]}\n"
                f"{self.service.log.read_text()[-3000:]}"
            )

    def send(self) -> Response:
        number = next(self.numbers)
        body = self._issue(number)
        self.sandbox.state.seed("issues", json.loads(body))
        response = self._deliver(number, body)
        self.responses.append(response)
        return response

    def _deliver(self, number: int, body: bytes) -> Response:
        started, guid = time.monotonic(), guid_of(number)
        try:
            answer = self.service.deliver("issues", body, guid=guid)
        except (OSError, http.client.HTTPException):
            return Response(number, guid, 0, None, time.monotonic() - started)
        return Response(number, guid, answer.status, answer.headers.get("retry-after"), time.monotonic() - started)

    def _issue(self, number: int) -> bytes:
        body = small_issue(number)
        padding = random.Random(number).randbytes(self.padding_bytes // 2).hex()
        return b'{"padding": "%s", %s' % (padding.encode(), body.lstrip(b"{ ")) if padding else body

    def _send_repeatedly(self) -> None:
        while not self._ended.wait(PAUSE_S):
            self.send()

    def assert_all_processed(self) -> int:
        """Check that every 202 has a row, send the rest again, and check that every issue is processed once.

        Return how many of those without 202 were stored nevertheless: each is a duplicate.
        """
        self.service.until_idle()
        with closing(self.service.open_store()) as store:
            without = [one for one in self.of(202) if store.deliveries.find(one.guid) is None]
            stored = {one.guid for one in self.responses if store.deliveries.find(one.guid) is not None}
        assert without == []
        rejected = [one for one in self.responses[self.checked :] if one.status != 202]
        self.checked = len(self.responses)
        assert {one.status for one in rejected} <= {503}
        assert {one.retry_after for one in rejected} <= {"30"}
        assert max(one.took_s for one in self.responses) < 9
        for one in rejected:
            answer = self.service.deliver("issues", self._issue(one.number), guid=one.guid)
            assert answer.body["status"] == ("duplicate" if one.guid in stored else "queued"), answer
        self.service.until_idle()
        with closing(self.service.open_store()) as store:
            states = {one.number: store.deliveries.find(one.guid).state for one in self.responses}  # type: ignore[union-attr]
        assert set(states.values()) == {"done"}, states
        assert_each_done_once(self.sandbox, sorted(states))
        return sum(one.guid in stored for one in rejected)


def guid_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"
