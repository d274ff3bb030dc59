"""What is taken for an event, and what is not."""

from __future__ import annotations

import json

import pytest

from hls_handler.errors import PayloadError
from hls_handler.events import REPOSITORY_NAME, parse_event


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
