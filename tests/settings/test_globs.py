"""Globs over paths: what fits, what cannot, and that no glob takes long."""

from __future__ import annotations

import pytest

from hls_handler.settings.globs import PathFilter, fits, flaw_of


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("README.md", "README.md"),
        ("docs/*.md", "docs/guide.md"),
        ("docs/**", "docs/guide.md"),
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
    ],
)
def test_a_glob_fits(glob: str, path: str) -> None:
    assert fits(glob, path)


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("README.md", "docs/README.md"),
        ("README.md", "readme.md"),
        ("docs/*.md", "docs/a/guide.md"),
        ("docs/**", "docs"),
        ("docs/**", "olddocs/a.md"),
        ("**/*.snap", "ui.snap.ts"),
        ("src/**/gen/*.py", "src/gen/a/b.py"),
        ("a?.py", "a/.py"),
        ("a?.py", "a.py"),
        ("app/[id].tsx", "app/i.tsx"),
        ("*", "a/b"),
    ],
)
def test_a_glob_does_not_fit(glob: str, path: str) -> None:
    assert not fits(glob, path)


@pytest.mark.parametrize(
    ("glob", "flaw"),
    [
        ("", "is empty; name files, such as docs/**"),
        ("docs\\*", "holds a backslash; folders are parted by /"),
        ("/docs/**", "begins outside of the repository; write it from the root on, such as docs/**"),
        ("./docs/**", "begins outside of the repository; write it from the root on, such as docs/**"),
        ("docs/", "ends with /, and fits no file; write docs/**"),
        ("**.snap", "has ** inside of a name; it stands alone between slashes, such as **/*.snap"),
    ],
)
def test_a_glob_that_would_fit_nothing_is_told(glob: str, flaw: str) -> None:
    assert flaw_of(glob) == flaw


def test_no_path_that_a_stranger_chooses_takes_long() -> None:
    """Steps and not seconds: a matcher that goes back further than it must would not end here."""
    assert not fits("**/a/" * 50 + "b", "a/" * 2_000 + "c")
    assert not fits("*a" * 50 + "b", "a" * 4_000)


def test_a_filter_without_globs_leaves_nothing_out() -> None:
    assert not PathFilter().leaves_out("README.md")
    assert PathFilter(("docs/**", "*.md")).leaves_out("README.md")
