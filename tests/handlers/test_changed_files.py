"""Selection of the changed files for the calls of a review, and the record of what was reviewed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hls_handler.github.values import ChangedFile
from hls_handler.review.changed_files import (
    ChangedLines,
    FilePart,
    PatchedFile,
    Selection,
    find_unshown,
    may_have_calls,
    show_again,
    show_files,
)
from hls_handler.review.coverage import FileCoverage, cover, leave_out
from hls_handler.review.skipped_files import Reason
from hls_handler.settings.path_globs import PathFilter
from hls_handler.untrusted.cleaning import CodeText, format_for_prompt
from tests.handlers.world import PATCH, file, select

BUDGET = 100_000
SHORTENED = "shown only in part"


def long(path: str, lines: int, *, hunks: int = 1) -> ChangedFile:
    """A file whose lines take 10 tokens each (35 characters when numbered), its headers 4, and its
    name 100.
    """
    parts = [
        f"@@ -0,0 +{1 + 100 * i} @@\n" + "\n".join(["+" + "x" * 25] * lines) for i in range(hunks)
    ]
    return file(path, "\n".join(parts), additions=lines * hunks, deletions=0)


def shown(selection: Selection, call: int = 0) -> tuple[PatchedFile, ...]:
    return show_files(selection, selection.calls[call])


def shown_paths(selection: Selection) -> list[list[str]]:
    return [[one.path for one in shown(selection, call)] for call in range(len(selection.calls))]


def test_a_patch_is_shown_numbered_with_the_data_of_the_file() -> None:
    renamed = file("area.py", status="renamed", previous_path="old.py")
    patched = PatchedFile(
        path="area.py",
        previous_path="old.py",
        status="renamed",
        additions=1,
        deletions=1,
        numbered=(
            "@@ -1,2 +1,2 @@\nR    1   def area(side):\nL    2 -     return side * 2\nR    2 +    "
            " return side ** 2"
        ),
        cut=False,
    )
    selection = select(renamed)
    assert (selection.files, selection.calls, selection.skipped) == (
        (patched,),
        ((FilePart(0, (0,)),),),
        (),
    )
    changed = (ChangedLines("LEFT", 2, 2), ChangedLines("RIGHT", 2, 2))
    assert shown(selection) == (replace(patched, changed=changed),)


def test_files_that_are_not_hand_written_are_skipped() -> None:
    lock_files = ["package-lock.json", "Cargo.lock", "uv.lock", "go.sum", "bun.lock"]
    lock_files += [
        "a/npm-shrinkwrap.json",
        "bun.lockb",
        "gradle.lockfile",
        "buildscript-gradle.lockfile",
        "i/.terraform.lock.hcl",
    ]
    lock_files += [
        "pixi.lock",
        "my-yarn.lock",
        "app/Package.resolved",
        "go.work.sum",
        "pnpm-lock.yaml",
    ]
    lock_files += [
        "lock.json",
        "conda-lock.yml",
        "packages.lock.json",
        "pylock.toml",
        "pylock.dev.toml",
    ]
    generated = [
        "dist/index.js",
        "api/user_pb2.py",
        "user.pb.go",
        "ui/__snapshots__/a.js",
        "a.snap",
        "x.g.dart",
    ]
    perhaps = ["static/app.min.js", "a.min.css", "app.js.map"]
    perhaps += ["vendor/lib/a.go", "web/node_modules/a/index.js", "third_party/zlib/zlib.c"]
    skipped = {
        one.path: one.reason for one in select(*map(file, lock_files + generated + perhaps)).skipped
    }
    assert skipped == {
        **dict.fromkeys(lock_files, "lock file"),
        **dict.fromkeys(generated, "generated"),
        **dict.fromkeys(perhaps, "perhaps generated or vendored"),
    }


def paths(*files: ChangedFile) -> list[str]:
    return [one.path for one in select(*files).files]


def test_files_with_similar_names_are_shown() -> None:
    names = ["admin.js", "distance.py", "go.mod", "lock.py", "src/vendors.py"]
    names += [
        "block.json",
        "clock.yaml",
        "deadlock.toml",
        "lockfile.json",
        "lock.yaml.py",
        "a.lock/b.py",
    ]
    names += [
        ".github/workflows/lock.yml",
        ".github/lock.json",
        "a/.github/uv.lock",
        "my.sums",
        "resolved",
    ]
    assert sorted(paths(*map(file, names))) == sorted(names)


def test_files_are_ordered_source_tests_documentation_removed() -> None:
    ordered = [
        ".github/workflows/ci.yml",
        "src/area.py",
        "Makefile",
        "tests/test_area.py",
        "src/area_test.go",
    ]
    ordered += ["ui/button.spec.ts", "README.md", "settings.yaml", "docs/guide.html"]
    sources, tests, documents = ordered[:3], ordered[3:6], ordered[6:]
    assert paths(file("gone.py", status="removed"), *map(file, documents + tests + sources)) == [
        *ordered,
        "gone.py",
    ]


# Calls


def test_a_file_is_split_between_its_hunks() -> None:
    selection = select(long("a.py", 90, hunks=20), long("b.py", 10), tokens=3_000)
    assert selection.calls[0] == (FilePart(0, (0, 1, 2)),)
    assert selection.calls[6] == (FilePart(0, (18, 19)), FilePart(1, (0,)))
    (first,) = shown(selection)
    assert first.numbered.endswith(
        "\n[cut here: 1530 more changed lines of this file are not shown]"
    )
    assert first.changed == (
        ChangedLines("RIGHT", 1, 90),
        ChangedLines("RIGHT", 101, 190),
        ChangedLines("RIGHT", 201, 290),
    )
    assert cover(selection, {}, unlisted=0).is_complete


def test_rule_10_a_private_key_that_is_longer_than_a_call_is_not_shown() -> None:
    key = [
        "-----BEGIN RSA PRIVATE KEY-----",
        *["MIIEpAIBAAKCAQEA" * 4] * 40,
        "-----END RSA PRIVATE KEY-----",
    ]
    patch = "@@ -0,0 +1,82 @@\n" + "\n".join(f"+{line}" for line in [*range(20), *key, *range(20)])
    selection = select(file("key.pem", patch, additions=82, deletions=0), tokens=180)
    texts = [one.numbered for call in range(len(selection.calls)) for one in shown(selection, call)]
    assert not any("MIIEpAI" in text for text in texts)
    assert sum(text.count(" + [redacted: private-key]") for text in texts) == 42


def test_calls_are_limited() -> None:
    selection = select(*(long(f"{letter}.py", 60) for letter in "abc"), tokens=800, max_calls=2)
    assert shown_paths(selection) == [["a.py"], ["b.py"]]
    coverage = cover(selection, {}, unlisted=0)
    assert [(one.path, one.reviewed, one.reason) for one in coverage.files] == [
        ("a.py", 60, None),
        ("b.py", 60, None),
        ("c.py", 0, "the pull request is too large for one review"),
    ]
    assert not coverage.is_complete


def test_a_large_file_does_not_take_the_calls_of_small_ones() -> None:
    files = long("a.py", 240, hunks=4), long("b.py", 20), long("c.py", 20)
    assert shown_paths(select(*files, tokens=800, max_calls=2)) == [["b.py", "c.py"], ["a.py"]]
    assert shown_paths(select(*files, tokens=30_000, max_calls=2)) == [["a.py", "b.py", "c.py"]]


# Reviewed before


TWO_HUNKS = (
    f"{PATCH}\n@@ -20,2 +20,2 @@\n def volume(side):\n-    return side * 3\n+    return side ** 3"
)


def test_only_hunks_with_other_lines_are_shown_again() -> None:
    now = file(patch=TWO_HUNKS.replace("** 3", "** 4"), additions=2, deletions=2)
    known = [one.block for one in select(file(patch=TWO_HUNKS)).blocks["area.py"]]
    selection = select(now, reviewed={"area.py": known})
    assert selection.calls == ((FilePart(0, (1,)),),)
    assert shown(selection)[0].changed == (
        ChangedLines("LEFT", 21, 21),
        ChangedLines("RIGHT", 21, 21),
    )
    assert shown(selection)[0].numbered.split("\n")[:2] == [
        "@@ -20,2 +20,2 @@",
        "R   20   def volume(side):",
    ]
    assert "return side ** 2" not in shown(selection)[0].numbered


def test_block_of_which_a_call_shows_all_lines_but_the_last_is_shown_again_as_a_whole() -> None:
    selection = select(long("a.py", 61), tokens=704)
    (block,) = selection.blocks["a.py"]
    part = FilePart(0, (0,), (0, 60))
    last_line = FilePart(0, (0,), (60, 61))
    assert selection.calls == ((part,), (last_line,))
    assert show_again(selection, {block: False}).calls == (
        (part, FilePart(0, (0,), (0, 61))),
        (last_line,),
    )


def test_parts_that_the_prompt_does_not_show_are_not_reviewed() -> None:
    files = [long("a.py", 60, hunks=2), long("b.py", 60)]
    selection = leave_out(select(*files, tokens=800), {1: (0,)})
    assert [len(call) for call in selection.calls] == [1, 0, 1]
    assert cover(selection, {}, unlisted=0).files == (
        FileCoverage("a.py", 120, 60, "the prompt shows only a part of it", needs_review=True),
        FileCoverage("b.py", 60, 60, None, needs_review=True),
    )
    assert len(selection.shown_patches["a.py"].hunks) == 1


def test_file_whose_blocks_were_all_unread_has_no_reviewed_line() -> None:
    patch = "@@ -0,0 +1,3 @@\n+first = 1\n+\n+second = 2"
    selection = select(file("a.py", patch, additions=3, deletions=0))
    coverage = cover(selection, {0: "Claude was not asked"}, unlisted=0)
    assert [(one.path, one.lines, one.reviewed) for one in coverage.files] == [("a.py", 3, 0)]


def test_equal_patches_must_be_shown_as_often_as_there_are_files() -> None:
    files = shown(select(file("a.py"), file("b.py"), file("c.py", f"{PATCH}\n }}")))
    task = "".join(format_for_prompt(CodeText(one.numbered), "nonce") for one in files[1:])
    assert find_unshown({"files": files}, task) == (0, 1)
    assert find_unshown({"files": files}, task * 2) == ()


def test_patch_that_github_shortened_is_not_covered() -> None:
    selection = select(file(additions=400, deletions=1))
    assert shown(selection)[0].cut
    assert shown(selection)[0].numbered.endswith(
        "\n[cut here: 399 more changed lines of this file are not shown]"
    )
    assert cover(selection, {}, unlisted=0).files == (
        FileCoverage("area.py", 401, 2, SHORTENED, needs_review=True),
    )


@pytest.mark.parametrize("path", ["src/a\u200b.py", "a\nb.py"])
def test_a_file_whose_name_prompts_do_not_show_as_it_is_is_not_covered(path: str) -> None:
    """A finding in it could be taken for one in a file whose name looks the same."""
    selection = select(file(path), file("src/a.py"))
    reasons = [(one.path, one.reason) for one in cover(selection, {}, unlisted=0).files]
    assert reasons == [(path, "Claude was not shown its name as it is"), ("src/a.py", None)]


# Skipped files


def test_another_commit_of_a_submodule_below_vendor_is_reviewed() -> None:
    old, new = "1a2b" * 10, "3c4d" * 10
    patch = f"@@ -1 +1 @@\n-Subproject commit {old}\n+Subproject commit {new}"
    selection = select(file("vendor/lib", patch, additions=1, deletions=1))
    assert selection.files[0].numbered.split("\n")[1:] == [
        f"L    1 - Subproject commit {old}",
        f"R    1 + Subproject commit {new}",
    ]
    assert cover(selection, {}, unlisted=0).is_complete


def test_files_left_out_by_their_names_need_a_review_if_the_attributes_are_unknown() -> None:
    files = [file("dist/a.js"), file("uv.lock"), file("a.md")]
    selection = select(*files, attributes=None)
    assert [(one.path, one.reason, one.needs_review) for one in selection.skipped] == [
        ("dist/a.js", "perhaps generated or vendored", True),
        ("uv.lock", "perhaps generated or vendored", True),
    ]


@pytest.mark.parametrize(
    ("path", "known", "reason"),
    [
        ("run.sh", {"status": "modified"}, "not shown by GitHub"),
        ("run.sh", {"status": "changed", "sha": None}, "not shown by GitHub"),
        (
            "run.sh",
            {"status": "added", "sha": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"},
            "binary or empty",
        ),
        ("logo.PNG", {"status": "modified"}, "binary or empty"),
        ("run.sh", {"status": "renamed"}, "renamed without changes"),
        ("big.py", {"additions": 20_000}, "too large for GitHub to show"),
    ],
)
def test_a_file_without_a_patch_needs_a_review_unless_its_format_is_binary(
    path: str, known: dict[str, Any], reason: Reason
) -> None:
    given = replace(file(path, None, additions=0, deletions=0), **{"sha": "c" * 40, **known})
    (skipped_file,) = select(given).skipped
    assert (skipped_file.reason, skipped_file.needs_review) == (
        reason,
        reason.startswith(("not shown", "too large")),
    )


@pytest.mark.parametrize(
    ("previous", "is_complete"), [("src/b.js", True), ("dist/a.js", False), ("old/a.js", False)]
)
def test_file_that_leaves_a_place_without_reviews_is_not_reviewed_as_a_whole(
    previous: str, is_complete: bool
) -> None:
    moved = replace(file("src/a.js"), status="renamed", previous_path=previous)
    (covered,) = cover(select(moved, ignored_paths=PathFilter(("old/**",))), {}, unlisted=0).files
    assert (covered.reason, covered.is_complete) == (
        None if is_complete else SHORTENED,
        is_complete,
    )
    unchanged = replace(moved, patch=None, additions=0, deletions=0)
    (skipped_file,) = select(unchanged, ignored_paths=PathFilter(("old/**",))).skipped
    assert skipped_file.needs_review != is_complete
    # `.gitattributes` may say that the earlier place was reviewed
    assert may_have_calls(select(unchanged))
    (image,) = select(
        replace(unchanged, path="src/a.png"), ignored_paths=PathFilter(("old/**",))
    ).skipped
    assert not image.needs_review
