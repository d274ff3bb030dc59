"""One call to GitHub over real HTTP, and the payload of one attempt to deliver a webhook."""

from __future__ import annotations

import gzip
import socket
import traceback
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from hls_handler.clients.api import GithubApi, RateLimit, RateLimitMonitor, WriteGuard
from hls_handler.clients.hooks import GithubHooks
from hls_handler.errors import DependencyDown, HlsError, LeaseLost, PayloadError, Permanent, Retryable
from tests.clients.conftest import NOON, github_settings
from tests.clients.fake_github import TOKEN, FakeGithub, Fault

ISSUE = "/repos/o/r/issues/7"
FILES = "/repos/o/r/pulls/7/files"
UNGUARDED = WriteGuard(lambda: None, lambda: None)


def test_request_has_token_api_version_and_user_agent(api: GithubApi, github: FakeGithub) -> None:
    github.documents[ISSUE] = {"number": 7}
    assert api.get(ISSUE, object) == {"number": 7}
    headers = github.seen[0].headers
    assert headers["authorization"] == f"token {TOKEN}"
    assert headers["x-github-api-version"] == "2022-11-28"
    assert headers["user-agent"].startswith("hls/")


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", ISSUE, "drop"),
        Fault("GET", ISSUE, status=502, body=b"<html>Bad Gateway</html>"),
        Fault("GET", ISSUE, status=200, body=b"<html>please log in</html>"),
        Fault("GET", ISSUE, status=200, body=b"[" * 100_000),
        Fault("GET", ISSUE, status=202, body={}),
        Fault("GET", ISSUE, status=302, headers={"Location": "http://elsewhere.example/"}),
    ],
    ids=lambda fault: f"{fault.kind} {fault.status} {str(fault.body)[:12]} {fault.headers}",
)
def test_failure_of_github_sends_one_request_and_raises_dependency_down(
    api: GithubApi, github: FakeGithub, fault: Fault
) -> None:
    github.faults = [fault]
    with pytest.raises(DependencyDown, match=r"^GET /repos/o/r/issues/7: ") as caught:
        api.get(ISSUE, object)
    assert caught.value.dependency == "github"
    assert github.calls == [f"GET {ISSUE}"]


def test_connection_is_used_again_after_an_error_response(api: GithubApi, github: FakeGithub) -> None:
    body = gzip.compress(b'{"message": "Validation Failed"}')
    github.faults = [Fault("GET", ISSUE, status=422, body=body, headers={"Content-Encoding": "gzip"})]
    github.documents[ISSUE] = {"number": 7}
    with pytest.raises(Retryable, match="Validation Failed"):
        api.get(ISSUE, object)
    assert api.get(ISSUE, object) == {"number": 7}
    assert github.connections == 1


@pytest.mark.parametrize(("verb", "waits_s"), [("GET", None), ("POST", 60)])
def test_write_that_timed_out_is_not_retried_before_it_must_have_ended(
    github: FakeGithub, meter: RateLimitMonitor, verb: Any, waits_s: int | None
) -> None:
    api = GithubApi(github_settings(github.base_url), observe=meter.observe, now=lambda: NOON, timeout_s=0.05)
    github.faults = [Fault(verb, ISSUE, "hang")]
    ask = partial(api.get, ISSUE, object) if verb == "GET" else partial(api.write, verb, ISSUE, {}, guard=UNGUARDED)
    with pytest.raises(DependencyDown) as caught:
        ask()
    assert caught.value.not_before == (None if waits_s is None else NOON + timedelta(seconds=waits_s))
    assert not caught.value.applies_to_all_calls
    assert caught.value.may_have_succeeded == (verb != "GET")
    api.close()


def test_maybe_done_is_false_for_a_write_that_was_never_sent(meter: RateLimitMonitor) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    api = GithubApi(github_settings(url), observe=meter.observe, now=lambda: NOON)
    with pytest.raises(DependencyDown, match=rf"^POST {ISSUE}: no answer: Connection refused$") as caught:
        api.write("POST", ISSUE, {}, guard=UNGUARDED)
    assert not caught.value.may_have_succeeded
    api.close()


@pytest.mark.parametrize(
    ("status", "may_have_succeeded"),
    [(422, False), (429, False), (502, True), (202, True)],
)
def test_maybe_done_is_true_after_a_response_of_a_gateway(
    api: GithubApi, github: FakeGithub, status: int, may_have_succeeded: bool
) -> None:
    github.faults = [Fault("POST", ISSUE, status=status, body={"message": "No"})]
    with pytest.raises(Retryable) as caught:
        api.write("POST", ISSUE, {}, guard=UNGUARDED)
    assert getattr(caught.value, "may_have_succeeded", False) == may_have_succeeded


