"""Selection of the files of a pull request that the prompt shows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls_handler.handlers.files import PatchedFile, Reason, SkippedFile, count_reasons, select_files
from hls_handler.handlers.reader import ChangedFile
from hls_handler.prompting.tokens import estimate_tokens
from hls_handler.review.patch import parse_numbered
from hls_handler.untrusted.cleaning import LONGEST_TEXT
from tests.handlers.world import file

BUDGET = 100_000


def long(path: str, lines: int, *, hunks: int = 1) -> ChangedFile:
    """A file whose lines take 10 tokens each (35 characters when numbered)."""
    parts = [f"@@ -0,0 +{1 + 100 * i} @@\n" + "\n".join(["+" + "x" * 25] * lines) for i in range(hunks)]
    return file(path, "\n".join(parts), additions=lines * hunks, deletions=0)


def shown(*files: ChangedFile, tokens: int = BUDGET) -> list[str]:
    return [patched.path for patched in select_files(files, tokens=tokens)[0]]


def skipped(*files: ChangedFile, tokens: int = BUDGET) -> dict[str, str]:
    return {omitted.path: omitted.reason for omitted in select_files(files, tokens=tokens)[1]}


def test_a_patch_is_shown_numbered_with_the_data_of_the_file() -> None:
    renamed = file("area.py", status="renamed", previous_path="old.py")
    assert select_files([renamed], tokens=BUDGET) == (
        (
            PatchedFile(
                path="area.py",
                previous_path="old.py",
                status="renamed",
                additions=1,
                deletions=1,
                numbered=(
                    "@@ -1,2 +1,2 @@\n"
                    "R    1   def area(side):\n"
                    "L    2 -     return side * 2\n"
                    "R    2 +     return side ** 2"
                ),
                cut=False,
            ),
        ),
        (),
    )


def test_an_unknown_status_is_shown_as_changed() -> None:
    assert select_files([file(status="teleported")], tokens=BUDGET)[0][0].status == "changed"


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({"path": "logo.png", "patch": None, "additions": 0, "deletions": 0}, "binary or empty"),
        ({"path": "empty.py", "patch": "", "additions": 0, "deletions": 0, "status": "added"}, "binary or empty"),
        ({"path": "big.py", "patch": None, "additions": 20_000, "deletions": 0}, "too large for GitHub to show"),
        (
            {"path": "b.py", "patch": None, "status": "renamed", "additions": 0, "deletions": 0},
            "renamed without changes",
        ),
    ],
)
def test_a_file_without_a_patch_is_skipped(known: dict[str, Any], reason: Reason) -> None:
    assert select_files([file(**known)], tokens=BUDGET) == ((), (SkippedFile(known["path"], reason),))


@pytest.mark.parametrize(
    ("reason", "paths"),
    [
        (
            "lock file",
            [
                "package-lock.json",
                "web/yarn.lock",
                "pnpm-lock.yaml",
                "Cargo.lock",
                "poetry.lock",
                "uv.lock",
                "Pipfile.lock",
                "composer.lock",
                "Gemfile.lock",
                "go.sum",
                "bun.lockb",
                "bun.lock",
            ],
        ),
        ("minified", ["static/app.min.js", "a.min.css", "app.js.map"]),
        (
            "generated",
            ["dist/index.js", "api/user_pb2.py", "user.pb.go", "ui/__snapshots__/a.js", "a.snap", "x.g.dart"],
        ),
        ("vendored", ["vendor/lib/a.go", "web/node_modules/a/index.js", "third_party/zlib/zlib.c"]),
    ],
)
def test_files_that_are_not_hand_written_are_skipped(reason: str, paths: list[str]) -> None:
    assert skipped(*(file(path) for path in paths)) == dict.fromkeys(paths, reason)


def test_files_with_similar_names_are_shown() -> None:
    paths = [
        "lock.py",
        "src/vendors.py",
        "distance.py",
        "package.json",
        "admin.js",
        "go.mod",
        "generate.py",
        "my-yarn.lock",
    ]
    assert sorted(shown(*(file(path) for path in paths))) == sorted(paths)


def test_files_are_ordered_source_tests_documentation_removed() -> None:
    given_by_github = [
        file("README.md"),
        file("gone.py", status="removed"),
        file("tests/test_area.py"),
        file("settings.yaml"),
        file(".github/workflows/ci.yml"),
        file("src/area.py"),
        file("src/area_test.go"),
        file("Makefile"),
        file("docs/guide.html"),
        file("ui/button.spec.ts"),
    ]
    assert shown(*given_by_github) == [
        ".github/workflows/ci.yml",
        "src/area.py",
        "Makefile",
        "tests/test_area.py",
        "src/area_test.go",
        "ui/button.spec.ts",
        "README.md",
        "settings.yaml",
        "docs/guide.html",
        "gone.py",
    ]


def test_a_huge_file_is_cut_and_does_not_displace_small_ones() -> None:
    files, ignored_paths = select_files(
        [long("a_huge.py", 90, hunks=20), long("b.py", 10), long("c.py", 10)], tokens=3_000
    )
    assert [(f.path, f.cut) for f in files] == [("a_huge.py", True), ("b.py", False), ("c.py", False)]
    assert ignored_paths == ()
    assert files[0].numbered.endswith("\n[cut here to fit: 1620 more changed lines of this file are not shown]")
    assert [len(hunk.lines) for hunk in parse_numbered(files[0].numbered).hunks] == [90, 90]


def test_a_large_file_is_not_cut_if_the_remaining_files_fit() -> None:
    assert [f.cut for f in select_files([long("a.py", 200), long("b.py", 10)], tokens=2_500)[0]] == [False, False]


def test_a_patch_is_limited_to_the_length_of_one_text() -> None:
    (patched,), _ = select_files([long("a.py", 2_500)], tokens=900_000)
    assert patched.cut
    assert 59_000 < len(patched.numbered) <= LONGEST_TEXT


def test_files_over_the_budget_are_skipped() -> None:
    files = [long("a.py", 60), long("b.py", 60), long("c.py", 19)]
    assert skipped(*files, tokens=1_100) == {"b.py": "over the token budget"}
    assert shown(*files, tokens=1_100) == ["a.py", "c.py"]
    assert shown(*files, tokens=50) == []


def test_long_paths_count_towards_the_budget() -> None:
    files = [file(f"{index}{'x' * 3_500}.py") for index in range(10)]
    assert len(select_files(files, tokens=3_300)[0]) == 3


def test_skipped_files_keep_githubs_order() -> None:
    files = [file("z.lock/uv.lock"), file("a.png", None, additions=0, deletions=0), file("b.min.js")]
    assert [omitted.path for omitted in select_files(files, tokens=BUDGET)[1]] == [
        "z.lock/uv.lock",
        "a.png",
        "b.min.js",
    ]


def test_reasons_are_counted() -> None:
    ignored_paths = [SkippedFile("a", "lock file"), SkippedFile("b", "binary or empty"), SkippedFile("c", "lock file")]
    assert count_reasons(ignored_paths) == "2 lock file, 1 binary or empty"


@given(st.lists(st.tuples(st.sampled_from(["a.py", "a.md", "t/test_a.py"]), st.integers(0, 60))), st.integers(0, 4_000))
def test_the_budget_is_kept_and_every_file_is_shown_or_skipped(made: list[tuple[str, int]], tokens: int) -> None:
    files = [long(f"{index}/{path}", lines) for index, (path, lines) in enumerate(made)]
    patched, ignored_paths = select_files(files, tokens=tokens)
    cut_remark = 30
    assert sum(estimate_tokens(f.numbered) - cut_remark * f.cut for f in patched) <= tokens
    assert sorted([f.path for f in patched] + [f.path for f in ignored_paths]) == sorted(f.path for f in files)
