"""Positions of findings in a patch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hls_handler.analysis import Finding
from hls_handler.review.patches import Patch, Side, normalize_line, numbered, parse_numbered, parse_patch
from hls_handler.review.positions import find_lines, merge_findings
from hls_handler.untrusted.cleaning import escape_delimiters

PATCH = parse_patch("""\
@@ -10,5 +10,6 @@
 def area(side):
-    return side * 2
+    if side < 0:
+        raise ValueError
+    return side ** 2
\x20
\x20
@@ -40,3 +41,4 @@
 def old():
-    log("x")
-    log("y")
+    log("x")
+    pass
+    pass
 end""")


def locate_findings(
    findings: Sequence[Finding], patches: Mapping[str, Patch]
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Return the findings at the lines that they quote, merged, and those without such a line."""
    located, lost = find_lines(findings, patches)
    return merge_findings(located), lost


def finding(**changes: Any) -> Finding:
    """Return a finding at the new line 13, `return side ** 2`, with changes."""
    defaults: dict[str, Any] = {
        "path": "area.py",
        "side": "RIGHT",
        "start_line": None,
        "line": 13,
        "quote": "    return side ** 2",
        "severity": "medium",
        "category": "bugs",
        "confidence": 0.5,
        "title": "T",
        "body": "B",
        "suggestion": None,
    }
    return Finding.model_validate({**defaults, **changes})


def place(patch: Patch = PATCH, **changes: Any) -> tuple[Side, int | None, int] | None:
    """Return the position of the located finding; None if it is not located."""
    found, unlocated = locate_findings([finding(**changes)], {"area.py": patch})
    assert len(found) + len(unlocated) == 1
    return (found[0].side, found[0].start_line, found[0].line) if found else None


@pytest.mark.parametrize(
    "quote",
    [
        "    return side ** 2",
        "return  side\t** 2\t",
        "+    return side ** 2",
        "R   13 +     return side ** 2",
        "        raise ValueError\n    return side ** 2\n",
        "R   12 +         raise ValueError\n+\nR   13 +     return side ** 2",
        "-    return side * 2\n+    if side < 0:\n+        raise ValueError\n+    return side ** 2",
        "def area(side):\n    if side < 0:\n\n        raise ValueError\n    return side ** 2",
        "return\u200b side\u00a0** 2\r",
        "return\ufe0d side\u3164 ** 2",
    ],
    ids=[
        "exact",
        "other blanks",
        "with its mark",
        "with its number",
        "a whole range",
        "numbered",
        "removed lines, too",
        "new lines",
        "invisible",
        "cleaned away",
    ],
)
def test_a_finding_stays_at_the_line_that_it_quotes(quote: str) -> None:
    assert place(quote=quote) == ("RIGHT", None, 13)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"line": 33}, ("RIGHT", None, 13)),
        ({"line": 12}, ("RIGHT", None, 13)),
        ({"side": "LEFT", "line": 13}, ("RIGHT", None, 13)),
        ({"side": "LEFT", "line": 2, "quote": "return side * 2"}, ("LEFT", None, 11)),
        ({"line": 11, "quote": "return side * 2"}, ("LEFT", None, 11)),
        ({"line": 40, "quote": 'log("x")'}, ("RIGHT", None, 42)),
        ({"side": "LEFT", "line": 40, "quote": 'log("x")'}, ("LEFT", None, 41)),
        ({"line": 46, "quote": "pass"}, ("RIGHT", None, 44)),
        ({"line": 42, "quote": "pass"}, ("RIGHT", None, 43)),
    ],
    ids=[
        "20 lines away",
        "next to it",
        "other side",
        "removed",
        "removed, by the other side",
        "own side",
        "own side, left",
        "nearest above",
        "nearest below",
    ],
)
def test_a_finding_moves_to_the_nearest_line_that_it_quotes(changes: dict[str, Any], expected: object) -> None:
    assert place(**changes) == expected


