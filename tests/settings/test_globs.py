"""Globs for paths: matching, invalid globs, linear time."""

from __future__ import annotations

import pytest

from hls_handler.settings.values import find_glob_problem, matches


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("README.md", "README.md"),
        ("docs/**", "docs/a/b/guide.md"),
        ("**/*.snap", "ui.snap"),
        ("**/*.snap", "tests/ui/list.snap"),
        ("src/**/gen/*.py", "src/gen/a.py"),
        ("src/**/gen/*.py", "src/a/b/gen/a.py"),
        ("**/gen/**", "a/gen/b/c"),
        ("**", "a/b/c"),
        ("a?.py", "ab.py"),
        ("*a*b*", "xaybz"),
        ("app/[id].tsx", "app/[id].tsx"),
        ("docs", "docs/a/guide.md"),
        ("**/node_modules", "web/node_modules/a/b.js"),
    ],
)
def test_a_glob_matches(glob: str, path: str) -> None:
    assert matches(glob, path)


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("README.md", "readme.md"),
        ("docs/*.md", "docs/a/guide.md"),
        ("docs/**", "docs"),
        ("**/*.snap", "ui.snap.ts"),
        ("src/**/gen/*.py", "src/gen/a/b.py"),
        ("a?.py", "a/.py"),
        ("a?.py", "a.py"),
        ("app/[id].tsx", "app/i.tsx"),
        ("*", "a/b"),
    ],
)
def test_a_glob_does_not_match(glob: str, path: str) -> None:
    assert not matches(glob, path)


@pytest.mark.parametrize(
    ("glob", "problem"),
    [
        ("", "is empty; name files, such as docs/**"),
        ("docs\\*", "contains a backslash; separate folders by /"),
        ("/docs/**", "begins with /, ./ or ../; write the path from the root of the repository, such as docs/**"),
        ("./docs/**", "begins with /, ./ or ../; write the path from the root of the repository, such as docs/**"),
        ("docs/", "ends with /, so it matches no file; write docs/**"),
        ("docs//a.md", "has //, /./ or /../, which no path has; write the path as GitHub shows it"),
        ("docs/./a.md", "has //, /./ or /../, which no path has; write the path as GitHub shows it"),
        ("web/../docs/**", "has //, /./ or /../, which no path has; write the path as GitHub shows it"),
        ("docs/** ", "starts or ends with white space; remove it"),
        ("**.snap", "has ** inside a name; write it alone between slashes, such as **/*.snap"),
    ],
)
def test_a_glob_that_would_match_nothing_is_a_problem(glob: str, problem: str) -> None:
    assert find_glob_problem(glob) == problem


def test_matching_an_untrusted_path_does_not_take_long() -> None:
    """A matcher with exponential backtracking would not finish here."""
    assert not matches("**/a/" * 50 + "b", "a/" * 2_000 + "c")
    assert not matches("*a" * 50 + "b", "a" * 4_000)
