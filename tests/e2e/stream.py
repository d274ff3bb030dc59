"""A stream of signed webhooks against the service: who was told what, when, and whether it is true."""

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
class Told:
    """What the service answered to one delivery; status 0 where it did not answer."""

    number: int
    guid: str
    status: int
    retry_after: str | None
    took_s: float


@dataclass
class Stream:
    """Sends issues, each another one, from several connections at once, and keeps what was answered."""

    service: Service
    sandbox: Sandbox
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1000))
    told: list[Told] = field(default_factory=list)
    looked_at: int = 0
    filling_bytes: int = 0  # more in each body, which cannot be packed much
    _ended: threading.Event = field(default_factory=threading.Event)

    def of(self, status: int) -> list[Told]:
        return [told for told in list(self.told) if told.status == status]

    @contextmanager
    def flowing(self) -> Iterator[Stream]:
        self._ended.clear()
        threads = [threading.Thread(target=self._send_on, name=f"sender-{n}") for n in range(SENDERS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            for thread in threads:
                thread.join(timeout=60)

    def until_more(self, status: int, *, more: int = 3, within_s: float = 30) -> None:
        """Wait until so many more were answered so."""
        enough = len(self.of(status)) + more
        waiting = Waiting(within_s)
        while len(self.of(status)) < enough:
            assert waiting.more(), (
                f"no {more} more of {status}: {self.told[-10:]}\n{self.service.log.read_text()[-3000:]}"
            )

    def send(self) -> Told:
        number = next(self.numbers)
        body = self._issue(number)
        self.sandbox.state.seed("issues", json.loads(body))
        told = self._deliver(number, body)
        self.told.append(told)
        return told

    def _deliver(self, number: int, body: bytes) -> Told:
        started, guid = time.monotonic(), guid_of(number)
        try:
            answer = self.service.deliver("issues", body, guid=guid)
        except (OSError, http.client.HTTPException):
            return Told(number, guid, 0, None, time.monotonic() - started)
        return Told(number, guid, answer.status, answer.headers.get("retry-after"), time.monotonic() - started)

    def _issue(self, number: int) -> bytes:
        body = small_issue(number)
        filling = random.Random(number).randbytes(self.filling_bytes // 2).hex()
        return b'{"filling": "%s", %s' % (filling.encode(), body.lstrip(b"{ ")) if filling else body

    def _send_on(self) -> None:
        while not self._ended.wait(PAUSE_S):
            self.send()

    def assert_true(self) -> int:
        """What was answered 202 has its row; the rest is sent again, as an operator does, and then all is done once.

        How many of those were stored all the same: each is a duplicate.
        """
        self.service.until_idle()
        with closing(self.service.open_store()) as store:
            without = [told for told in self.of(202) if store.deliveries.find(told.guid) is None]
            stored = {told.guid for told in self.told if store.deliveries.find(told.guid) is not None}
        assert without == []
        refused = [told for told in self.told[self.looked_at :] if told.status != 202]
        self.looked_at = len(self.told)
        assert {told.status for told in refused} <= {503}
        assert {told.retry_after for told in refused} <= {"30"}
        assert max(told.took_s for told in self.told) < 9
        for told in refused:
            answer = self.service.deliver("issues", self._issue(told.number), guid=told.guid)
            assert answer.body["status"] == ("duplicate" if told.guid in stored else "queued"), answer
        self.service.until_idle()
        with closing(self.service.open_store()) as store:
            states = {told.number: store.deliveries.find(told.guid).state for told in self.told}  # type: ignore[union-attr]
        assert set(states.values()) == {"done"}, states
        assert_each_done_once(self.sandbox, sorted(states))
        return sum(told.guid in stored for told in refused)


def guid_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"