LONG_LINE = f"{'a' * 900}run(eval(request.body)){'b' * 900}"
LONG = parse_patch(f"@@ -0,0 +1,3 @@\n+short()\n+{LONG_LINE}\n+{'c' * 999}")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"line": 2, "quote": "a" * 900 + "run(eval"}, ("RIGHT", None, 2)),
        ({"line": 2, "quote": "R    2 + aaaarun(eval(request.body))"}, ("RIGHT", None, 2)),
        ({"line": 9, "quote": "run(eval(request.body))"}, ("RIGHT", None, 2)),
        ({"line": 2, "start_line": 1, "quote": "run(eval(request.body))"}, ("RIGHT", 1, 2)),
        ({"line": 2, "quote": "eval(request.body)"}, None),
        ({"line": 3, "quote": "c" * 998}, ("RIGHT", None, 3)),
    ],
    ids=["beginning", "inside", "moved", "range", "less than 20 characters", "line that a quote can hold"],
)
def test_a_line_is_found_by_a_part_if_no_line_equals_the_quote(
    changes: dict[str, Any], expected: tuple[Side, int | None, int] | None
) -> None:
    assert place(LONG, **changes) == expected


def test_a_quote_of_several_lines_is_found_below_the_right_one_of_equal_lines() -> None:
    twice = parse_patch("@@ -0,0 +1,6 @@\n+if a:\n+    call()\n+if b:\n+    call()\n+if c:\n+    call()")
    assert place(twice, line=5, quote="if a:\n    call()") == ("RIGHT", None, 2)
    assert place(twice, line=2, quote="if b:\n    call()") == ("RIGHT", None, 4)
    assert place(twice, line=4, quote="if d:\n    call()") is None


def test_suggestion_for_one_of_several_equal_lines_is_kept_only_on_its_line() -> None:
    twice = parse_patch("@@ -0,0 +1,4 @@\n+call()\n+if b:\n+a = 1\n+call()")
    given = [finding(line=line, quote="call()", suggestion="run()", title=str(line)) for line in (1, 3, 4)]
    located = [locate_findings([one], {"area.py": twice})[0][0] for one in given]
    assert [(one.line, one.suggestion) for one in located] == [(1, "run()"), (4, None), (4, "run()")]


def test_suggestion_for_a_line_of_which_only_a_part_is_quoted_is_deleted() -> None:
    quoting = finding(line=2, quote="run(eval(request.body))", suggestion="run(request.body)")
    (located,) = locate_findings([quoting], {"area.py": LONG})[0]
    assert located.suggestion is None


TIE = parse_patch("@@ -0,0 +1,3 @@\n+pass\n+other()\n+pass\n@@ -9 +9 @@\n-pass\n+done()")


@pytest.mark.parametrize(
    ("patch", "changes"),
    [
        (PATCH, {"path": "other.py"}),
        (PATCH, {"quote": "return side"}),
        (PATCH, {"quote": "return side**2"}),
        (PATCH, {"quote": "return si de ** 2"}),
        (PATCH, {"quote": "other()\n    return side ** 2"}),
        (PATCH, {"quote": "if side < 0:\n    return side ** 2"}),
        (PATCH, {"quote": "raise ValueError\nif side < 0:\n    return side ** 2"}),
        (PATCH, {"quote": "def area(side):\nreturn side * 2\nraise ValueError\nreturn side ** 2"}),
        (PATCH, {"quote": "def before():\ndef area(side):", "line": 10}),
        (PATCH, {"quote": "return side ** 2\ndef old():", "line": 41}),
        (PATCH, {"line": 34}),
        (TIE, {"line": 2, "quote": "pass"}),
        (PATCH, {"line": 1, "quote": " "}),
        (PATCH, {"line": 13, "quote": ""}),
    ],
    ids=[
        "file",
        "part of a line",
        "blanks that are missing",
        "one more blank",
        "another line above",
        "a line left out",
        "another order",
        "lines of both files with one left out",
        "a line above the hunk",
        "lines of two hunks",
        "21 lines away",
        "two lines equally near",
        "blank",
        "nothing",
    ],
)
def test_a_finding_without_a_line_is_unlocated(patch: Patch, changes: dict[str, Any]) -> None:
    unlocated = finding(**changes)
    assert locate_findings([unlocated], {"area.py": patch}) == ((), (unlocated,))


