"""What is taken for an event, and what is not."""

from __future__ import annotations

import json

import pytest

from hls_handler.errors import PayloadError
from hls_handler.events import REPOSITORY_NAME, Account, parse_event, sip


@pytest.mark.parametrize("name", ["owner/repo", "Some-One_x/.github", "o/..a", "o/...", "o/a.b-c_d"])
def test_a_repository_is_named_by_owner_and_name(name: str) -> None:
    assert REPOSITORY_NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "owner",
        "owner/",
        "/repo",
        "owner/.",
        "owner/..",
        "./repo",
        "../repo",
        "owner/./repo",
        "owner/../other/repo",
        "owner/repo/",
        "owner/repo\n",
        "owner/..\n",
        "owner/repo?x=1",
        "owner/repo#x",
        "owner/%2e%2e",
        "owner/a b",
        "owner\\repo",
        "owner/rep\u00f3",
    ],
)
def test_rule_13_an_event_of_a_repository_with_another_shape_of_name_is_refused(name: str) -> None:
    body = json.dumps({"repository": {"id": 1, "full_name": name}, "sender": {"id": 1, "login": "octocat"}})
    with pytest.raises(PayloadError) as refused:
        parse_event("push", "guid", body.encode())
    sentence = "the payload does not fit push: repository.full_name: Value error, it is not owner/repo"
    assert str(refused.value) == sentence


REPOSITORY = {"id": 1, "full_name": "octo/widgets"}


def test_a_deleted_account_that_sent_an_event_is_the_ghost_to_both_parsers() -> None:
    body = json.dumps({"repository": REPOSITORY, "sender": None}).encode()
    assert sip(body).sender is None
    assert parse_event("push", "guid", body).sender == Account(login="ghost", id=10137, type="User")


@pytest.mark.parametrize(
    ("event", "named_by"), [("issues", "issue"), ("pull_request", "pull_request")], ids=["issue", "pull request"]
)
def test_a_thread_whose_labels_are_null_has_none_to_both_parsers(event: str, named_by: str) -> None:
    ends = {"head": {"sha": "1f0c"}, "base": {"sha": "2e1b"}}
    thread = {"number": 7, "title": "Help", "labels": None, **(ends if event == "pull_request" else {})}
    body = json.dumps({"repository": REPOSITORY, named_by: thread}).encode()
    sipped, parsed = sip(body).thread, parse_event(event, "guid", body).thread
    assert sipped is not None
    assert sipped.labels is None
    assert parsed is not None
    assert parsed.labels == ()
