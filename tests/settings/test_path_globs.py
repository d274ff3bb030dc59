"""Globs of paths."""

from __future__ import annotations

import pytest

from hls_handler.settings.path_globs import find_glob_problem, matches


@pytest.mark.parametrize(
    ("glob", "path", "is_match"),
    [
        ("docs/**", "docs/a/b/guide.md", True),
        ("**/*.snap", "ui.snap", True),
        ("src/**/gen/*.py", "src/a/b/gen/a.py", True),
        ("a?.py", "ab.py", True),
        ("*a*b*", "xaybz", True),
        ("app/[id].tsx", "app/[id].tsx", True),
        ("docs", "docs/a/guide.md", True),
        ("README.md", "readme.md", False),
        ("docs/*.md", "docs/a/guide.md", False),
        ("a?.py", "a/.py", False),
        ("app/[id].tsx", "app/i.tsx", False),
        # A matcher with exponential backtracking would not finish these.
        ("**/a/" * 50 + "b", "a/" * 2_000 + "c", False),
        ("*a" * 50 + "b", "a" * 4_000, False),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_glob_matches(glob: str, path: str, is_match: bool) -> None:
    assert matches(glob, path) is is_match


MATCHES_NONE = "matches no file; write a path as GitHub shows it, such as docs/** or **/*.snap"
ONE_EACH = ", which are not supported; write one glob for each"
SET = (
    "has a set in brackets, which is not supported; write one glob for each, such as Docs/** and"
    " docs/**, or ? for a bracket that is in the name"
)


@pytest.mark.parametrize(
    ("glob", "problem"),
    [
        *(
            (glob, MATCHES_NONE)
            for glob in ("", "docs\\*", "/docs/**", "web/../docs/**", "docs/** ")
        ),
        ("**.snap", "has ** inside a name; write it alone between slashes, such as **/*.snap"),
        # one for each alternative of the pattern
        *(
            (glob, SET)
            for glob in ("[Dd]ocs/**", "**/*.py[co]", "src/*.[ch]", "[a-z]/x", "[!a]/**")
        ),
        ("[[:alpha:]]/x", SET),
        ("*.{a,b}", f"has alternatives in braces{ONE_EACH}"),
        ("part-{1..3}.sql", f"has alternatives in braces{ONE_EACH}"),
        ("src/!(a)/**", f"has alternatives in parentheses{ONE_EACH}"),
        ("docs/**|src/**", f"has alternatives with |{ONE_EACH}"),
        ("!docs", "begins with !; exceptions are not supported, so name only what is to match"),
    ],
)
def test_a_glob_that_would_match_nothing_is_a_problem(glob: str, problem: str) -> None:
    assert find_glob_problem(glob) == problem


@pytest.mark.parametrize(
    "glob",
    [
        "app/[id]/page.tsx",
        "app/[[...slug]].tsx",
        "pages/users-[group]/[id].vue",
        "app/(shop)/@modal/(.)photo/**",
        "a {b}.md",
    ],
)
def test_brackets_and_parentheses_of_names_are_literal(glob: str) -> None:
    assert find_glob_problem(glob) is None
    assert matches(glob, glob.replace("**", "a"))
