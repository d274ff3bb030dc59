"""What a command is asked to look at: which thread an address names, and on which GitHub."""

from __future__ import annotations

import pytest
import typer

from hls_handler.cli.subjects import ThreadName, find_thread, web_host

GITHUB = "https://api.github.com"


@pytest.mark.parametrize(
    ("base_url", "host"),
    [
        ("https://api.github.com", "github.com"),
        ("https://api.github.com:443", "github.com"),
        ("https://ghe.example.com/api/v3", "ghe.example.com"),
        ("https://API.example.com:8443/api/v3", "api.example.com:8443"),
        ("https://api.octocorp.ghe.com", "octocorp.ghe.com"),
        ("http://127.0.0.1:8123/api/v3", "127.0.0.1:8123"),
    ],
    ids=["github.com", "port said", "server", "server with port", "data residency", "sandbox"],
)
def test_the_pages_of_an_api_are_where_people_see_them(base_url: str, host: str) -> None:
    assert web_host(base_url) == host


@pytest.mark.parametrize(
    ("given", "base_url", "thread"),
    [
        ("https://github.com/octo/widgets/issues/7", GITHUB, ThreadName("octo/widgets", 7)),
        ("https://github.com/octo/widgets/pull/13", GITHUB, ThreadName("octo/widgets", 13)),
        ("https://www.GitHub.com/octo/widgets/pull/13/files", GITHUB, ThreadName("octo/widgets", 13)),
        ("https://github.com/octo/widgets/issues/7?x=1#issuecomment-5", GITHUB, ThreadName("octo/widgets", 7)),
        ("octo/widgets#7", GITHUB, ThreadName("octo/widgets", 7)),
        ("https://ghe.example.com/a/b/issues/1", "https://ghe.example.com/api/v3", ThreadName("a/b", 1)),
        ("a/b#1", "https://ghe.example.com/api/v3", ThreadName("a/b", 1)),
        ("issues.opened", GITHUB, None),
        ("demo/question", GITHUB, None),
        ("./octo/widgets#7.json", GITHUB, None),
        ("octo/widgets#0", GITHUB, None),
        ("../..#7", GITHUB, None),
    ],
)
def test_a_thread_is_found_by_its_page_or_its_short_name(given: str, base_url: str, thread: ThreadName | None) -> None:
    assert find_thread(given, base_url=base_url) == thread


@pytest.mark.parametrize(
    ("given", "base_url", "complaint"),
    [
        (
            "https://github.com/octo/widgets",
            GITHUB,
            (
                "https://github.com/octo/widgets is not the address of an issue or a pull request; those look like "
                "https://github.com/OWNER/REPO/issues/7 or .../pull/13"
            ),
        ),
        (
            "https://ghe.example.com:x/a/b/issues/1",
            "https://ghe.example.com/api/v3",
            (
                "https://ghe.example.com:x/a/b/issues/1 is not the address of an issue or a pull request; those look "
                "like https://ghe.example.com/OWNER/REPO/issues/7 or .../pull/13"
            ),
        ),
        (
            "https://github.com/../../issues/7",
            GITHUB,
            (
                "https://github.com/../../issues/7 is not the address of an issue or a pull request; those look like "
                "https://github.com/OWNER/REPO/issues/7 or .../pull/13"
            ),
        ),
        (
            "https://github.com/a/b/issues/1",
            "https://ghe.example.com/api/v3",
            (
                "https://github.com/a/b/issues/1 is not on ghe.example.com, whose API github.base_url names "
                "(https://ghe.example.com/api/v3); set github.base_url for it"
            ),
        ),
    ],
    ids=["no thread", "no address", "leads elsewhere", "another GitHub"],
)
def test_another_address_is_refused_with_what_is_right(
    given: str, base_url: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        find_thread(given, base_url=base_url)
    assert (ended.value.exit_code, capsys.readouterr().err) == (2, f"{complaint}\n")
