"""Recorded payloads by name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from hls_handler.events import REQUIRED_OBJECTS
from hls_handler.prompting import recorded
from hls_handler.prompting.recorded import DERIVED, PAYLOADS, UnknownPayload
from hls_handler.sandbox import derived


def test_all_329_recorded_payloads_of_58_events_are_listed() -> None:
    shipped = [recorded.load(name) for name in recorded.names() if name not in DERIVED]
    assert len(shipped) == 329
    assert len({one.event for one in shipped}) == 58


def test_names_are_numbered_within_event_and_action() -> None:
    assert [name for name in recorded.names() if name.startswith("issues.opened")] == [
        "issues.opened",
        "issues.opened.2",
        "issues.opened.3",
        "issues.opened.4",
    ]
    assert recorded.load("issues.opened.2").body == (PAYLOADS / "recorded/issues/17.opened.json").read_bytes()
    assert recorded.load("push.2").body == (PAYLOADS / "recorded/push/02.none.json").read_bytes()


def test_a_payload_has_its_event_and_action() -> None:
    issue, push, question = (recorded.load(name) for name in ("issues.opened", "push", "demo/question"))
    assert (issue.event, issue.action, issue.key) == ("issues", "opened", "issues.opened")
    assert (push.event, push.action, push.key) == ("push", None, "push")
    assert (question.event, question.action, question.key) == ("issues", "opened", "issues.opened")


def test_five_payloads_have_a_duplicate() -> None:
    bodies = [recorded.load(name).body for name in recorded.names() if name not in DERIVED]
    assert len(bodies) - len({hashlib.sha256(body).digest() for body in bodies}) == 5


def test_bodies_are_compact_as_github_sends_them() -> None:
    assert recorded.load("ping").body.startswith(b'{"zen":"')


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


@pytest.mark.parametrize(
    ("key", "count"),
    [
        ("issues.opened", 7),
        ("pull_request", 32),
        ("pull_request_review", 6),
        ("push", 8),
        ("issues.nonsense", 0),
        ("nothing", 0),
    ],
)
def test_payloads_of_an_event_are_found_with_or_without_action(key: str, count: int) -> None:
    found = recorded.for_event(key)
    assert len(found) == count
    assert all(one.key == key or one.event == key for one in found)


def detected_event(one: recorded.Recorded, file: Path) -> str | None:
    file.write_bytes(one.body)
    try:
        return recorded.from_file(file).event
    except UnknownPayload:
        return None


def test_the_event_of_a_file_is_detected_correctly_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    detected = {one.name: (detected_event(one, file), one.event) for one in map(recorded.load, recorded.names())}
    assert [name for name, (guess, event) in detected.items() if guess not in (None, event)] == []
    assert sum(guess is not None for guess, _ in detected.values()) == 212


def test_events_with_a_handler_are_detected(tmp_path: Path) -> None:
    for name in ("issues.opened", "pull_request.opened", "demo/feature-push"):
        own = tmp_path / "event.json"
        own.write_bytes(recorded.load(name).body)
        given = recorded.from_file(own)
        assert (given.event, given.action) == (recorded.load(name).event, recorded.load(name).action)
        assert given.name == str(own)


def test_a_given_event_is_not_detected(tmp_path: Path) -> None:
    own = tmp_path / "event.json"
    own.write_text("{}")
    assert recorded.from_file(own, "watch").event == "watch"


@pytest.mark.parametrize(
    ("content", "said"), [("[1]", "must be a JSON object"), ("{", "is not JSON"), ("{}", "name it with --event")]
)
def test_a_file_without_payload_is_rejected(tmp_path: Path, content: str, said: str) -> None:
    own = tmp_path / "event.json"
    own.write_text(content)
    with pytest.raises(UnknownPayload, match=said):
        recorded.from_file(own)


def test_a_missing_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UnknownPayload, match="cannot be read: No such file"):
        recorded.from_file(tmp_path / "none.json")


def test_a_unique_body_has_other_bytes_and_equal_json() -> None:
    body = recorded.load("issues.opened").body
    first, second = recorded.unique(body, b"\x00\x01"), recorded.unique(body, b"\x00\x02")
    assert len({body, first, second}) == 3
    assert json.loads(first) == json.loads(second) == json.loads(body)


def test_unique_bodies_are_random_by_default() -> None:
    assert recorded.unique(b"{}") != recorded.unique(b"{}")
    assert recorded.unique(b"{} \n", b"\x05") == b"{}     \t \t\n"


def test_making_a_body_unique_twice_does_not_change_its_size() -> None:
    once = recorded.unique(b"{}")
    assert len(recorded.unique(once)) == len(once)


def test_recorded_files_are_found_by_commit() -> None:
    payload = json.loads(recorded.load("demo/feature").body)
    files = derived.files_at(payload["pull_request"]["head"]["sha"])
    assert files is not None
    assert len(files) == payload["pull_request"]["changed_files"] == 8
    assert derived.files_at("0" * 40) is None
    assert derived.files_at("") is None


def test_recorded_review_comments_are_found_by_review_id() -> None:
    assert [comment["path"] for comment in derived.review_comments_of(2304417713)] == [
        "shop/checkout.py",
        "shop/discounts.py",
        "web/cart.js",
    ]
    assert derived.review_comments_of(2306120958) == ()


def test_every_derived_payload_is_in_the_order() -> None:
    folders = [path for path in (PAYLOADS / "derived").glob("*/*.json") if path.parent.name not in recorded.ANSWERS]
    assert sorted(DERIVED) == sorted(f"demo/{path.stem}" for path in folders)


def test_recorded_jobs_logs_releases_and_history_are_found_by_id() -> None:
    jobs = derived.jobs_of(19041222731, 1)
    assert jobs is not None
    assert [job["name"] for job in jobs] == ["pytest (3.11)", "eslint"]
    assert "FAILED tests/test_discounts.py::" in (derived.log_of(54110020701) or "")
    assert [release["tag_name"] for release in derived.releases_before(251840377)] == [
        "v4.1.0",
        "v4.2.0",
        "v4.3.0-rc.1",
    ]
    assert len(derived.history_of(251840377)) == 11
    assert (derived.jobs_of(1, 1), derived.log_of(1), derived.releases_before(1), derived.history_of(1)) == (
        None,
        None,
        (),
        (),
    )


def test_derived_payloads_are_in_chronological_order() -> None:
    assert recorded.names()[-len(DERIVED) :] == DERIVED
    assert [name for name in DERIVED if name not in recorded.STORY] == ["demo/news", "demo/hint", "demo/issue-closed"]
    assert {recorded.load(name).event for name in recorded.STORY} == {*REQUIRED_OBJECTS, "push"}
    assert [(one.key, one.name) for one in recorded.for_event("pull_request_review.submitted")[-2:]] == [
        ("pull_request_review.submitted", "demo/review"),
        ("pull_request_review.submitted", "demo/review-approved"),
    ]


def test_the_licence_of_the_payloads_is_included() -> None:
    assert "MIT License" in (PAYLOADS / "LICENSE").read_text()
    assert "329 example payloads of 58 events" in (PAYLOADS / "README.md").read_text()


def test_event_that_was_not_recorded_has_a_derived_payload_of_its_key() -> None:
    closed = recorded.load("issues.closed")
    assert (closed.name, closed.key, closed.payload["issue"]["state"]) == (
        "demo/issue-closed",
        "issues.closed",
        "closed",
    )
    with pytest.raises(UnknownPayload, match=r"no recorded payload is called 'issues\.closd'"):
        recorded.load("issues.closd")