def test_redirect_to_a_moved_resource_is_not_followed(api: GithubApi, github: FakeGithub) -> None:
    moved = {"Location": f"{github.base_url}/repositories/5/issues/7"}
    github.faults = [Fault("GET", ISSUE, status=301, headers=moved), Fault("PATCH", ISSUE, status=307, headers=moved)]
    with pytest.raises(
        Permanent, match="the repository or issue was moved; if it has a new name, update `repositories`"
    ):
        api.get(ISSUE, object)
    with pytest.raises(Permanent, match=r"^PATCH /repos/o/r/issues/7: 307 "):
        api.write("PATCH", ISSUE, {}, guard=UNGUARDED)
    assert github.calls == [f"GET {ISSUE}", f"PATCH {ISSUE}"]


def test_find_distinguishes_404_of_github_from_404_of_a_proxy(api: GithubApi, github: FakeGithub) -> None:
    assert api.find("/repos/o/r/labels/nope", object) is None
    for page in (b"a proxy's page", {"error": "no route"}):
        github.faults = [Fault("GET", ISSUE, status=404, body=page)]
        with pytest.raises(DependencyDown, match="404 Not Found: not a response of GitHub's API"):
            api.find(ISSUE, object)


@pytest.mark.parametrize(
    ("items", "links", "requests"),
    [(99, True, 1), (100, True, 2), (200, True, 2), (101, False, 2)],
)
def test_a_list_is_read_to_its_end(api: GithubApi, github: FakeGithub, items: int, links: bool, requests: int) -> None:
    github.documents[FILES], github.links = list(range(items)), links
    pages = api.pages(FILES, tuple[int, ...], max_pages=9)
    assert [number for page in pages for number in page] == list(range(items))
    assert [seen.query for seen in github.seen] == [{"per_page": "100", "page": str(n + 1)} for n in range(requests)]


def test_a_short_page_is_not_the_last_while_github_links_to_another(api: GithubApi, github: FakeGithub) -> None:
    github.faults = [
        Fault("GET", FILES, status=200, body=[1], headers={"Link": '<x?page=2>; rel="next"'}),
        Fault("GET", FILES, status=200, body=[2], headers={"Link": '<x?page=1>; rel="prev"'}),
    ]
    assert list(api.pages(FILES, tuple[int, ...], max_pages=9)) == [(1,), (2,)]


def test_list_is_read_up_to_the_page_limit(api: GithubApi, github: FakeGithub) -> None:
    github.documents[FILES] = list(range(500))
    assert len(list(api.pages(FILES, tuple[int, ...], max_pages=2))) == 2
    assert len(github.seen) == 2


def test_quota_is_read_from_every_response_and_every_request_is_counted(
    api: GithubApi, github: FakeGithub, meter: RateLimitMonitor
) -> None:
    assert meter.rate_limit == RateLimit(None, None, None)
    github.headers = {
        "X-RateLimit-Limit": "5000",
        "X-RateLimit-Remaining": "4990",
        "X-RateLimit-Reset": "1795176000",
    }
    api.get(ISSUE, object)
    expected = RateLimit(5000, 4990, datetime(2026, 11, 20, 12, 0, tzinfo=UTC))
    assert (meter.take_request_count(), meter.rate_limit) == (1, expected)
    github.faults = [Fault("GET", ISSUE, "drop"), Fault("GET", ISSUE, status=500)]
    for _ in range(2):
        with pytest.raises(DependencyDown):
            api.get(ISSUE, object)
    assert (meter.take_request_count(), meter.rate_limit) == (2, expected)
    github.headers |= {"X-RateLimit-Reset": "9e30"}
    api.get(ISSUE, object)
    assert meter.rate_limit == RateLimit(5000, 4990, None)


def everything_shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", ISSUE, status=401, body={"message": f"Bad credentials {TOKEN}"}),
        Fault("GET", ISSUE, status=200, body=f'{{"{TOKEN}'.encode()),
        Fault("GET", ISSUE, "drop"),
    ],
)
def test_no_error_shows_the_token(api: GithubApi, github: FakeGithub, fault: Fault) -> None:
    github.faults = [fault]
    with pytest.raises(HlsError) as caught:
        api.get(ISSUE, object)
    assert TOKEN not in everything_shown(caught.value)


class LeaseCheck:
    """Counts its calls, and raises from the n-th call on."""

    def __init__(self, *, fail_from: int | None = None) -> None:
        self.calls, self._fail_from = 0, fail_from

    def __call__(self) -> None:
        self.calls += 1
        if self._fail_from is not None and self.calls >= self._fail_from:
            raise LeaseLost("the lease is lost")


@pytest.mark.parametrize("fail_from", [1, 2], ids=["before the head", "between head and body"])
def test_write_after_a_lost_lease_never_reaches_github(api: GithubApi, github: FakeGithub, fail_from: int) -> None:
    github.documents[ISSUE] = {"number": 7}
    api.get(ISSUE, object)
    with pytest.raises(LeaseLost, match="the lease is lost"):
        api.write(
            "POST",
            f"{ISSUE}/labels",
            {"labels": ["bug"]},
            guard=WriteGuard(lambda: None, LeaseCheck(fail_from=fail_from)),
        )
    assert github.calls == [f"GET {ISSUE}"]
    assert api.get(ISSUE, object) == {"number": 7}  # the client is still usable


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