def test_a_finding_without_a_quote_has_no_line() -> None:
    assert place(line=14, quote="") is None


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("src/a\u200bb.py", "src/ab.py"),
        ("<untrusted.yml", "‹untrusted.yml"),
        ("a.py", "a.py"),
        ("token=<untrusted.yml", "token=‹untrusted.yml"),
    ],
)
def test_a_path_is_found_as_it_is_shown(path: str, shown: str) -> None:
    (located,) = locate_findings([finding(path=shown)], {path: PATCH})[0]
    assert (located.path, located.line) == (path, 13)


@pytest.mark.parametrize("paths", [("a\u200b.py", "a.py"), ("a.py", "a\u200b.py")])
def test_of_two_paths_that_look_the_same_the_one_with_the_quote_is_meant(paths: tuple[str, str]) -> None:
    patches = {path: parse_patch("@@ -0,0 +1 @@\n+import os") for path in paths}
    patches["a\u200b.py"] = PATCH
    (located,) = locate_findings([finding(path="a.py")], patches)[0]
    assert (located.path, located.line) == ("a\u200b.py", 13)


@pytest.mark.parametrize("line", ["run(user)  # <untrusted", "x = '</untrusted'; run(user)"])
def test_a_quote_of_a_line_that_imitates_a_delimiter_is_found(line: str) -> None:
    patch = parse_patch(f"@@ -0,0 +1,2 @@\n+import os\n+{line}")
    shown = escape_delimiters(line, "nonce")
    for quote in (line, shown, f"import os\n{shown}"):
        (located,), _ = locate_findings([finding(path="a.py", line=2, quote=quote)], {"a.py": patch})
        assert located.line == 2


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"start_line": 12}, ("RIGHT", 12, 13)),
        ({"start_line": 10}, ("RIGHT", 10, 13)),
        ({"start_line": 1}, ("RIGHT", 10, 13)),
        ({"start_line": -(10**12)}, ("RIGHT", 10, 13)),
        ({"start_line": 13}, ("RIGHT", None, 13)),
        ({"start_line": 99}, ("RIGHT", None, 13)),
        ({"start_line": 8, "line": 9}, ("RIGHT", 12, 13)),
        ({"start_line": 30, "line": 40, "quote": 'log("x")'}, ("RIGHT", 41, 42)),
        ({"side": "LEFT", "start_line": 41, "line": 42, "quote": 'log("y")'}, ("LEFT", 41, 42)),
        ({"side": "LEFT", "start_line": 40, "line": 42, "quote": 'log("y")'}, ("LEFT", 41, 42)),
        ({"side": "LEFT", "start_line": 10, "line": 11, "quote": "return side * 2"}, ("LEFT", None, 11)),
    ],
    ids=[
        "a range",
        "from the hunk's first line",
        "from above the hunk",
        "from far above",
        "one line",
        "upside down",
        "moved with its range",
        "from another hunk",
        "of removed lines",
        "removed lines and one more",
        "nothing removed above",
    ],
)
def test_a_range_is_cut_to_lines_of_one_hunk(changes: dict[str, Any], expected: object) -> None:
    assert place(**changes) == expected


@pytest.mark.parametrize(
    ("changes", "has_suggestion"),
    [
        ({}, True),
        ({"start_line": 12}, True),
        ({"start_line": 13}, True),
        ({"line": 20}, True),
        ({"side": "LEFT"}, True),
        ({"start_line": 2}, False),
        ({"start_line": 15}, False),
        ({"start_line": 11, "line": 12}, False),
        ({"side": "LEFT", "start_line": 12}, False),
        ({"side": "LEFT", "line": 11, "quote": "return side * 2"}, False),
    ],
    ids=[
        "a line",
        "a range",
        "a range of one line",
        "a line that moved",
        "a line of the other side",
        "a range that was cut",
        "a range upside down",
        "a range that moved",
        "a range of the other side",
        "removed lines",
    ],
)
def test_suggestion_is_kept_only_if_it_replaces_exactly_the_named_lines(
    changes: dict[str, Any], has_suggestion: bool
) -> None:
    (located,) = locate_findings([finding(suggestion="    return 1", **changes)], {"area.py": PATCH})[0]
    assert located.suggestion == ("    return 1" if has_suggestion else None)


