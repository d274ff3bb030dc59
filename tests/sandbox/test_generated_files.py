"""Generated changed files have the totals of their pull request."""

from __future__ import annotations

import pytest

from hls_handler.review.patches import parse_patch
from hls_handler.sandbox.seeding_pull_requests import generate_files


@pytest.mark.parametrize(
    ("changed_files", "additions", "deletions"),
    [(1, 1, 1), (3, 10, 4), (8, 0, 3), (120, 900, 7)],
)
def test_files_have_the_numbers_of_the_pull_request(changed_files: int, additions: int, deletions: int) -> None:
    files = generate_files("o/r", "abc", changed_files=changed_files, additions=additions, deletions=deletions)
    assert len({file["filename"] for file in files}) == changed_files
    marks = [line.mark for file in files for hunk in parse_patch(file.get("patch", "")).hunks for line in hunk.lines]
    assert (marks.count("+"), marks.count("-")) == (additions, deletions)


def test_the_number_of_files_is_limited_to_3000() -> None:
    assert len(generate_files("o/r", "abc", changed_files=4000, additions=1, deletions=0)) == 3000


def test_a_huge_file_has_no_patch() -> None:
    (file,) = generate_files("o/r", "abc", changed_files=1, additions=3001, deletions=0)
    assert "patch" not in file
    assert file["additions"] == 3001


def test_hunk_headers_count_their_lines() -> None:
    (file,) = generate_files("o/r", "abc", changed_files=1, additions=2, deletions=1)
    assert file["patch"] == (
        "@@ -1,3 +1,4 @@\n README.md begins here\n-line 1 of README.md, as it was\n"
        "+line 1 of README.md, as it is now\n+line 2 of README.md, as it is now\n README.md goes on"
    )


def test_zero_changed_files_give_no_files() -> None:
    assert generate_files("o/r", "abc", changed_files=0, additions=0, deletions=0) == ()
