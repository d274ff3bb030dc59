"""Reading of a job's log over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hls_handler.errors import DependencyDown, Permanent
from hls_handler.github.reader import (
    MAX_LINE_CHARS,
    GithubReader,
    LogLimits,
    is_allowed_url,
    read_log,
)
from hls_handler.github.values import NoLog
from tests.fake_server import FakeServer, Say
from tests.github.review_world import NOON, TOKEN

LOGS = "/repos/o/r/actions/jobs/6/logs"
STORED = "/stored/6"


def store(server: FakeServer, stored: Say) -> None:
    """Prepare the redirect to the storage and the response of the storage."""
    server.says = [Say(302, headers={"Location": f"{server.url}{STORED}?signature=5ecret"}), stored]


def lines_of(reader: GithubReader) -> list[str]:
    log = reader.job_log(6)
    assert isinstance(log, Iterator)
    return list(log)


def test_a_log_is_read_line_by_line_as_it_was_written(
    reader: GithubReader, server: FakeServer
) -> None:
    log = (
        "\ufeff2026-11-20T12:00:00Z \x1b[31mred\x1b[0m\r\na\x0cb\u2028c\rd\n\n##[error]end".encode()
    )
    store(server, Say(body=log))
    assert lines_of(reader) == [
        "2026-11-20T12:00:00Z \x1b[31mred\x1b[0m",
        "a\x0cb\u2028c\rd",
        "",
        "##[error]end",
    ]
    assert server.calls == [f"GET {LOGS}", f"GET {STORED}"]


def test_no_credentials_are_sent_to_the_log_storage(
    reader: GithubReader,
    server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login mona password hunter2hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    store(server, Say(body=b"one\n"))
    assert lines_of(reader) == ["one"]
    asked, stored = server.seen
    assert asked.headers["authorization"] == f"token {TOKEN}"
    assert stored.query == {"signature": "5ecret"}
    assert TOKEN not in str(stored)
    assert "authorization" not in stored.headers


def test_invalid_utf_8_is_replaced_and_split_characters_are_joined(
    reader: GithubReader, server: FakeServer
) -> None:
    store(server, Say(body=b"a\xffb\n" + "ä€😀".encode() * 30_000 + b"\n" + b"\xe2\x82"))
    bad, long, incomplete = lines_of(reader)
    assert (bad, incomplete) == ("a\ufffdb", "\ufffd")
    assert long == ("ä€😀" * 30_000)[:MAX_LINE_CHARS] + " [line cut here]"


@pytest.mark.parametrize(
    ("stored", "found"),
    [(Say(body=b"\xef\xbb\xbf"), NoLog("empty")), (Say(404, b"BlobNotFound"), NoLog("expired"))],
)
def test_log_may_be_empty_or_deleted_meanwhile(
    reader: GithubReader, server: FakeServer, stored: Say, found: NoLog
) -> None:
    store(server, stored)
    assert reader.job_log(6) == found


@pytest.mark.parametrize(
    ("answer", "stored", "error"),
    [
        (Say(200, {}), None, DependencyDown),
        (Say(307, {"message": "Moved"}, {"Location": "/elsewhere"}), None, Permanent),
        (None, Say(302, headers={"Location": "http://127.0.0.1:1/again"}), DependencyDown),
        (None, Say(403, b"AuthenticationFailed"), DependencyDown),
        (None, Say(200, b"half", headers={"Content-Encoding": "gzip"}), DependencyDown),
    ],
)
def test_failed_download_is_reported_without_the_url(
    reader: GithubReader,
    server: FakeServer,
    answer: Say | None,
    stored: Say | None,
    error: type[Exception],
) -> None:
    store(server, stored or Say())
    server.says[0] = answer or server.says[0]
    with pytest.raises(error, match=rf"^GET {LOGS}: ") as caught:
        reader.job_log(6)
    assert "5ecret" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_huge_log_is_truncated_with_a_visible_note(server: FakeServer) -> None:
    def read(server: FakeServer, said: Say, *, max_read_s: float = 120.0) -> Iterator[str]:
        """Read directly from the storage, at most 1 MB."""
        server.says = [said]
        lines = read_log(
            f"GET {LOGS}",
            f"{server.url}{STORED}",
            base_url=server.url,
            now=lambda: NOON,
            limits=LogLimits(5, max_read_s, 2**20),
        )
        assert isinstance(lines, Iterator)
        return lines

    log = b"0123456789abcde\n" * (2**16 + 1)
    *lines, last = read(server, Say(body=log, headers={"Connection": "close"}))
    assert last == "[cut here: the log is longer than 1 MB]"
    assert lines == ["0123456789abcde"] * 2**16 + [""]


GITHUB, LOCAL = "https://api.github.com", "http://127.0.0.1:8123/api/v3"


@pytest.mark.parametrize(
    ("base_url", "address", "is_allowed"),
    [
        (GITHUB, "https://results.blob.core.windows.net/logs/6?sig=x", True),
        (GITHUB, "http://results.blob.core.windows.net/logs/6?sig=x", False),
        (GITHUB, "file:///etc/passwd", False),
        (GITHUB, "/logs/6", False),
        (GITHUB, "https://mona:secret@results.example/logs", False),
        (GITHUB, "https://[bad/", False),
        (LOCAL, "http://[::1]:9000/logs/6", True),
        (LOCAL, "http://127.0.0.1.example/logs/6", False),
        (LOCAL, "http://169.254.169.254/latest", False),
    ],
)
def test_only_https_or_http_between_loopback_addresses_is_allowed(
    base_url: str, address: str, is_allowed: bool
) -> None:
    assert is_allowed_url(address, base_url) is is_allowed
