"""The log line `operator`."""

from __future__ import annotations

import io
import json
import logging

import pytest

from hls_handler import logs
from hls_handler.logs import MAX_OBJECTS, log_act

SECRET = "webhook-secret-marker"
TOKEN = f"ghp_{'a1B2' * 9}"

pytestmark = pytest.mark.usefixtures("logging_as_before")


def test_line_has_who_what_how_many_why_and_ids() -> None:
    stream = io.StringIO()
    logs.configure("INFO", "json", stream, [])
    log_act("mona", "discard", ["g1", "g2"], number=2, reason="a duplicate")
    line = json.loads(stream.getvalue())
    del line["timestamp"]
    assert line == {
        "level": "INFO",
        "logger": "hls_handler.operators",
        "message": "operator",
        "person": "mona",
        "act": "discard",
        "number": 2,
        "reason": "a duplicate",
        "objects": ["g1", "g2"],
    }


def test_line_names_at_most_a_hundred_objects(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    guids = [f"g{number}" for number in range(150)]
    log_act("mona", "retry", guids, number=len(guids))
    (record,) = caplog.records
    assert vars(record)["number"] == 150
    assert vars(record)["objects"] == guids[:MAX_OBJECTS] == guids[:100]


@pytest.mark.parametrize("layout", ["json", "text"])
def test_rule_19_secrets_and_control_characters_of_people_are_removed(
    layout: logs.LogLayout,
) -> None:
    stream = io.StringIO()
    logs.configure("INFO", layout, stream, [SECRET])
    log_act("mo\x1b[31mna", "discard", [f"x{SECRET}"], reason=f"{TOKEN}\n\u202e{SECRET}")
    text = stream.getvalue()
    assert not any(secret in text for secret in (SECRET, TOKEN, "\x1b", "\u202e"))
    assert text.count("\n") == 1
