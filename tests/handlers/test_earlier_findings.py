"""The state of findings that our comment has shown, after a push."""

from __future__ import annotations

import pytest

from hls_handler.handlers.earlier_findings import (
    EarlierFinding,
    OpenFinding,
    dump_earlier,
    follow_up,
    locate_open,
    parse_earlier,
    remember,
    without_repeated,
)
from hls_handler.review.patches import Patch, parse_patch
from tests.handlers.world import finding

BEFORE = """@@ -1,2 +1,4 @@
 def area(side):
-    return side * 2
+    total = side ** 2
+    log(total)
     return total"""
CHANGED_BESIDE = BEFORE.replace("** 2", "** 3").replace("def area", "def volume").replace("return total", "return 0")
REPLACED = BEFORE.replace("log(total)", "log('done')")
FOUND = finding(path="area.py", line=3, quote="    log(total)", title="Logs a secret")


def patches(text: str = BEFORE, path: str = "area.py") -> dict[str, Patch]:
    return {path: parse_patch(text)}


def state_after(text: str | None, *, unread: tuple[str, ...] = ()) -> str:
    earlier = remember([FOUND], patches())
    now = {} if text is None else patches(text)
    return follow_up(earlier, now, unread=unread)[0].state


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (BEFORE, "open"),
        (BEFORE.replace("+1,4", "+8,4"), "open"),
        (CHANGED_BESIDE, "open"),
        ("@@ -80,2 +90,3 @@\n other()\n+\tlog( total )\n another()", "open"),
        (REPLACED, "fixed"),
        (BEFORE.replace("+    log(total)", "-    log(total)"), "fixed"),
        ("@@ -90,1 +90,2 @@\n other()\n+another()", "gone"),
        (None, "gone"),
    ],
    ids=[
        "nothing changed",
        "moved",
        "lines around it changed",
        "moved to other lines and indented",
        "line replaced",
        "line removed from the base",
        "place gone",
        "file gone",
    ],
)
def test_state_of_an_earlier_finding(text: str | None, state: str) -> None:
    assert state_after(text) == state


def test_finding_in_a_file_that_was_not_read_completely_stays_open() -> None:
    assert state_after(None, unread=("area.py",)) == "open"


def test_finding_that_was_fixed_stays_fixed_until_its_line_is_back() -> None:
    fixed = follow_up(remember([FOUND], patches()), patches(REPLACED), unread=())
    assert follow_up(fixed, {}, unread=())[0].state == "fixed"
    assert follow_up(fixed, {}, unread=("area.py",))[0].state == "fixed"
    assert follow_up(fixed, patches(), unread=())[0].state == "open"


def test_finding_about_a_removed_line_is_fixed_when_the_line_is_restored() -> None:
    removed = FOUND.model_copy(update={"side": "LEFT", "line": 2, "quote": "    return side * 2"})
    earlier = remember([removed], patches())
    assert follow_up(earlier, patches(CHANGED_BESIDE), unread=())[0].state == "open"
    restored = patches(BEFORE.replace("-    return", "     return"))
    assert follow_up(earlier, restored, unread=())[0].state == "fixed"
    assert locate_open(earlier, patches()) == (OpenFinding("area.py", "LEFT", 2, "high", "Logs a secret"),)


def test_repeated_finding_is_matched_by_file_and_line_in_any_indentation() -> None:
    moved = patches(BEFORE.replace("+    log(total)", "+\tlog( total )"))
    again = FOUND.model_copy(update={"title": "Another title", "quote": "\tlog( total )"})
    assert without_repeated(remember([FOUND], patches()), remember([again], moved), moved) == ()
    other = FOUND.model_copy(update={"path": "b.py"})
    both = patches() | patches(path="b.py")
    assert len(without_repeated(remember([FOUND], patches()), remember([other], both), both)) == 1


def test_open_finding_has_the_line_on_which_it_is_now() -> None:
    earlier = remember([FOUND], patches())
    assert locate_open(earlier, patches(BEFORE.replace("+1,4", "+8,4"))) == (
        OpenFinding("area.py", "RIGHT", 10, "high", "Logs a secret"),
    )
    assert locate_open(earlier, {}) == (OpenFinding("area.py", "RIGHT", None, "high", "Logs a secret"),)


def test_state_is_stored_as_json_and_read_back() -> None:
    earlier = remember([FOUND], patches())
    assert parse_earlier(dump_earlier(earlier)) == earlier
    assert dump_earlier(()) is None


@pytest.mark.parametrize("state", [None, "", "[]", "[1]", "{"])
def test_state_of_another_version_has_no_findings(state: str | None) -> None:
    assert parse_earlier(state) == ()


