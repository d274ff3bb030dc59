"""Selection of the changed files for the calls of a review, and the record of what was reviewed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls_handler.handlers.changed_files import (
    ChangedLines,
    FilePart,
    PatchedFile,
    Selection,
    cover,
    find_unread,
    find_unshown,
    leave_out,
    show_files,
)
from hls_handler.handlers.reader import ChangedFile
from hls_handler.handlers.skipped_files import Reason
from hls_handler.prompting.render import estimate_tokens
from hls_handler.review.blocks import Block
from hls_handler.review.coverage import FileCoverage
from hls_handler.untrusted.cleaning import CodeText, format_for_prompt
from hls_handler.untrusted.redaction import redact_code
from tests.handlers.world import PATCH, file, select

BUDGET = 100_000
LONG_LINE = "with a line too long for one call"
SHORTENED = "GitHub shortened its patch"


Known = Mapping[str, Sequence[Block]]


def digest_reviewed(selection: Selection, unanswered: Collection[int]) -> Known:
    """The reviewed blocks of each path."""
    unread = [one for one, _ in find_unread(selection, unanswered)]
    return {
        path: [one.block for one in blocks if not any(one is other for other in unread)]
        for path, blocks in selection.blocks.items()
    }


def long(path: str, lines: int, *, hunks: int = 1) -> ChangedFile:
    """A file whose lines take 10 tokens each (35 characters when numbered), its headers 4, and its name 100."""
    parts = [f"@@ -0,0 +{1 + 100 * i} @@\n" + "\n".join(["+" + "x" * 25] * lines) for i in range(hunks)]
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
            "@@ -1,2 +1,2 @@\nR    1   def area(side):\nL    2 -     return side * 2\nR    2 +     return side ** 2"
        ),
        cut=False,
    )
    selection = select(renamed)
    assert (selection.files, selection.calls, selection.skipped) == ((patched,), ((FilePart(0, (0,)),),), ())
    changed = (ChangedLines("LEFT", 2, 2), ChangedLines("RIGHT", 2, 2))
    assert shown(selection) == (replace(patched, changed=changed),)


@pytest.mark.parametrize(
    ("reason", "names"),
    [
        (
            "lock file",
            ["package-lock.json", "Cargo.lock", "uv.lock", "go.sum", "bun.lock"],
        ),
        ("perhaps generated or vendored", ["static/app.min.js", "a.min.css", "app.js.map"]),
        (
            "generated",
            ["dist/index.js", "api/user_pb2.py", "user.pb.go", "ui/__snapshots__/a.js", "a.snap", "x.g.dart"],
        ),
        (
            "perhaps generated or vendored",
            ["vendor/lib/a.go", "web/node_modules/a/index.js", "third_party/zlib/zlib.c"],
        ),
    ],
)
def test_files_that_are_not_hand_written_are_skipped(reason: str, names: list[str]) -> None:
    assert skipped(*(file(name) for name in names)) == dict.fromkeys(names, reason)


def skipped(*files: ChangedFile) -> dict[str, str]:
    return {one.path: one.reason for one in select(*files).skipped}


def paths(*files: ChangedFile) -> list[str]:
    return [one.path for one in select(*files).files]


def test_files_with_similar_names_are_shown() -> None:
    names = ["admin.js", "distance.py", "go.mod", "lock.py", "my-yarn.lock", "src/vendors.py"]
    assert sorted(paths(*map(file, names))) == names


def test_files_are_ordered_source_tests_documentation_removed() -> None:
    ordered = [".github/workflows/ci.yml", "src/area.py", "Makefile", "tests/test_area.py", "src/area_test.go"]
    ordered += ["ui/button.spec.ts", "README.md", "settings.yaml", "docs/guide.html"]
    sources, tests, documents = ordered[:3], ordered[3:6], ordered[6:]
    assert paths(file("gone.py", status="removed"), *map(file, documents + tests + sources)) == [*ordered, "gone.py"]


# Calls


def test_a_file_is_split_between_its_hunks() -> None:
    selection = select(long("a.py", 90, hunks=20), long("b.py", 10), tokens=3_000)
    assert selection.calls[0] == (FilePart(0, (0, 1, 2)),)
    assert selection.calls[6] == (FilePart(0, (18, 19)), FilePart(1, (0,)))
    (first,) = shown(selection)
    assert first.numbered.endswith("\n[cut here: 1530 more changed lines of this file are not shown]")
    assert first.changed == (
        ChangedLines("RIGHT", 1, 90),
        ChangedLines("RIGHT", 101, 190),
        ChangedLines("RIGHT", 201, 290),
    )
    assert cover(selection, {}, unlisted=0).is_complete


def test_rule_10_a_private_key_that_is_longer_than_a_call_is_not_shown() -> None:
    key = ["-----BEGIN RSA PRIVATE KEY-----", *["MIIEpAIBAAKCAQEA" * 4] * 40, "-----END RSA PRIVATE KEY-----"]
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


def reviewed_once(*files: ChangedFile) -> Known:
    return digest_reviewed(select(*files), ())


TWO_HUNKS = f"{PATCH}\n@@ -20,2 +20,2 @@\n def volume(side):\n-    return side * 3\n+    return side ** 3"


def test_only_hunks_with_other_lines_are_shown_again() -> None:
    now = file(patch=TWO_HUNKS.replace("** 3", "** 4"), additions=2, deletions=2)
    selection = select(now, reviewed=reviewed_once(file(patch=TWO_HUNKS)))
    assert selection.calls == ((FilePart(0, (1,)),),)
    assert shown(selection)[0].changed == (ChangedLines("LEFT", 21, 21), ChangedLines("RIGHT", 21, 21))
    assert shown(selection)[0].numbered.split("\n")[:2] == ["@@ -20,2 +20,2 @@", "R   20   def volume(side):"]
    assert "return side ** 2" not in shown(selection)[0].numbered


def test_parts_that_the_prompt_does_not_show_are_not_reviewed() -> None:
    files = [long("a.py", 60, hunks=2), long("b.py", 60)]
    selection = leave_out(select(*files, tokens=800), {1: (0,)})
    assert [len(call) for call in selection.calls] == [1, 0, 1]
    assert cover(selection, {}, unlisted=0).files == (
        FileCoverage("a.py", 120, 60, "the prompt shows only a part of it", needs_review=True),
        FileCoverage("b.py", 60, 60, None, needs_review=True),
    )
    assert len(selection.shown_patches["a.py"].hunks) == 1


def test_equal_patches_must_be_shown_as_often_as_there_are_files() -> None:
    files = shown(select(file("a.py"), file("b.py"), file("c.py", f"{PATCH}\n }}")))
    task = "".join(format_for_prompt(CodeText(one.numbered), "nonce") for one in files[1:])
    assert find_unshown({"files": files}, task) == (0, 1)
    assert find_unshown({"files": files}, task * 2) == ()


def test_patch_that_github_shortened_is_not_covered() -> None:
    selection = select(file(additions=400, deletions=1))
    assert shown(selection)[0].cut
    assert shown(selection)[0].numbered.endswith("\n[cut here: 399 more changed lines of this file are not shown]")
    assert cover(selection, {}, unlisted=0).files == (FileCoverage("area.py", 401, 2, SHORTENED, needs_review=True),)


@pytest.mark.parametrize(
    "path",
    ["src/a\u200b.py", "a\nb.py"],
)
def test_a_file_whose_name_prompts_do_not_show_as_it_is_is_not_covered(path: str) -> None:
    """A finding in it could be taken for one in a file whose name looks the same."""
    selection = select(file(path), file("src/a.py"))
    reasons = [(one.path, one.reason) for one in cover(selection, {}, unlisted=0).files]
    assert reasons == [(path, "Claude was not shown its name as it is"), ("src/a.py", None)]


NASTY = ["-----BEGIN PRIVATE", " KEY-----", "-----END PRIVATE", "MIIEpAIBAAKCAQEA", "password: ", "'hunter2x'"]
NASTY += ["@@ -1 +1 @@", "ghp_" + "a1" * 18, *"\u200b\u200d\ue000\ufeff\r\x0c\u2028\ufe0fé x"]


@given(
    st.lists(st.tuples(st.sampled_from("+- @"), st.lists(st.sampled_from(NASTY), max_size=7).map("".join)), max_size=12)
)
def test_patches_are_shown_as_they_were_selected(rows: list[tuple[str, str]]) -> None:
    patch = "\n".join("@@ -9 +9 @@" if mark == "@" else f"{mark}{text}" for mark, text in [("@", ""), *rows])
    changed = sum(mark in "+-" for mark, _ in rows)
    selection = select(file("a.py", patch, additions=changed, deletions=0))
    for one in selection.files:
        assert redact_code(one.numbered) == one.numbered  # as in a checkpoint
        text = format_for_prompt(CodeText(one.numbered), "nonce")
        assert find_unshown({"files": (one,)}, text) == ()


# Skipped files


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
        ("run.sh", {"status": "added", "sha": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"}, "binary or empty"),
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
    assert (skipped_file.reason, skipped_file.needs_review) == (reason, reason.startswith(("not shown", "too large")))


Row = tuple[str, str, str]
"""A removed or added line: path, side with number and mark ("R   11 +"), text."""

RUNS = st.tuples(st.sampled_from("+- "), st.sampled_from([0, 80, 25, 900]), st.integers(1, 12))
LINES = st.lists(RUNS, max_size=6).map(lambda runs: [(mark, length) for mark, length, n in runs for _ in range(n)])


def make_file(path: str, hunks: list[list[tuple[str, int]]]) -> tuple[ChangedFile, list[set[Row]]]:
    """Return a file and the removed and added lines of each hunk, without HLS's code. All changed lines differ."""
    rows: list[str] = []
    changed: list[set[Row]] = []
    old = new = 0
    for lines in hunks:
        old, new = old + 10, new + 10
        rows.append(f"@@ -{old} +{new} @@")
        changed.append(set())
        for mark, length in lines:
            text = f"{path} {len(rows)} ".ljust(length, "x") if length or mark != " " else ""
            rows.append(f"{mark}{text}")
            if mark != " ":
                changed[-1].add((path, f"L {old:>4} -" if mark == "-" else f"R {new:>4} +", text))
            old, new = old + (mark != "+"), new + (mark != "-")
    return file(path, "\n".join(rows), additions=sum(map(len, changed)), deletions=0), changed


