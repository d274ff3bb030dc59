"""The ring buffer of the newest log lines."""

from __future__ import annotations

import io
import json
import logging
from typing import Any, Literal

import pytest

from hls_handler import logs
from hls_handler.logs import MAX_LINES, LogRing

pytestmark = pytest.mark.usefixtures("logging_as_before")


def line(message: str = "m", level: str = "INFO", **fields: object) -> str:
    fixed = {
        "timestamp": "2026-11-20T12:00:00.123Z",
        "level": level,
        "logger": "work",
        "message": message,
    }
    return json.dumps(fixed | fields)


def ring_of(*lines: str) -> LogRing:
    ring = LogRing()
    for text in lines:
        ring.add(text)
    return ring


def messages(ring: LogRing, *, limit: int = 100, **wanted: Any) -> list[str]:
    return [found["message"] for found in ring.find(limit=limit, **wanted)]


def test_log_of_a_delivery_has_no_lines_that_other_people_can_cause() -> None:
    ring = ring_of(
        line("webhook received", delivery="g-1", decision="queued"),
        line("by a forged header of an unsigned request", delivery="g-1", decision="rejected"),
        line("by a request id", request_id="g-1"),
        line("by a text", repository='x", "delivery": "g-1"', reason='"delivery": "g-1"'),
        line("of another one", delivery="g-10"),
        line("delivery finished", delivery="g-1", reason='"decision": "rejected"'),
    )
    assert messages(ring, delivery="g-1") == ["delivery finished", "webhook received"]


@pytest.mark.parametrize("layout", ["json", "text"])
def test_every_line_of_the_log_is_in_the_ring_without_secrets(
    layout: Literal["json", "text"],
) -> None:
    ring, stream = LogRing(), io.StringIO()
    logs.configure("INFO", layout, stream, ["marker-of-a-secret"], ring=ring)
    log = logging.getLogger("hls_handler.engine")
    with logs.log_context(delivery="g-1"):
        log.info(
            "has marker-of-a-secret and ghp_%s", "a1B2" * 9, extra={"state": "done", "took_s": 1.5}
        )
        log.info("webhook received", extra={"event": "marker-of-a-secret"})
    log.debug("below the level")
    second, first = ring.find(limit=9)
    assert {**first, "timestamp": ""} == {
        "timestamp": "",
        "level": "INFO",
        "logger": "hls_handler.engine",
        "message": "has *** and [redacted: github-token]",
        "delivery": "g-1",
        "state": "done",
        "took_s": 1.5,
    }
    assert (second["message"], second["delivery"], second["event"]) == (
        "webhook received",
        "g-1",
        "***",
    )
    assert len(stream.getvalue().splitlines()) == 2


def test_only_the_newest_lines_are_kept() -> None:
    ring = ring_of(*(line(str(number)) for number in range(MAX_LINES + 10)))
    found = messages(ring, limit=MAX_LINES + 10)
    assert (found[0], found[-1], len(found)) == ("5009", "10", 5_000)
    assert messages(ring, limit=1) == ["5009"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"level": "WARNING"}, ["crash", "Bäd"]),
        ({"id": "g-1"}, ["Bäd", "received"]),
        ({"id": "g-"}, []),
        ({"repository": "octo/Widgets"}, ["Bäd"]),
        ({"text": "BäD"}, ["Bäd"]),
        ({"text": 'a "quoted\\ '}, ["crash"]),
        ({"level": "WARNING", "id": "g-1", "repository": "octo/widgets", "text": "b"}, ["Bäd"]),
    ],
)
def test_filters(wanted: dict[str, Any], found: list[str]) -> None:
    ring = ring_of(
        line("received", delivery="g-1", request_id="r-1"),
        line("Bäd", "WARNING", delivery="g-1", repository="octo/widgets"),
        line("crash", "CRITICAL", reason='": "g-1" "level": "INFO", a "quoted\\ text'),
    )
    assert messages(ring, **wanted) == found
