"""Anchoring of findings to lines of a patch."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hls_handler.analysis import Finding
from hls_handler.review.patches import Patch, Side, parse_numbered, parse_patch
from hls_handler.review.positions import locate_findings

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
    """Return the position of the anchored finding; None if it is dropped."""
    found, dropped = locate_findings([finding(**changes)], {"area.py": patch})
    assert len(found) + dropped == 1
    return (found[0].side, found[0].start_line, found[0].line) if found else None


@pytest.mark.parametrize(
    "quote",
    [
        "    return side ** 2",
        "return  side **2\t",
        "+    return side ** 2",
        "R   13 +     return side ** 2",
        "        raise ValueError\n    return side ** 2\n",
        "return\u200b side\u00a0** 2\r",
        "return\ufe0d side\u3164 ** 2",
    ],
    ids=["exact", "other blanks", "with its mark", "with its number", "a whole range", "invisible", "cleaned away"],
)
def test_a_finding_stays_at_the_line_that_it_quotes(quote: str) -> None:
    assert place(quote=quote) == ("RIGHT", None, 13)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"line": 99}, ("RIGHT", None, 13)),
        ({"line": 12}, ("RIGHT", None, 13)),
        ({"side": "LEFT", "line": 13}, ("RIGHT", None, 13)),
        ({"side": "LEFT", "line": 2, "quote": "return side * 2"}, ("LEFT", None, 11)),
        ({"line": 11, "quote": "return side * 2"}, ("LEFT", None, 11)),
        ({"line": 1, "quote": 'log("x")'}, ("RIGHT", None, 42)),
        ({"side": "LEFT", "line": 1, "quote": 'log("x")'}, ("LEFT", None, 41)),
    ],
    ids=["beyond", "next to it", "other side", "removed", "removed, by the other side", "own side", "own side, left"],
)
def test_a_finding_moves_to_the_only_line_that_it_quotes(changes: dict[str, Any], expected: object) -> None:
    assert place(**changes) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "other.py"},
        {"quote": "return side"},
        {"line": 1, "quote": "pass"},
        {"line": 1, "quote": " "},
        {"line": 13, "quote": ""},
    ],
    ids=["file", "part of a line", "two lines", "blank", "nothing"],
)
def test_a_finding_without_a_line_is_dropped(changes: dict[str, Any]) -> None:
    assert place(**changes) is None


def test_a_finding_about_an_empty_line_stays_there() -> None:
    assert place(line=14, quote="") == ("RIGHT", None, 14)


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
        ({"start_line": 10, "line": 42, "quote": 'log("x")'}, ("RIGHT", 41, 42)),
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
        ({"line": 1}, True),
        ({"start_line": 2}, False),
        ({"side": "LEFT", "line": 11, "quote": "return side * 2"}, False),
    ],
    ids=["a line", "a range", "a range of one line", "moved", "a range that was cut", "removed lines"],
)
def test_suggestion_is_dropped_if_it_cannot_be_applied(changes: dict[str, Any], has_suggestion: bool) -> None:
    (anchored,) = locate_findings([finding(suggestion="return 1", **changes)], {"area.py": PATCH})[0]
    assert anchored.suggestion == ("return 1" if has_suggestion else None)


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
    titles = [anchored_finding.title for anchored_finding in locate_findings(findings, patches)[0]]
    assert titles == ["0", "1", "2", "3", "4", "5"]


def test_findings_of_one_category_on_one_line_are_merged() -> None:
    findings = [
        finding(severity="low", title="Slow", body="It is slow.", line=99),
        finding(severity="high", title="Wrong", body="It is wrong.", start_line=12),
        finding(severity="medium", title="Wrong again", body="It  is wrong."),
        finding(severity="low", category="style", title="Ugly"),
    ]
    anchored = locate_findings(findings, {"area.py": PATCH})[0]
    assert [(found.title, found.severity, found.start_line, found.body) for found in anchored] == [
        ("Wrong", "high", 12, "It is wrong.\n\n**Slow**\n\nIt is slow."),
        ("Ugly", "low", None, "B"),
    ]


def test_finding_with_higher_confidence_comes_first() -> None:
    findings = [
        finding(title="Perhaps", body="It may be slow.", confidence=0.3),
        finding(title="Surely", body="It is wrong.", confidence=0.9),
    ]
    anchored = locate_findings(findings, {"area.py": PATCH})[0]
    assert [(found.title, found.body) for found in anchored] == [
        ("Surely", "It is wrong.\n\n**Perhaps**\n\nIt may be slow.")
    ]


def test_findings_are_not_anchored_to_lines_that_were_cut_off() -> None:
    shown = parse_numbered("@@ -10,5 +10,6 @@\nR   10   def area(side):\n[cut here to fit: 4 more]")
    assert place(shown) is None


TEXTS = st.sampled_from(["", " ", "a", "b", "+ a", "R 1 + a", "a\nb", "\ud800", "\u2028", "a" * 50])
NUMBERS = st.one_of(st.integers(-3, 30), st.just(10**12))
PATCHES = st.lists(
    st.one_of(
        st.builds("@@ -{} +{} @@".format, st.integers(0, 20), st.integers(0, 20)),
        st.builds("{}{}".format, st.sampled_from("+- "), TEXTS.map(lambda text: text.replace("\n", ""))),
    ),
    max_size=25,
).map("\n".join)


@st.composite
def any_finding(draw: st.DrawFn) -> Finding:
    return finding().model_copy(
        update={
            "path": draw(st.sampled_from(["area.py", "b.py", ""])),
            "side": draw(st.sampled_from(["LEFT", "RIGHT"])),
            "start_line": draw(st.none() | NUMBERS),
            "line": draw(NUMBERS),
            "quote": draw(TEXTS),
            "severity": draw(st.sampled_from(["critical", "low"])),
        }
    )


@settings(max_examples=300)
@given(st.lists(any_finding(), max_size=6), PATCHES)
def test_anchors_of_any_finding_are_in_the_patch(findings: list[Finding], text: str) -> None:
    patch = parse_patch(text)
    found, dropped = locate_findings(findings, {"area.py": patch})
    for anchored_finding in found:
        assert anchored_finding.path == "area.py"
        in_hunks = [{(line.side, line.number) for line in hunk.lines} for hunk in patch.hunks]
        start = anchored_finding.start_line if anchored_finding.start_line is not None else anchored_finding.line
        assert start < anchored_finding.line or anchored_finding.start_line is None
        wanted = {(anchored_finding.side, number) for number in range(start, anchored_finding.line + 1)}
        assert any(wanted <= lines for lines in in_hunks)
    assert len(found) + dropped <= len(findings)
    assert bool(findings) == bool(found or dropped)
