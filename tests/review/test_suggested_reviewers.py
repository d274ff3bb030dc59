"""Reviewers: the rules of CODEOWNERS files, and whom HLS suggests."""

from __future__ import annotations

import pytest

from hls_handler.review.suggested_reviewers import (
    Reviewer,
    choose_reviewers,
    find_owners,
    parse_owners,
)


@pytest.mark.parametrize(
    ("pattern", "covered", "others"),
    [
        ("*", ["a.py", "src/a.py"], []),
        ("*.js", ["a.js", "src/a.js", "x.js/a.py"], ["a.jsx"]),
        (
            "/packages/pay-*",
            ["packages/pay-a/src/a.py"],
            ["packages/cart/a.py", "src/packages/pay-a"],
        ),
        ("/build/logs/", ["build/logs/a", "build/logs/b/a"], ["src/build/logs/a", "build/logs"]),
        ("docs/*", ["docs/a.md"], ["docs/build/a.md", "src/docs/a.md"]),
        ("apps/", ["apps/a", "src/apps/b/a"], ["apps"]),
        ("/docs/", ["docs/a", "docs/b/a"], ["src/docs/a"]),
        ("/apps/github", ["apps/github", "apps/github/a"], ["apps/gitlab"]),
        ("**/logs", ["logs/a", "deeply/nested/logs/a"], ["logs.txt"]),
        ("a/**/z.py", ["a/z.py", "a/b/c/z.py"], ["b/a/z.py"]),
        ("/my\\ file.md", ["my file.md"], ["my"]),
        ("*.MD", [], ["a.md"]),
        ("/app/[id]/", ["app/[id]/page.tsx"], ["app/i/page.tsx"]),
    ],
)
def test_pattern_covers_files_as_at_github(
    pattern: str, covered: list[str], others: list[str]
) -> None:
    rules = parse_owners(f"{pattern} @mona")
    assert [path for path in (*covered, *others) if find_owners(rules, path)] == covered


def test_last_line_that_covers_a_file_has_precedence() -> None:
    rules = parse_owners("* @mona @acme/web\r\n*.js @hubot # of the site\n/lib/\n# *.js @nobody\n")
    found = [find_owners(rules, path) for path in ("a.py", "a.js", "lib/a.js")]
    assert found == [("mona", "acme/web"), ("hubot",), ()]


@pytest.mark.parametrize(
    "line",
    [
        "* octocat",
        "* @octo.cat",
        "!* @octocat",
        "[a-z]* @octocat",
        "* @octocat, @hubot",
        "* @a/b/c",
    ],
)
def test_line_that_github_takes_for_invalid_is_skipped(line: str) -> None:
    assert find_owners(parse_owners(f"* @mona\n{line}"), "a.py") == ("mona",)


def test_owner_with_only_an_address_is_not_named() -> None:
    assert find_owners(parse_owners("* @mona\n*.py dev@example.com @hubot"), "a.py") == ("hubot",)


def test_code_owners_come_before_last_authors_and_the_least_loaded_first() -> None:
    found = choose_reviewers(
        ["busy", "acme/web", "free", "Author"],
        ["new", "FREE", "old"],
        load={"busy": 4, "old": 1},
        excluded={"author"},
        limit=3,
    )
    assert found == (
        Reviewer("free", "code owner", 0),
        Reviewer("busy", "code owner", 4),
        Reviewer("new", "last author", 0),
        Reviewer("acme/web", "code owner", None),
    )