def test_remembered_finding_has_its_line_and_its_place() -> None:
    (remembered,) = remember([FOUND], patches())
    assert remembered == EarlierFinding(
        path="area.py",
        side="RIGHT",
        quote="log(total)",
        nearby=("defarea(side):", "returnside*2", "total=side**2", "returntotal"),
        severity="high",
        title="Logs a secret",
        state="open",
    )


def test_finding_follows_its_line_into_a_renamed_file() -> None:
    after = follow_up(remember([FOUND], patches()), patches(path="shapes.py"), unread=())
    assert [(one.path, one.state) for one in after] == [("shapes.py", "open")]
    assert locate_open(after, patches(path="shapes.py")) == (
        OpenFinding("shapes.py", "RIGHT", 3, "high", "Logs a secret"),
    )


def test_finding_without_lines_around_it_follows_its_line() -> None:
    only_line = "@@ -0,0 +1,1 @@\n+    log(total)"
    alone = finding(path="area.py", line=1, quote="    log(total)", title="Logs a secret")
    after = follow_up(remember([alone], patches(only_line)), patches(only_line, "shapes.py"), unread=())
    assert [(one.path, one.state) for one in after] == [("shapes.py", "open")]


def test_finding_does_not_move_to_an_equal_line_elsewhere() -> None:
    elsewhere = {"other.py": parse_patch("@@ -1,1 +1,2 @@\n other()\n+    log(total)")}
    fixed = {"area.py": parse_patch(REPLACED), "other.py": parse_patch(BEFORE)}
    earlier = remember([FOUND], patches())
    assert follow_up(earlier, elsewhere, unread=())[0].state == "gone"
    assert follow_up(earlier, fixed, unread=())[0].state == "fixed"
    assert follow_up(earlier, elsewhere, unread=("area.py",))[0].path == "area.py"


TWICE = """@@ -1,4 +1,6 @@
 def first(value):
     check(value)
+    return None

 def second(value):
     measure(value)
+    return None"""
FIRST = finding(path="area.py", line=3, quote="    return None", title="First")
SECOND = finding(path="area.py", line=7, quote="    return None", title="Second")


def test_fixed_finding_does_not_take_the_equal_line_of_another_one() -> None:
    earlier = remember([FIRST, SECOND], patches(TWICE))
    second_fixed = "return 0".join(TWICE.rsplit("return None", 1))
    after = follow_up(earlier, patches(second_fixed), unread=())
    assert [(one.title, one.state) for one in after] == [("First", "open"), ("Second", "fixed")]
    assert [(one.title, one.line) for one in locate_open(after, patches(second_fixed))] == [("First", 3)]
    first_fixed = TWICE.replace("return None", "return 0", 1)
    after = follow_up(earlier, patches(first_fixed), unread=())
    assert [(one.title, one.state) for one in after] == [("First", "fixed"), ("Second", "open")]


def test_finding_on_an_equal_line_is_repeated_only_by_its_own_line() -> None:
    earlier = remember([FIRST, SECOND], patches(TWICE))
    others = without_repeated(earlier, remember([SECOND], patches(TWICE)), patches(TWICE))
    assert [one.title for one in others] == ["First"]
    assert without_repeated(earlier, remember([SECOND, FIRST], patches(TWICE)), patches(TWICE)) == ()


def test_repeated_finding_is_matched_by_its_line_if_lines_around_it_changed() -> None:
    changed = patches(TWICE.replace("measure(value)", "weigh(value)"))
    earlier = follow_up(remember([FIRST, SECOND], patches(TWICE)), changed, unread=())
    others = without_repeated(earlier, remember([SECOND], changed), changed)
    assert [one.title for one in others] == ["First"]


def test_two_findings_about_one_line_are_both_open() -> None:
    other = FOUND.model_copy(update={"title": "Slow", "severity": "low"})
    earlier = remember([FOUND, other], patches())
    assert [one.state for one in follow_up(earlier, patches(), unread=())] == ["open", "open"]
    others = without_repeated(earlier, remember([other], patches()), patches())
    assert [one.title for one in others] == ["Logs a secret"]


def test_finding_follows_a_function_that_is_removed_from_its_file() -> None:
    removed = "@@ -1,4 +0,0 @@\n-def area(side):\n-    return side * 2\n-    log(total)\n-    return total"
    moved = {"area.py": parse_patch(removed), "shapes.py": parse_patch(BEFORE)}
    after = follow_up(remember([FOUND], patches()), moved, unread=())
    assert [(one.path, one.state) for one in after] == [("shapes.py", "open")]


def test_finding_does_not_move_to_a_line_with_one_equal_line_beside_it() -> None:
    unrelated = {"mail.py": parse_patch("@@ -1,1 +1,3 @@\n send()\n+    log(total)\n+    return total")}
    assert follow_up(remember([FOUND], patches()), unrelated, unread=())[0].state == "gone"