@pytest.mark.parametrize(
    ("suggestion", "kept"),
    [
        ("        raise ValueError\n    return side ** 3", "        raise ValueError\n    return side ** 3"),
        ("    return side ** 3\n", "    return side ** 3"),
        ("", ""),
        ("        raise ValueError\n    return side ** 2", None),
        ("        raise ValueError\n    return side ** 2\n", None),
        ("\n", None),
        ("    return 1\r\n    return 2", None),
        ("raise ValueError\nreturn side ** 3", None),
        ("return '\u202e'", None),
        ("token = 'ghp_0123456789abcdefghijklmnopqrstuvwxyzAB'", None),
        ("token = '[redacted: github-token]'", None),
        ("```\n```", None),
        (" def area(side):\n    return 1", " def area(side):\n    return 1"),
        ("    if side < 0:\n    return 1", None),
    ],
    ids=[
        "other lines",
        "a newline at its end",
        "deletion",
        "the same lines",
        "the same lines and a newline",
        "an empty line",
        "other line ends",
        "without the indentation",
        "invisible character",
        "credential",
        "a redacted credential",
        "fence",
        "a line farther above",
        "the line above",
    ],
)
def test_suggestion_is_kept_only_if_it_changes_something_and_is_posted_as_it_is(
    suggestion: str, kept: str | None
) -> None:
    (located,) = locate_findings([finding(suggestion=suggestion, start_line=12)], {"area.py": PATCH})[0]
    assert located.suggestion == kept


@pytest.mark.parametrize(
    ("line", "suggestion"),
    [(2, "if b:\n    call()"), (4, "page = '\x0c x'"), (5, "password = 'changed'")],
    ids=["repeats the line below", "form feed", "redacted credential"],
)
def test_suggestion_that_would_damage_the_code_is_deleted(line: int, suggestion: str) -> None:
    lines = ["", "if a:", "    call()", "page = '\x0c'", "password = '[redacted: password]'"]
    patch = parse_patch("@@ -0,0 +1,5 @@\n" + "\n".join(f"+{text}" for text in lines))
    given = finding(line=line, quote=lines[line - 1], suggestion=suggestion)
    (located,) = locate_findings([given], {"area.py": patch})[0]
    assert (located.line, located.suggestion) == (line, None)


def test_suggestion_that_differs_only_in_the_line_end_changes_nothing() -> None:
    crlf = parse_patch("@@ -1 +1,2 @@\n one\r\n+two\r")
    (located,) = locate_findings([finding(line=2, quote="two", suggestion="two")], {"area.py": crlf})[0]
    assert located.suggestion is None


def test_a_range_does_not_run_into_a_neighbouring_hunk() -> None:
    neighbours = parse_patch("@@ -0,0 +1,2 @@\n+one\n+two\n@@ -9,0 +3,2 @@\n+three\n+four")
    assert place(neighbours, start_line=1, line=4, quote="four") == ("RIGHT", 3, 4)


def test_the_worst_finding_comes_first_then_by_file_and_line() -> None:
    patches = {"a.py": PATCH, "b.py": PATCH}
    findings = [
        finding(path="a.py", severity="low", category="style", title="5"),
        finding(path="b.py", severity="medium", category="style", title="4"),
        finding(path="b.py", severity="high", title="3"),
        finding(path="a.py", severity="high", title="2"),
        finding(path="a.py", severity="high", line=12, quote="raise ValueError", title="1"),
        finding(path="b.py", severity="critical", category="security", title="0"),
    ]
    titles = [located.title for located in locate_findings(findings, patches)[0]]
    assert titles == ["0", "1", "2", "3", "4", "5"]


def test_findings_of_one_category_on_one_line_are_merged() -> None:
    findings = [
        finding(severity="low", title="Slow", body="It is slow.", line=30),
        finding(severity="high", title="Wrong", body="It is wrong.", start_line=12),
        finding(severity="medium", title="Wrong again", body="It  is wrong."),
        finding(severity="low", category="style", title="Ugly"),
    ]
    located = locate_findings(findings, {"area.py": PATCH})[0]
    assert [(found.title, found.severity, found.start_line, found.body) for found in located] == [
        ("Wrong", "high", 12, "It is wrong.\n\n**Slow**\n\nIt is slow."),
        ("Ugly", "low", None, "B"),
    ]