def changed_rows(shown_files: Sequence[PatchedFile]) -> list[Row]:
    """Return the removed and added lines that a call shows."""
    rows = [(one.path, row[:8], row[9:]) for one in shown_files for row in one.numbered.split("\n")]
    return [row for row in rows if row[1][:2] in ("L ", "R ") and row[1][-1] in "+-"]


def changed_places(one: PatchedFile) -> set[tuple[str, int]]:
    return {(lines.side[0], number) for lines in one.changed for number in range(lines.first, lines.last + 1)}


def places(rows: Collection[Row]) -> set[tuple[str, int]]:
    return {(label[0], int(label[1:6])) for _, label, _ in rows}


@given(
    st.lists(st.tuples(st.sampled_from(["a.py", "a.md", "t/test_a.py", "uv.lock"]), st.lists(LINES, max_size=3))),
    st.integers(90, 600),
    st.sampled_from([1, 3, 30]),
    st.sets(st.integers(0, 3)),
)
def test_calls_fit_and_coverage_adds_up(
    given_files: list[tuple[str, list[list[tuple[str, int]]]]], tokens: int, max_calls: int, refused: set[int]
) -> None:
    made = [make_file(f"{index}/{path}", hunks) for index, (path, hunks) in enumerate(given_files)]
    files = [one for one, _ in made]
    selection = select(*files, tokens=tokens, max_calls=max_calls)
    calls = [shown(selection, call) for call in range(len(selection.calls))]
    assert len(calls) <= max_calls
    for call in calls:
        texts = [one.numbered.partition("\n[cut here")[0] for one in call]
        assert sum(estimate_tokens(text) + 100 for text in texts) <= tokens
        assert all(changed_places(one) == places(changed_rows([one])) for one in call)
    rows = [row for call in calls for row in changed_rows(call)]
    assert len(rows) == len({*rows})
    unanswered = {number: "Claude refused" for number in refused if number < len(calls)}
    read = {row for number, call in enumerate(calls) if number not in unanswered for row in changed_rows(call)}
    coverage = {one.path: one for one in cover(selection, unanswered, unlisted=0).files}
    assert sorted(coverage) == sorted(one.path for one in files)
    again = select(*files, reviewed=digest_reviewed(selection, unanswered))
    shown_again = {row for call in range(len(again.calls)) for row in changed_rows(shown(again, call))}
    for one, hunks in made:
        if coverage[one.path].needs_review:
            own = {row for changed in hunks for row in changed}
            # A blank line belongs to no block, and counts as reviewed, unless nothing else of the file was.
            written = {row for row in own if row[2].strip()}
            unread = written - read
            reviewed = 0 if unread and unread == written else len(own) - len(unread)
            assert (coverage[one.path].lines, coverage[one.path].reviewed) == (len(own), reviewed)
            assert (coverage[one.path].reason is None) == (bool(hunks) and not unread)
            if coverage[one.path].reason != LONG_LINE and selection.limit == LONG_LINE:
                assert unread <= shown_again


def test_no_line_of_a_file_that_claude_was_not_shown_is_reviewed() -> None:
    selection = select(file("a.py", "@@ -0,0 +1,3 @@\n+x = 1\n+\n+y = 2", additions=3, deletions=0))
    (covered,) = cover(selection, {0: "the budget for reviews is used up"}, unlisted=0).files
    assert (covered.reviewed, covered.lines) == (0, 3)
