"""Values of settings: globs for paths, and events of GitHub."""

from __future__ import annotations

import pytest

from hls_handler.settings.github_events import find_event_problem
from hls_handler.settings.values import find_glob_problem, matches


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("docs/**", "docs/a/b/guide.md"),
        ("**/*.snap", "ui.snap"),
        ("**/*.snap", "tests/ui/list.snap"),
        ("src/**/gen/*.py", "src/gen/a.py"),
        ("src/**/gen/*.py", "src/a/b/gen/a.py"),
        ("**/gen/**", "a/gen/b/c"),
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
        ("a?.py", "a/.py"),
        ("a?.py", "a.py"),
        ("app/[id].tsx", "app/i.tsx"),
        # A matcher with exponential backtracking would not finish these.
        ("**/a/" * 50 + "b", "a/" * 2_000 + "c"),
        ("*a" * 50 + "b", "a" * 4_000),
    ],
    ids=lambda value: value[:20],
)
def test_a_glob_does_not_match(glob: str, path: str) -> None:
    assert not matches(glob, path)


MATCHES_NONE = "matches no file; write a path as GitHub shows it, such as docs/** or **/*.snap"


@pytest.mark.parametrize(
    ("glob", "problem"),
    [
        *((glob, MATCHES_NONE) for glob in ("", "docs\\*", "/docs/**", "docs/", "web/../docs/**", "docs/** ")),
        ("**.snap", "has ** inside a name; write it alone between slashes, such as **/*.snap"),
    ],
)
def test_a_glob_that_would_match_nothing_is_a_problem(glob: str, problem: str) -> None:
    assert find_glob_problem(glob) == problem


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("issues", None),
        ("pull_request.review_requested", None),
        ("repository_dispatch.anything-at-all", None),
        ("pull_requests.opened", 'GitHub has no event "pull_requests"; did you mean pull_request.opened?'),
        ("xyzzy", 'GitHub has no event "xyzzy"'),
        ("push.opened", 'the event "push" has no actions; write push'),
        ("watch.xyzzy", 'the event "watch" has no action "xyzzy"; it has started'),
    ],
)
def test_the_message_about_an_unknown_event_names_the_nearest_one(key: str, sentence: str | None) -> None:
    assert find_event_problem(key) == sentence