@pytest.mark.parametrize(
    ("start_line", "expected"), [(11, (11, None)), (12, (12, "    return 1")), (None, (12, "    return 1"))]
)
def test_merged_findings_have_the_lines_of_both(start_line: int | None, expected: object) -> None:
    first = finding(severity="high", title="Wrong", start_line=12, suggestion="    return 1")
    other = finding(severity="low", title="Slow", start_line=start_line)
    (merged,) = locate_findings([first, other], {"area.py": PATCH})[0]
    assert (merged.start_line, merged.suggestion) == expected


def test_order_of_the_reply_does_not_matter() -> None:
    findings = [finding(title="Wrong", body="It is wrong."), finding(title="Slow", body="It is slow.")]
    results = [locate_findings(reply, {"area.py": PATCH})[0] for reply in (findings, findings[::-1])]
    assert [[(one.title, one.body) for one in located] for located in results] == [
        [("Slow", "It is slow.\n\n**Wrong**\n\nIt is wrong.")]
    ] * 2


def test_finding_with_higher_confidence_comes_first() -> None:
    findings = [
        finding(title="Perhaps", body="It may be slow.", confidence=0.3),
        finding(title="Surely", body="It is wrong.", confidence=0.9),
    ]
    located = locate_findings(findings, {"area.py": PATCH})[0]
    assert [(found.title, found.body) for found in located] == [
        ("Surely", "It is wrong.\n\n**Perhaps**\n\nIt may be slow.")
    ]


def test_findings_are_not_located_on_lines_that_were_cut_off() -> None:
    shown = parse_numbered("@@ -10,5 +10,6 @@\nR   10   def area(side):\n[cut here to fit: 4 more]")
    assert place(shown) is None


TEXTS = st.sampled_from(
    [
        "",
        " ",
        "\t",
        "a",
        "b",
        "c",
        "+ a",
        "- b",
        "R    1 + a",
        "@@ -1 +1 @@",
        "-- a",
        "++ b",
        "\\ No newline at end of file",
        "a\r",
        "a\x0cb",
        "a\u2028b",
        "\x85",
        "\ud800",
        "\ufeffa",
        "l" * 65_000,
        "l" * 30,
    ]
)


@dataclass(frozen=True)
class Change:
    """An old and a new file, and the patch between them as GitHub shows it; None if it shows none."""

    old: list[str]  # lines without "\n"
    new: list[str]
    patch: str | None


@dataclass(frozen=True)
class Accepted:
    """What GitHub accepts: (side, number) -> (hunk, text) of the lines that the patch shows."""

    lines: dict[tuple[str, int], tuple[int, str]]
    result: list[str]  # the old file with the patch applied


def apply_patch(old: list[str], patch: str | None) -> Accepted:
    """Apply a patch without HLS's code: each hunk takes as many lines as its header counts."""
    shown: dict[tuple[str, int], tuple[int, str]] = {}
    result: list[str] = []
    done, hunk = 0, 0
    rows = (patch or "").split("\n") if patch else []
    while rows:
        _, removed, added, *_ = rows.pop(0).split(" ")
        counts = [int(part) for part in f"{removed[1:]},1".split(",")[:2] + f"{added[1:]},1".split(",")[:2]]
        old_start, old_count, new_start, new_count = counts
        at_old, at_new = old_start + (old_count == 0), new_start + (new_count == 0)
        result += old[done : at_old - 1]
        assert len(result) == at_new - 1
        end_old, end_new = at_old + old_count, at_new + new_count
        while at_old < end_old or at_new < end_new or (rows and rows[0].startswith("\\")):
            mark, text = rows[0][0], rows.pop(0)[1:]
            if mark in " -":
                assert old[at_old - 1] == text
                if mark == "-":
                    shown["LEFT", at_old] = (hunk, text)
                at_old += 1
            if mark in " +":
                result.append(text)
                shown["RIGHT", at_new] = (hunk, text)
                at_new += 1
        done, hunk = at_old - 1, hunk + 1
    return Accepted(shown, result + old[done:])


