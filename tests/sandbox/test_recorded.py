"""Recorded payloads by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.events import HANDLED_EVENTS
from hls_handler.prompting import recorded
from hls_handler.prompting.recorded import DERIVED, UnknownPayload


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("issue.opened", "did you mean issues.opened"),
        ("demo/questions", "did you mean demo/question"),
        ("zzzzzz", "names look like issues.opened, push or demo/bug"),
    ],
)
def test_an_unknown_name_is_rejected_with_the_nearest_name(name: str, hint: str) -> None:
    with pytest.raises(UnknownPayload, match=hint):
        recorded.load(name)


def test_the_event_of_a_file_is_detected_correctly_or_not_at_all(tmp_path: Path) -> None:
    def detected_event(one: recorded.Recorded, file: Path) -> str | None:
        file.write_bytes(one.body)
        try:
            return recorded.from_file(file).event
        except UnknownPayload:
            return None

    file = tmp_path / "event.json"
    detected = {
        one.name: (detected_event(one, file), one.event)
        for one in map(recorded.load, recorded.names())
    }
    assert [name for name, (guess, event) in detected.items() if guess not in (None, event)] == []
    assert sum(guess is not None for guess, _ in detected.values()) == 149


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1]", "must be a JSON object"),
        ("{", "is not JSON"),
        ("[" * 200_000, "too deeply"),
        ("{}", "name it with"),
    ],
    ids=["list", "not JSON", "deep", "no event"],
)
def test_a_file_without_payload_is_rejected(tmp_path: Path, content: str, said: str) -> None:
    own = tmp_path / "event.json"
    own.write_text(content)
    with pytest.raises(UnknownPayload, match=said):
        recorded.from_file(own)


def test_derived_payloads_are_in_chronological_order() -> None:
    assert recorded.names()[-len(DERIVED) :] == DERIVED
    assert [name for name in DERIVED if name not in recorded.STORY] == [
        "demo/news",
        "demo/hint",
        "demo/issue-closed",
    ]
    assert {recorded.load(name).event for name in recorded.STORY} == {*HANDLED_EVENTS, "push"} - {
        "check_run"
    }
    assert [
        (one.key, one.name) for one in recorded.for_event("pull_request_review.submitted")[-2:]
    ] == [
        ("pull_request_review.submitted", "demo/review"),
        ("pull_request_review.submitted", "demo/review-approved"),
    ]
