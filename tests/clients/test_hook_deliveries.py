"""The payload of one attempt to deliver a webhook, over real HTTP."""

from __future__ import annotations

import pytest

from hls_handler.clients.api import GithubApi
from hls_handler.clients.hooks import GithubHooks
from hls_handler.errors import DependencyDown, PayloadError
from tests.clients.fake_github import FakeGithub, Fault

HOOK = "/repos/o/r/hooks/1"
PATH = f"{HOOK}/deliveries/5"


def find_payload(api: GithubApi, github: FakeGithub, body: bytes, status: int = 200) -> bytes | None:
    github.faults = [Fault("GET", PATH, status=status, body=body)]
    return GithubHooks(api).find_payload(HOOK, 5)


@pytest.mark.parametrize("payload", [b'{"x": 1e400}', b'{"x": %s}' % (b"9" * 5000), b'"text"', '{"x": "é"}'.encode()])
def test_payload_is_returned_as_github_sent_it(api: GithubApi, github: FakeGithub, payload: bytes) -> None:
    assert find_payload(api, github, b'{"id": 5, "request": {"headers": {}, "payload": %s}}' % payload) == payload


def test_payload_that_github_does_not_keep_is_none(api: GithubApi, github: FakeGithub) -> None:
    assert find_payload(api, github, b'{"request": {"payload": null}}') is None
    assert find_payload(api, github, b'{"message": "Not Found"}', status=404) is None


@pytest.mark.parametrize(
    "payload",
    [b'{"x": "\\ud800"}', b"[" * 1_000_000 + b"]" * 1_000_000, b'{"x": NaN}'],
    ids=["surrogate", "depth", "NaN"],
)
def test_rule_5_payload_that_is_no_valid_json_is_rejected(api: GithubApi, github: FakeGithub, payload: bytes) -> None:
    with pytest.raises(PayloadError):
        find_payload(api, github, b'{"request": {"payload": %s}}' % payload)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (502, b"<html>Bad Gateway</html>"),
        (200, b'{"request": {"payload": {"action": "ope'),
        (200, b'{"id": 5}'),
        (403, b"<html>blocked</html>"),
    ],
)
def test_unexpected_response_concerns_only_this_delivery(
    api: GithubApi, github: FakeGithub, status: int, body: bytes
) -> None:
    with pytest.raises(DependencyDown, match=rf"^GET {PATH}: ") as caught:
        find_payload(api, github, body, status)
    assert not caught.value.applies_to_all_calls


def test_rejected_token_and_rate_limit_concern_all_requests(api: GithubApi, github: FakeGithub) -> None:
    for status in (401, 429):
        with pytest.raises(DependencyDown) as caught:
            find_payload(api, github, b'{"message": "no"}', status)
        assert caught.value.applies_to_all_calls