@st.composite
def any_change(draw: st.DrawFn) -> Change:
    """Two versions of a file: edited, added, removed, renamed without changes, or binary."""
    old = draw(st.lists(TEXTS, max_size=25))
    new = list(old)
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(new)))
        new[start : start + draw(st.integers(0, 4))] = draw(st.lists(TEXTS, max_size=4))
    if draw(st.integers(0, 9)) == 0:
        return Change(old, old, draw(st.sampled_from([None, ""])))  # binary, or renamed without changes
    has_newline = [draw(st.booleans()), draw(st.booleans())]
    ended = [
        [f"{line}\n" for line in lines[:-1]] + [f"{line}\n" if has_end else line for line in lines[-1:]]
        for lines, has_end in zip((old, new), has_newline, strict=True)
    ]
    rows = list(unified_diff(ended[0], ended[1], n=draw(st.integers(0, 4))))[2:]
    text = "".join(row if row.endswith("\n") else f"{row}\n\\ No newline at end of file\n" for row in rows)
    return Change(old, new, text.removesuffix("\n") or None)


@st.composite
def any_finding(draw: st.DrawFn, change: Change) -> Finding:
    """A finding with a quote of the files or of nothing, often at its line; every field may be wrong."""
    side: str = draw(st.sampled_from(["LEFT", "RIGHT"]))
    lines = change.old if side == "LEFT" else change.new
    index = draw(st.integers(0, max(len(lines) - 1, 0)))
    quote: str = lines[index] if bool(lines) and draw(st.booleans()) else draw(TEXTS)
    number: int = draw(st.integers(index + 1, index + 1) | st.integers(-3, 40) | st.just(10**12))
    start: int | None = draw(st.one_of(st.none(), st.integers(number - 4, number), st.integers(-3, 40)))
    return finding().model_copy(
        update={
            "path": draw(st.sampled_from(["area.py", "area.py", "area.py", "b.py"])),
            "side": side,
            "start_line": start,
            "line": number,
            "quote": draw(st.sampled_from(["", "x\n", "+"])) + quote,
            "severity": draw(st.sampled_from(["critical", "low"])),
            "suggestion": draw(st.none() | st.lists(TEXTS, max_size=3).map("\n".join)),
        }
    )


def visible(text: str) -> str:
    """Return the text without blanks and characters that nobody sees, which quotes may lack."""
    return "".join(text.replace("\ufeff", "").replace("\ud800", "\ufffd").split()).replace("\x85", "")


@settings(max_examples=150)
@given(st.data(), any_change(), st.booleans())
def test_located_findings_are_accepted_by_github(data: st.DataObject, change: Change, is_shown_to_claude: bool) -> None:
    accepted = apply_patch(change.old, change.patch)
    assert accepted.result == change.new
    patch = parse_patch(change.patch or "")
    if is_shown_to_claude:
        patch = parse_numbered(numbered(patch))
    findings = data.draw(st.lists(any_finding(change), max_size=5))
    located, unlocated = locate_findings(findings, {"area.py": patch})
    assert len(located) + len(unlocated) <= len(findings)
    assert bool(findings) == bool(located or unlocated)
    for found in located:
        start = found.start_line if found.start_line is not None else found.line
        assert found.path == "area.py"
        assert found.start_line is None or found.start_line < found.line
        assert len({accepted.lines[found.side, number][0] for number in range(start, found.line + 1)}) == 1
        quote, text = visible(found.quote.split("\n")[-1]), visible(accepted.lines[found.side, found.line][1])
        assert quote.endswith(text) or (len(text) > 1_000 and len(quote) >= 20 and quote.lstrip("+") in text)
        if found.suggestion is not None:
            named = [
                one
                for one in findings
                if one.suggestion is not None and one.suggestion.removesuffix("\n") == found.suggestion
            ]
            assert found.side == "RIGHT"
            assert any(found.line - start == one.line - (one.start_line or one.line) for one in named)
            replacement = found.suggestion.split("\n") if found.suggestion else []  # "" deletes the lines
            suggested = [*change.new[: start - 1], *replacement, *change.new[found.line :]]
            assert suggested != change.new


@given(any_change())
def test_every_line_that_github_shows_can_be_found_by_its_own_text(change: Change) -> None:
    accepted = apply_patch(change.old, change.patch)
    patches = {"area.py": parse_patch(change.patch or "")}
    shown = {place: text[:1_000] for place, (_, text) in accepted.lines.items()}
    for (side, number), text in ((place, text) for place, text in shown.items() if normalize_line(text)):
        (located,), _ = locate_findings(
            [finding().model_copy(update={"side": side, "line": number, "quote": text})], patches
        )
        assert (located.side, located.line) == (side, number)
