"""One call to GitHub over real HTTP, and the payload of one attempt to deliver a webhook."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import traceback
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from hls_handler.errors import (
    DependencyDown,
    HlsError,
    LeaseLost,
    PayloadError,
    Permanent,
    Retryable,
)
from hls_handler.github.api import GithubApi, RateLimit, RateLimitMonitor, WriteGuard, rest
from hls_handler.github.hooks import GithubHooks
from hls_handler.github.labels import RepositoryLabels
from hls_handler.github.reader import GithubReader
from tests.fake_server import FakeServer, Say
from tests.github.review_world import NOON, TOKEN, github_settings

ISSUE = "/repos/o/r/issues/7"
FILES = "/repos/o/r/pulls/7/files"
PAGE = b"<html>please log in</html>"


def read(api: GithubApi, path: str = ISSUE) -> object:
    return api.read(rest("GET", path, object))


def write(api: GithubApi, check_lease: Callable[[], None] = lambda: None) -> None:
    request = rest("POST", ISSUE, object, body={"labels": ["bug"]})
    api.with_guard(WriteGuard(lambda: None, check_lease)).write(request)


@pytest.mark.parametrize(
    "say",
    [
        Say(kind="drop"),
        Say(502, b"<html>Bad Gateway</html>"),
        Say(200, b"[" * 100_000),
        Say(202, {}),
    ],
    ids=lambda say: f"{say.kind} {say.status} {str(say.body)[:12]}",
)
def test_failure_of_github_sends_one_request_and_raises_dependency_down(
    api: GithubApi, server: FakeServer, say: Say
) -> None:
    server.says = [say]
    with pytest.raises(DependencyDown, match=r"^GET /repos/o/r/issues/7: ") as caught:
        read(api)
    assert caught.value.dependency == "github"
    assert server.calls == [f"GET {ISSUE}"]


def test_path_is_sent_as_it_is(api: GithubApi, server: FakeServer) -> None:
    server.says = [Say(200, {})]
    read(api, "/repos/o/r/labels/../a/.")
    assert server.calls == ["GET /repos/o/r/labels/../a/."]


def test_page_of_the_longest_comments_is_read(api: GithubApi, server: FakeServer) -> None:
    comments = [{"body": "\N{PARTY POPPER}" * 65_536}] * 100
    body = json.dumps(comments, ensure_ascii=False).encode()
    assert len(body) > 26_000_000
    server.says = [Say(200, gzip.compress(body, 1), {"Content-Encoding": "gzip"})]
    request = rest("GET", f"{ISSUE}/comments", list[dict[str, str]])
    assert api.read(request) == comments
    assert server.seen[0].headers["accept-encoding"] == "gzip, deflate"


def test_response_over_the_limit_is_not_read_to_its_end(api: GithubApi, server: FakeServer) -> None:
    body = gzip.compress(b'{"body": "' + b"x" * 70_000_000 + b'"}')
    assert len(body) < 100_000
    server.says = [Say(200, body, {"Content-Encoding": "gzip"}), Say(200, {})]
    with pytest.raises(Retryable) as caught:
        read(api)
    assert str(caught.value) == f"GET {ISSUE}: the response is larger than 64 MB"
    read(api)  # on a new connection
    assert server.calls == [f"GET {ISSUE}"] * 2


def test_body_of_an_error_is_not_read_to_its_end(api: GithubApi, server: FakeServer) -> None:
    server.says = [Say(502, b" " * 1_000_000), Say(200, {})]
    with pytest.raises(DependencyDown):
        read(api)
    read(api)
    assert server.connections == 2  # the first was closed


@pytest.mark.parametrize(
    "say",
    [
        Say(302, PAGE, {"Location": "/login?return_to=%2Fuser"}),
        Say(302, PAGE, {"Location": "https://login.example.com/"}),
        Say(301, {"message": "Moved Permanently"}, {"Location": "https://login.example.com/"}),
        Say(406, PAGE),
        Say(404, PAGE),
        Say(200, PAGE),
    ],
    ids=lambda say: f"{say.status} {say.headers.get('Location', '')}",
)
def test_answer_that_is_not_of_the_api_names_the_address_of_enterprise_server(
    api: GithubApi, server: FakeServer, say: Say
) -> None:
    server.says = [say]
    with pytest.raises(DependencyDown) as caught:
        read(api, "/user")
    assert caught.value.remedy == (
        "check github.base_url (Enterprise Server: https://HOST/api/v3), and proxies and firewalls"
        " between this host and GitHub"
    )
    assert "login" not in str(caught.value)
    assert server.calls == ["GET /user"]


@pytest.mark.parametrize("kind", ["hang", "drip", "drip_headers"])
@pytest.mark.parametrize(("is_write", "waits_s"), [(False, None), (True, 60)])
def test_request_ends_at_its_limit_also_while_bytes_arrive(
    server: FakeServer,
    kind: Literal["hang", "drip", "drip_headers"],
    is_write: bool,
    waits_s: int | None,
) -> None:
    server.says = [Say(body={"text": "x" * 1000}, kind=kind)]
    with (
        closing(GithubApi(github_settings(server.url), now=lambda: NOON, timeout_s=0.3)) as api,
        pytest.raises(DependencyDown) as caught,
    ):
        write(api) if is_write else read(api)
    # A write is not repeated before it must have ended.
    assert caught.value.not_before == (
        None if waits_s is None else NOON + timedelta(seconds=waits_s)
    )
    assert not caught.value.applies_to_all_calls
    assert caught.value.may_have_succeeded == is_write


def test_write_that_was_never_sent_cannot_have_succeeded() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with (
        closing(GithubApi(github_settings(url), now=lambda: NOON)) as api,
        pytest.raises(
            DependencyDown, match=rf"^POST {ISSUE}: no answer: Connection refused$"
        ) as caught,
    ):
        write(api)
    assert not caught.value.may_have_succeeded


@pytest.mark.parametrize(
    ("status", "may_have_succeeded"),
    [(422, False), (429, False), (502, True), (202, True)],
)
def test_write_may_have_succeeded_after_a_response_of_a_gateway(
    api: GithubApi, server: FakeServer, status: int, may_have_succeeded: bool
) -> None:
    server.says = [Say(status, {"message": "No"})]
    with pytest.raises(Retryable) as caught:
        write(api)
    assert getattr(caught.value, "may_have_succeeded", False) == may_have_succeeded


def test_interim_response_is_not_taken_for_the_response(api: GithubApi, server: FakeServer) -> None:
    response = b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"id": 5}'
    server.says = [Say(103, response)]
    assert read(api) == {"id": 5, "url": ISSUE}  # the URL is PyGithub's


CHUNKED = {"Transfer-Encoding": "chunked"}


@pytest.mark.parametrize("is_write", [False, True], ids=["read", "write"])
@pytest.mark.parametrize(
    "say",
    [
        Say(201, b""),
        Say(201, b'{"id": 5'),
        Say(201, {"id": 5}, kind="cut"),
        Say(201, {"id": 5}, kind="reset"),
        Say(201, {"id": 5}, {"Content-Length": "5"}),
        Say(201, {"id": 5}, {"Content-Length": "9" * 15}, kind="cut"),
        Say(201, {"id": 5}, {"Content-Length": "9" * 30}, kind="cut"),
        Say(201, b'9\r\n{"id": 5}\r\n0\r\n\r\n', CHUNKED, kind="cut"),
        Say(201, b'9\r\n{"id": 5}\r\n0\r\n\r\n', CHUNKED, kind="reset"),
        Say(201, b'9\r\n{"id": 5}\r\n' + b"0" * 14, CHUNKED, kind="cut"),
        Say(201, b'8\r\n{"id": 5}\r\n0\r\n\r\n', CHUNKED),
        Say(201, b'x\r\n{"id": 5}\r\n0\r\n\r\n', CHUNKED),
        Say(201, b'-5\r\n{"id": 5}\r\n0\r\n\r\n', CHUNKED),
        Say(201, b"f" * 12 + b'\r\n{"id": 5, "text": "x"}', CHUNKED, kind="cut"),
        Say(201, b"f" * 20 + b'\r\n{"id": 5, "text": "xxxxxxxxxx"}', CHUNKED, kind="cut"),
    ],
    ids=lambda say: f"{say.kind} {str(say.body)[:30]} {[*say.headers.values()]}",
)
def test_write_may_have_succeeded_after_a_success_with_an_incomplete_body(
    api: GithubApi, server: FakeServer, say: Say, is_write: bool
) -> None:
    server.says = [say]
    with pytest.raises(DependencyDown) as caught:
        write(api) if is_write else read(api)
    assert caught.value.may_have_succeeded == is_write
    assert len(server.calls) == 1


def test_redirect_to_a_moved_resource_is_not_followed(api: GithubApi, server: FakeServer) -> None:
    moved = {"Location": f"{server.url}/repositories/5/issues/7"}
    body = {"message": "Moved Permanently", "url": moved["Location"]}
    server.says = [Say(301, body, moved), Say(307, body, moved)]
    with pytest.raises(Permanent, match="was moved; if it has a new name, update `repositories`"):
        read(api)
    with pytest.raises(Permanent, match=r"^POST /repos/o/r/issues/7: 307 "):
        write(api)
    assert server.calls == [f"GET {ISSUE}", f"POST {ISSUE}"]


@pytest.mark.parametrize(
    ("pages", "links"),
    [
        ([100], [None]),
        ([100, 100], ["next", "first"]),
        ([1, 2], ["next", "prev"]),  # a short page is not the last while GitHub links to another
    ],
)
def test_a_list_is_read_to_its_end(
    api: GithubApi, server: FakeServer, pages: list[int], links: list[str | None]
) -> None:
    headers = [{"Link": f'<x?page=2>; rel="{link}"'} if link else {} for link in links]
    server.says = [
        Say(body=[7] * size, headers=one) for size, one in zip(pages, headers, strict=True)
    ]
    files = [file for page in api.pages(FILES, list[int], max_pages=9) for file in page]
    assert len(files) == sum(pages)
    assert [seen.query.get("page", "1") for seen in server.seen] == [
        str(n + 1) for n in range(len(pages))
    ]


def test_quota_is_read_from_every_response_and_every_request_is_counted(
    api: GithubApi, server: FakeServer, meter: RateLimitMonitor
) -> None:
    quota = {
        "X-RateLimit-Limit": "5000",
        "X-RateLimit-Remaining": "4990",
        "X-RateLimit-Reset": "1795176000",
    }
    server.says = [
        Say(body={}, headers=quota),
        Say(kind="drop"),
        Say(500),
        Say(body={}, headers={**quota, "X-RateLimit-Reset": "9e30"}),
    ]
    assert meter.rate_limit == RateLimit(None, None, None)
    read(api)
    expected = RateLimit(5000, 4990, datetime(2026, 11, 20, 12, 0, tzinfo=UTC))
    assert (meter.take_request_count(), meter.rate_limit) == (1, expected)
    for _ in range(2):
        with pytest.raises(DependencyDown):
            read(api)
    assert (meter.take_request_count(), meter.rate_limit) == (2, expected)
    read(api)
    assert meter.rate_limit == RateLimit(5000, 4990, None)


@pytest.mark.parametrize(
    "say",
    [
        Say(401, {"message": f"Bad credentials {TOKEN}"}),
        Say(200, f'{{"{TOKEN}'.encode()),
        Say(kind="drop"),
    ],
    ids=["401", "invalid", "drop"],
)
def test_no_error_shows_the_token(api: GithubApi, server: FakeServer, say: Say) -> None:
    server.says = [say]
    with pytest.raises(HlsError) as caught:
        read(api)
    assert server.seen[0].headers["authorization"] == f"token {TOKEN}"
    assert TOKEN not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)


def test_pygithub_logs_no_header_and_writes_no_line_itself(
    api: GithubApi, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.says = [Say(body={})]
    with caplog.at_level(logging.DEBUG, "github"):
        read(api)
    assert ISSUE in caplog.text
    assert TOKEN not in caplog.text
    assert logging.getLogger("github").handlers == []


@pytest.mark.parametrize("checks", [1, 2], ids=["before the head", "between head and body"])
def test_write_after_a_lost_lease_never_reaches_github(
    api: GithubApi, server: FakeServer, checks: int
) -> None:
    left = [None] * (checks - 1)

    def check_lease() -> None:
        if not left:
            raise LeaseLost("the lease is lost")
        left.pop()

    server.says = [Say(body={"url": "x"})] * 2
    read(api)
    with pytest.raises(LeaseLost, match="the lease is lost"):
        write(api, check_lease)
    assert read(api) == {"url": "x"}  # the client is still usable
    assert server.calls == [f"GET {ISSUE}"] * 2


def test_method_of_pygithub_that_needs_two_requests_is_an_error(
    api: GithubApi, server: FakeServer
) -> None:
    server.says = [Say(body={"number": 7})]
    with pytest.raises(
        DependencyDown, match=r"create_comment \(SecondRequest: it would send POST "
    ):
        api.of("o/r").read(lambda it: it.get_issue(7).complete().create_comment("It crashes."))
    assert server.calls == [f"GET {ISSUE}"]


@pytest.mark.parametrize("has_url", [True, False])
def test_attribute_that_a_response_lacks_is_named_and_not_requested(
    api: GithubApi, server: FakeServer, has_url: bool
) -> None:
    label = {"url": f"{server.url}/repos/o/r/labels/bug"} if has_url else {}
    server.says = [Say(body=[label])]
    with pytest.raises(DependencyDown, match=r"GET /repos/o/r/labels: .* cannot read description "):
        api.of("o/r").read(lambda it: it.get_labels().get_page(0)[0].description)
    assert server.calls == ["GET /repos/o/r/labels"]


@pytest.mark.parametrize("body", [{}, {"object": None}, {"object": {}}, {"object": {"sha": None}}])
def test_field_that_a_complete_object_lacks_is_named(
    api: GithubApi, server: FakeServer, body: dict[str, object]
) -> None:
    server.says = [Say(body=body)]
    with pytest.raises(DependencyDown, match=r"object\.sha: "):
        GithubReader(api.of("o/r"), RepositoryLabels(lambda: 0.0)).head_commit("main")
    assert server.calls == ["GET /repos/o/r/git/ref/heads/main"]


def test_defect_of_a_request_that_was_not_sent_is_no_error_of_github(
    api: GithubApi, server: FakeServer
) -> None:
    empty: dict[str, str] = {}
    with pytest.raises(KeyError, match="typo"):
        api.read(lambda _client: empty["typo"])
    assert server.calls == []


def test_list_by_links_ends_at_its_cap(api: GithubApi, server: FakeServer) -> None:
    link = {"Link": f'<{server.url}/jobs?page=9>; rel="next"'}
    server.says = [Say(body=[], headers=link)] * 4
    assert list(api.pages("/jobs", list[object], max_pages=3)) == [[], [], []]
    assert len(server.calls) == 3


HOOK = "/repos/o/r/hooks/1"
PATH = f"{HOOK}/deliveries/5"


def read_payload(api: GithubApi, server: FakeServer, body: bytes, status: int = 200) -> bytes:
    server.says = [Say(status, body)]
    return GithubHooks(api).payload(HOOK, 5)


def test_payload_is_returned_as_json(api: GithubApi, server: FakeServer) -> None:
    body = '{"id": 5, "request": {"headers": {}, "payload": {"x": "é"}}}'.encode()
    assert read_payload(api, server, body) == b'{"x": "\\u00e9"}'


def test_largest_payload_of_a_webhook_is_read(api: GithubApi, server: FakeServer) -> None:
    body = b'{"request": {"payload": {"text": "' + b"x" * 25_000_000 + b'"}}}'
    assert len(read_payload(api, server, body)) > 25_000_000


@pytest.mark.parametrize(
    ("body", "status"), [(b'{"request": {"payload": null}}', 200), (b'{"message": "no"}', 404)]
)
def test_payload_that_github_does_not_keep_is_an_error(
    api: GithubApi, server: FakeServer, body: bytes, status: int
) -> None:
    with pytest.raises(PayloadError, match="no longer keeps"):
        read_payload(api, server, body, status)


@pytest.mark.parametrize(
    ("status", "body", "stops_all"),
    [
        (502, b"<html>Bad Gateway</html>", False),
        (200, b'{"id": 5}', False),
        (200, b'{"request": {"payload": %s}}' % (b"[" * 1_000_000 + b"]" * 1_000_000), False),
        (403, b"<html>blocked</html>", False),
        (401, b'{"message": "no"}', True),
        (429, b'{"message": "no"}', True),
    ],
)
def test_only_a_rejected_token_and_a_rate_limit_concern_other_deliveries(
    api: GithubApi, server: FakeServer, status: int, body: bytes, stops_all: bool
) -> None:
    with pytest.raises(DependencyDown, match=rf"^GET {PATH}: ") as caught:
        read_payload(api, server, body, status)
    assert caught.value.applies_to_all_calls is stops_all
