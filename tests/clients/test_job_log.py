"""Reading of a job's log over real HTTP."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count

import pytest

from hls_handler.clients.job_log import MAX_LINE_CHARS, is_allowed_url, read_log
from hls_handler.clients.reader import GithubReader
from hls_handler.errors import DependencyDown, Permanent
from hls_handler.handlers.reader import NoLog
from tests.clients.conftest import NOON
from tests.clients.fake_github import TOKEN, FakeGithub, Fault

LOGS = "/repos/o/r/actions/jobs/6/logs"
STORED = "/stored/6"


def lines_of(reader: GithubReader) -> list[str]:
    log = reader.job_log(6)
    assert isinstance(log, Iterator)
    return list(log)


def test_a_log_is_read_line_by_line_as_it_was_written(reader: GithubReader, github: FakeGithub) -> None:
    github.log = "\ufeff2026-11-20T12:00:00Z \x1b[31mred\x1b[0m\r\na\x0cb\u2028c\rd\n\n##[error]end".encode()
    assert lines_of(reader) == ["2026-11-20T12:00:00Z \x1b[31mred\x1b[0m", "a\x0cb\u2028c\rd", "", "##[error]end"]
    assert github.calls == [f"GET {LOGS}", f"GET {STORED}"]


def test_token_is_not_sent_to_the_log_storage(reader: GithubReader, github: FakeGithub) -> None:
    github.log = b"one\n"
    lines_of(reader)
    asked, stored = github.seen
    assert asked.headers["authorization"] == f"token {TOKEN}"
    assert stored.query == {"signature": "5ecret"}
    assert TOKEN not in str(stored)
    assert "authorization" not in stored.headers


def test_netrc_credentials_are_not_sent(
    reader: GithubReader, github: FakeGithub, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login mona password hunter2hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    github.log = b"one\n"
    assert lines_of(reader) == ["one"]
    assert "authorization" not in github.seen[1].headers


def test_invalid_utf_8_is_replaced_and_split_characters_are_joined(reader: GithubReader, github: FakeGithub) -> None:
    github.log = b"a\xffb\n" + "ä€😀".encode() * 30_000 + b"\n" + b"\xe2\x82"
    bad, long, incomplete = lines_of(reader)
    assert (bad, incomplete) == ("a\ufffdb", "\ufffd")
    assert long == ("ä€😀" * 30_000)[:MAX_LINE_CHARS] + " [line cut here]"


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf"], ids=["a mark alone"])
def test_log_without_content_is_empty(reader: GithubReader, github: FakeGithub, content: bytes) -> None:
    github.log = content
    assert reader.job_log(6) == NoLog("empty")


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", LOGS, status=410, body={"message": "Gone"}),
        Fault("GET", STORED, status=404, body=b"BlobNotFound"),
    ],
    ids=["deleted", "deleted meanwhile"],
)
def test_missing_log_has_expired(reader: GithubReader, github: FakeGithub, fault: Fault) -> None:
    github.log, github.faults = b"one\n", [fault]
    assert reader.job_log(6) == NoLog("expired")


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", LOGS, status=200, body={}),
        Fault("GET", LOGS, status=307, headers={"Location": "/elsewhere"}),
        Fault("GET", STORED, status=302, headers={"Location": "http://127.0.0.1:1/again"}),
        Fault("GET", STORED, status=403, body=b"AuthenticationFailed"),
        Fault("GET", STORED, status=200, body=b"half", headers={"Content-Encoding": "gzip"}),
    ],
    ids=lambda fault: f"{fault.path} {fault.kind} {fault.status}",
)
def test_failed_download_is_reported_without_the_url(reader: GithubReader, github: FakeGithub, fault: Fault) -> None:
    github.log, github.faults = b"one\n", [fault]
    expected: type[Exception] = Permanent if fault.status == 307 else DependencyDown
    with pytest.raises(expected, match=rf"^GET {LOGS}: ") as caught:
        reader.job_log(6)
    assert "5ecret" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_truncated_transfer_raises_dependency_down(reader: GithubReader, github: FakeGithub) -> None:
    cut = {"Content-Length": "900", "Connection": "close"}
    github.log, github.faults = b"", [Fault("GET", STORED, status=200, body=b"one\n" + b"x" * 496, headers=cut)]
    log = reader.job_log(6)
    assert isinstance(log, Iterator)
    assert next(log) == "one"
    with pytest.raises(DependencyDown, match=rf"^GET {LOGS}: no answer: "):
        next(log)


def read(github: FakeGithub, *, max_bytes: int, now: Iterator[datetime]) -> Iterator[str]:
    """Read directly from the storage."""
    log = read_log(
        f"GET {LOGS}",
        f"{github.base_url}{STORED}",
        base_url=github.base_url,
        now=lambda: next(now),
        timeout_s=5,
        max_bytes=max_bytes,
    )
    assert isinstance(log, Iterator)
    return log


def test_huge_log_is_truncated_with_a_visible_note(github: FakeGithub) -> None:
    github.log, github.headers = b"0123456789abcde\n" * (2**16 + 1), {"Connection": "close"}
    *lines, last = read(github, max_bytes=2**20, now=iter(lambda: NOON, None))
    assert last == "[cut here: the log is longer than 1 MB]"
    assert lines[:-1] == ["0123456789abcde"] * 2**16
    assert lines[-1] == ""


def test_slow_log_is_given_up_after_the_time_limit(github: FakeGithub) -> None:
    github.log, github.headers = b"one\n" * 2**17, {"Connection": "close"}
    clock = (NOON + timedelta(seconds=50 * number) for number in count())
    with pytest.raises(DependencyDown, match=rf"^GET {LOGS}: no answer: TimeoutError$"):
        list(read(github, max_bytes=2**21, now=clock))


def test_only_a_chunk_of_a_log_is_in_memory(github: FakeGithub) -> None:
    github.log = b"a line of a log, and another\n" * 2**16 + b"x" * 2**22
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    lines = sum(1 for _ in read(github, max_bytes=2**25, now=iter(lambda: NOON, None)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert lines == 2**16 + 1
    assert peak - before < 2**21


GITHUB, LOCAL = "https://api.github.com", "http://127.0.0.1:8123/api/v3"


@pytest.mark.parametrize(
    ("base_url", "address", "is_allowed"),
    [
        (GITHUB, "https://results.blob.core.windows.net/logs/6?sig=x", True),
        (GITHUB, "http://results.blob.core.windows.net/logs/6?sig=x", False),
        (GITHUB, "http://169.254.169.254/latest", False),
        (GITHUB, "file:///etc/passwd", False),
        (GITHUB, "/logs/6", False),
        (GITHUB, "https://mona:secret@results.example/logs", False),
        (GITHUB, "https://[bad/", False),
        (LOCAL, "http://127.0.0.1:8123/_storage/logs/6", True),
        (LOCAL, "http://[::1]:9000/logs/6", True),
        (LOCAL, "http://127.0.0.1.example/logs/6", False),
        (LOCAL, "http://169.254.169.254/latest", False),
    ],
)
def test_only_https_or_http_between_loopback_addresses_is_allowed(
    base_url: str, address: str, is_allowed: bool
) -> None:
    assert is_allowed_url(address, base_url) is is_allowed
