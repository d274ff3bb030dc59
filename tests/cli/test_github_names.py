"""Parsing of the issue or pull request that a command line names, and of the GitHub host."""

from __future__ import annotations

import pytest
import typer

from hls_handler.cli.github_names import find_conversation, require_repository

GITHUB = "https://api.github.com"


@pytest.mark.parametrize(
    ("given", "base_url", "conversation"),
    [
        ("https://www.GitHub.com/octo/widgets/pull/13/files", GITHUB, ("octo/widgets", 13)),
        (
            "https://github.com/octo/widgets/issues/7?x=1#issuecomment-5",
            GITHUB,
            ("octo/widgets", 7),
        ),
        (
            "https://GHE.example.com:8443/a/b/issues/1",
            "https://ghe.example.com:8443/api/v3",
            ("a/b", 1),
        ),
        ("a/b#1", "https://ghe.example.com/api/v3", ("a/b", 1)),
        ("issues.opened", GITHUB, None),
        ("./octo/widgets#7.json", GITHUB, None),
        ("../..#7", GITHUB, None),
    ],
)
def test_an_issue_is_found_by_url_or_short_name(
    given: str, base_url: str, conversation: tuple[str, int] | None
) -> None:
    assert find_conversation(given, base_url=base_url) == conversation


@pytest.mark.parametrize(
    ("given", "base_url", "repository"),
    [
        ("octo/widgets", GITHUB, "octo/widgets"),
        ("https://github.com/octo/widgets.git", GITHUB, "octo/widgets"),
        ("https://github.com/octo/widgets/pull/13/files", GITHUB, "octo/widgets"),
    ],
)
def test_a_repository_is_named_by_url_or_short_name(
    given: str, base_url: str, repository: str
) -> None:
    assert require_repository(given, base_url=base_url) == repository


def test_a_repository_on_another_host_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        require_repository("https://gitlab.com/octo/widgets", base_url=GITHUB)
    assert (
        capsys.readouterr().err
        == "https://gitlab.com/octo/widgets is not on github.com, the host of github.base_url"
        " (https://api.github.com); change github.base_url\n"
    )
    with pytest.raises(
        typer.BadParameter, match="write it as owner/repo, or as the URL of the repository"
    ):
        require_repository("widgets", base_url=GITHUB)


def test_a_url_that_names_no_conversation_is_rejected_with_the_expected_form(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit):
        find_conversation("https://github.com/octo/widgets", base_url=GITHUB)
    assert (
        "such as https://github.com/OWNER/REPO/issues/7 or .../pull/13\n" in capsys.readouterr().err
    )
