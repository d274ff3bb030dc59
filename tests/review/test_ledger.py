"""The ledger of findings: their state after pushes, and what people did in their review threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from hls_handler.review.changes import digest_hunk
from hls_handler.review.ledger import (
    add,
    apply_threads,
    find_new,
    follow_up,
    list_hidden,
    list_merged,
    raise_severities,
    settle_hidden,
)
from hls_handler.review.patches import Patch, parse_patch
from hls_handler.review.places import PresentFiles
from hls_handler.review.record import (
    NO_REVIEW,
    LedgerEntry,
    ReviewRecord,
    ReviewThread,
    ThreadReply,
    dump_entry,
    dump_record,
    parse_record,
)
from tests.handlers.world import finding

BEFORE = """@@ -1,2 +1,4 @@
 def area(side):
-    return side * 2
+    total = side ** 2
+    log(total)
     return total"""
CHANGED_BESIDE = BEFORE.replace("** 2", "** 3").replace("def area", "def volume")
ELSEWHERE = f"{BEFORE.replace('log(total)', 'pass')}\n@@ -80,2 +82,3 @@\n other()\n+    log(total)\n another()"
REPLACED = BEFORE.replace("log(total)", "log('done')")
FOUND = finding(path="area.py", line=3, quote="    log(total)", title="Logs a secret", category="security")


def patches(text: str = BEFORE, path: str = "area.py") -> dict[str, Patch]:
    return {path: parse_patch(text)}


def raised(*findings: Any, text: str = BEFORE) -> tuple[LedgerEntry, ...]:
    return add((), findings or (FOUND,), patches(text), prompt_id="pull_requests/analyze@1")


def follow(ledger: Sequence[LedgerEntry], now: dict[str, Patch], **known: Any) -> tuple[LedgerEntry, ...]:
    return follow_up(ledger, PresentFiles(now, **known))


def reviewed(text: str, path: str = "area.py") -> dict[str, tuple[str, ...]]:
    return {path: tuple(map(digest_hunk, parse_patch(text).hunks))}


def states(ledger: Sequence[LedgerEntry], now: dict[str, Patch], **known: Any) -> list[str]:
    return [entry.state for entry in follow(ledger, now, **known)]


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (BEFORE, "open"),
        (BEFORE.replace("+1,4", "+8,4"), "open"),
        (CHANGED_BESIDE, "open"),
        (BEFORE.replace("    log(total)", "\tlog(total)"), "open"),
        (ELSEWHERE, "open"),
        (REPLACED, "fixed"),
        (BEFORE.replace("+    log(total)", "-    log(total)"), "fixed"),
        ("@@ -90,1 +90,2 @@\n other()\n+another()", "gone"),
        (None, "gone"),
    ],
    ids=[
        "nothing changed",
        "moved",
        "lines around it changed",
        "indented",
        "equal line at another place",
        "line replaced",
        "line removed from the base",
        "place gone",
        "file gone",
    ],
)
def test_state_of_an_earlier_finding(text: str | None, state: str) -> None:
    assert states(raised(), {} if text is None else patches(text), reviewed=reviewed(BEFORE)) == [state]


def test_finding_in_a_file_that_was_not_read_completely_stays_open() -> None:
    assert states(raised(), {}, unread={"area.py"}) == ["open"]


def test_finding_in_a_renamed_file_that_was_not_read_completely_stays_open() -> None:
    given = {"previous_paths": {"shapes.py": "area.py"}, "unread": {"shapes.py"}}
    assert states(raised(), patches(REPLACED, "shapes.py"), **given) == ["open"]


def test_finding_on_an_unchanged_line_is_open_until_the_line_is_removed() -> None:
    ledger = raised(FOUND.model_copy(update={"line": 1, "quote": "def area(side):"}))
    assert states(ledger, patches("@@ -9,2 +9,3 @@\n     return total\n+    # later\n     print()")) == ["open"]
    assert states(ledger, patches(BEFORE.replace(" def area(side):", "-def area(side):\n+def area(side, unit):"))) == [
        "fixed"
    ]
    assert states(ledger, {}) == ["gone"]


def test_finding_that_was_fixed_stays_fixed_until_its_line_is_back() -> None:
    fixed = follow(raised(), patches(REPLACED))
    assert states(fixed, {}) == ["fixed"]
    assert states(fixed, {}, unread={"area.py"}) == ["fixed"]
    assert states(fixed, patches()) == ["open"]


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (BEFORE, "dismissed"),
        (CHANGED_BESIDE, "dismissed"),
        (REPLACED, "fixed"),
        ("@@ -9 +9,2 @@\n other()\n+another()", "gone"),
    ],
)
def test_dismissed_finding_is_fixed_when_its_line_is_gone(text: str, state: str) -> None:
    dismissed = [replace(raised()[0], state="dismissed")]
    assert states(dismissed, patches(text), reviewed=reviewed(BEFORE)) == [state]


def test_finding_about_a_removed_line_is_fixed_when_the_line_is_restored() -> None:
    removed = FOUND.model_copy(update={"side": "LEFT", "line": 2, "quote": "    return side * 2"})
    ledger = raised(removed)
    assert states(ledger, patches(CHANGED_BESIDE), reviewed=reviewed(BEFORE)) == ["open"]
    assert states(ledger, patches(BEFORE.replace("-    return", "     return"))) == ["fixed"]
    assert ledger[0].line == 2


def test_entry_has_the_line_on_which_it_is_now() -> None:
    moved = patches(BEFORE.replace("+1,4", "+8,4"))
    assert [entry.line for entry in follow(raised(), moved)] == [10]
    assert [entry.line for entry in follow(raised(), {}, unread={"area.py"})] == [None]


def test_entry_has_its_line_and_its_place() -> None:
    (entry,) = raised()
    assert entry == LedgerEntry(
        key=entry.key,
        path="area.py",
        side="RIGHT",
        quote="log(total)",
        nearby=("def area(side):", "return side * 2", "total = side ** 2", "return total"),
        severity="high",
        category="security",
        title="Logs a secret",
        state="open",
        prompt_id="pull_requests/analyze@1",
        line=3,
        shown_line=3,
        changed=("total = side ** 2",),
    )
    assert len(entry.key) == 16


# Keys


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({}, True),
        ({"title": "Other words", "body": "Other.", "severity": "low", "confidence": 0.1}, True),
        ({"category": "style"}, False),
        ({"path": "b.py"}, False),
    ],
    ids=["the same", "other wording", "other category", "other file"],
)
def test_key_depends_on_file_line_and_category(changes: dict[str, Any], is_same: bool) -> None:
    both = patches() | patches(path="b.py")
    (again,) = add((), [FOUND.model_copy(update=changes)], both, prompt_id="p@2")
    assert (again.key == raised()[0].key) is is_same


def test_key_is_independent_of_line_numbers_and_indentation() -> None:
    moved = FOUND.model_copy(update={"line": 10})
    text = BEFORE.replace("+1,4", "+8,4").replace("+    log(total)", "+\tlog(total)")
    assert raised(moved, text=text)[0].key == raised()[0].key


def test_keys_of_equal_lines_differ() -> None:
    first = add((), [FIRST, SECOND], patches(TWICE), prompt_id="p@1")
    later = add(first, [SECOND], patches(TWICE), prompt_id="p@1")
    assert len({entry.key for entry in (*first, *later)}) == 3


# Moves to other files


def test_long_line_is_stored_as_a_digest() -> None:
    long = BEFORE.replace("log(total)", f"log({'total, ' * 9_000}1)")
    (entry,) = raised(text=long)
    assert entry.quote == "f2f323667a4022ec36d07a54639f98d9f70588a55f59616ea2920a5e8735f076"
    assert states((entry,), patches(long)) == ["open"]
    assert states((entry,), patches(long.replace(", 1)", ", 2)"))) == ["fixed"]


def test_finding_follows_its_line_into_a_renamed_file() -> None:
    after = follow(raised(), patches(path="shapes.py"))
    assert [(one.path, one.state, one.line) for one in after] == [("shapes.py", "open", 3)]


def test_finding_without_lines_around_it_follows_its_line() -> None:
    only_line = "@@ -0,0 +1,1 @@\n+    log(total)"
    alone = FOUND.model_copy(update={"line": 1})
    after = follow(raised(alone, text=only_line), patches(only_line, "shapes.py"))
    assert [(one.path, one.state) for one in after] == [("shapes.py", "open")]


def test_finding_follows_a_function_that_is_removed_from_its_file() -> None:
    removed = "@@ -1,4 +0,0 @@\n-def area(side):\n-    return side * 2\n-    log(total)\n-    return total"
    moved = {"area.py": parse_patch(removed), "shapes.py": parse_patch(BEFORE)}
    after = follow(raised(), moved)
    assert [(one.path, one.state) for one in after] == [("shapes.py", "open")]


def test_finding_does_not_move_to_an_equal_line_elsewhere() -> None:
    elsewhere = {"other.py": parse_patch("@@ -1,1 +1,2 @@\n other()\n+    log(total)")}
    fixed = {"area.py": parse_patch(REPLACED), "other.py": parse_patch(BEFORE)}
    unrelated = {"mail.py": parse_patch("@@ -1,1 +1,3 @@\n send()\n+    log(total)\n+    return total")}
    assert states(raised(), elsewhere) == ["gone"]
    assert states(raised(), unrelated) == ["gone"]
    assert states(raised(), fixed) == ["fixed"]
    assert follow(raised(), elsewhere, unread={"area.py"})[0].path == "area.py"
    copy = patches(path="copy.py")
    assert states(raised(), copy, reviewed=reviewed(BEFORE, "copy.py")) == ["gone"]
    (of_copy,) = add((), [FOUND.model_copy(update={"path": "copy.py"})], copy, prompt_id="p@1")
    assert states([*raised(), of_copy], copy) == ["gone", "open"]


def test_short_line_does_not_move_to_another_file() -> None:
    short = FOUND.model_copy(update={"line": 1, "quote": "}"})
    after = follow(raised(short, text="@@ -0,0 +1 @@\n+}"), patches("@@ -0,0 +1 @@\n+}", "b.py"))
    assert [(one.path, one.state) for one in after] == [("area.py", "gone")]


def test_dismissed_finding_follows_its_line_into_a_renamed_file() -> None:
    after = follow([replace(raised()[0], state="dismissed")], patches(path="shapes.py"))
    again = FOUND.model_copy(update={"path": "shapes.py"})
    assert find_new([again], after, patches(path="shapes.py")) == ()


# Equal lines

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
    ledger = raised(FIRST, SECOND, text=TWICE)
    second_fixed = patches("return 0".join(TWICE.rsplit("return None", 1)))
    after = follow(ledger, second_fixed)
    assert [(one.title, one.state, one.line) for one in after] == [("First", "open", 3), ("Second", "fixed", None)]
    first_fixed = patches(TWICE.replace("return None", "return 0", 1))
    assert states(ledger, first_fixed) == ["fixed", "open"]


def test_findings_at_equal_places_have_different_lines() -> None:
    block = "+def get():\n+    return None\n+\n+    done()\n+    again()"
    hunks = f"@@ -0,0 +1,5 @@\n{block}\n@@ -50,0 +56,5 @@\n{block}"
    twins = [FIRST.model_copy(update={"line": 2}), SECOND.model_copy(update={"line": 57})]
    ledger = raised(*twins, text=hunks)
    assert ledger[0].nearby == ledger[1].nearby
    assert [one.line for one in follow(ledger, patches(hunks))] == [2, 57]
    assert find_new(twins, ledger, patches(hunks)) == ()
    assert states(ledger, patches(hunks.replace("return None", "return 0", 1))) == ["fixed", "open"]
    assert states(ledger[:1], patches(hunks.replace("return None", "return 0", 1))) == ["fixed"]


def test_two_findings_about_one_line_are_both_open() -> None:
    slow = FOUND.model_copy(update={"title": "Slow", "category": "performance"})
    assert states(raised(FOUND, slow), patches()) == ["open", "open"]
    assert states(raised(FOUND, slow), patches(REPLACED)) == ["fixed", "fixed"]


def test_finding_raised_later_on_the_same_line_does_not_fix_the_earlier_one() -> None:
    earlier = follow(raised(), patches(CHANGED_BESIDE), reviewed=reviewed(BEFORE))
    slow = FOUND.model_copy(update={"title": "Slow", "category": "performance"})
    ledger = (*earlier, *add(earlier, [slow], patches(CHANGED_BESIDE), prompt_id="p@1"))
    assert states(ledger, patches(CHANGED_BESIDE)) == ["open", "open"]
    assert find_new([FOUND, slow], ledger, patches(CHANGED_BESIDE)) == ()


# Equal lines at other places

CAUGHT = """@@ -1,2 +1,13 @@
 import db
+def load(path):
+    try:
+        return read(path)
+    except Exception:
+        log.exception(path)
+        return None
+def save(path):
+    try:
+        return write(path)
+    except Exception:
+        log.exception(path)
+        return None
 main()"""
BROAD = finding(path="area.py", line=5, quote="    except Exception:", title="Too broad")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CAUGHT, ("open", 5)),
        (CAUGHT.replace("Exception:", "OSError:", 1), ("fixed", None)),
        ("OSError:".join(CAUGHT.rsplit("Exception:", 1)), ("open", 5)),
        (CAUGHT.replace("def save(path):", "def save(path, file):"), ("open", 5)),
    ],
    ids=["nothing changed", "fixed", "the other one fixed", "a line near the other one changed"],
)
def test_fixed_finding_does_not_take_an_equal_line_that_was_there_before(text: str, expected: tuple[str, int]) -> None:
    (entry,) = follow(raised(BROAD, text=CAUGHT), patches(text), reviewed=reviewed(CAUGHT))
    assert (entry.state, entry.line) == expected
    (later,) = follow([entry], patches(text), reviewed=reviewed(text))
    assert (later.state, later.line) == expected


def test_fixed_finding_does_not_take_one_of_very_many_equal_lines() -> None:
    functions = "".join(f"\n+def function_{number}():\n+    return None" for number in range(14))
    text = f"@@ -0,0 +1,28 @@{functions}"
    ledger = raised(finding(path="area.py", line=2, quote="    return None"), text=text)
    assert states(ledger, patches(text.replace("None", "0", 1)), reviewed=reviewed(text)) == ["fixed"]


def test_line_that_was_copied_keeps_its_finding() -> None:
    text = "@@ -1,5 +1,6 @@\n two()\n three()\n+run(total)\n four()\n five()\n six()"
    copied = text.replace("+run(total)", "+run(total)\n+total = 0\n+check(total)\n+run(total)")
    (entry,) = raised(finding(path="area.py", line=3, quote="run(total)"), text=text)
    assert [one.line for one in follow([entry], patches(copied), reviewed=reviewed(text))] == [3]


def test_finding_does_not_take_an_unchanged_line_that_enters_the_patch() -> None:
    text = "@@ -1,3 +1,4 @@\n zero()\n one()\n+return total\n two()"
    other = "@@ -50,4 +50,5 @@\n one()\n return total\n three()\n+four()\n five()"
    ledger = raised(finding(path="area.py", line=3, quote="return total"), text=text)
    assert states(ledger, patches(other), reviewed=reviewed(text)) == ["fixed"]


@pytest.mark.parametrize("state", ["open", "fixed"])
def test_short_lines_around_a_line_show_no_place(state: Any) -> None:
    text = "@@ -0,0 +1,3 @@\n+{\n+    run(total)\n+}"
    (entry,) = raised(finding(path="area.py", line=2, quote="run(total)"), text=text)
    entry = replace(entry, state=state, line=2 if state == "open" else None)
    before = text if state == "open" else text.replace("run(total)", "pass")
    moved = f"{text.replace('run(total)', 'pass')}\n@@ -70,2 +73,5 @@\n }}\n+{{\n+    run(total)\n+}}\n {{"
    assert states([entry], patches(moved), reviewed=reviewed(before)) == [state]  # an open one has the only such text


def test_function_that_replaces_another_one_is_not_the_same() -> None:
    text = "@@ -0,0 +1,4 @@\n+def allow(user):\n+    user = load(user)\n+    return True\n+    # end of allow"
    other = "@@ -0,0 +1,4 @@\n+def is_admin(name):\n+    check(name)\n+    return True\n+    # end of is_admin"
    (entry,) = raised(FALSE.model_copy(update={"line": 3}), text=text)
    settled = replace(entry, state="dismissed", has_binding_dismissal=True)
    assert states([settled], patches(other), reviewed=reviewed(text)) == ["open"]


def test_of_equal_findings_the_last_one_is_open_again() -> None:
    (entry,) = raised(FALSE, text=ALLOWED)
    fixed = [replace(entry, state="fixed", line=None), replace(entry, key="f" * 16, state="fixed", line=None)]
    assert states(fixed, patches(ALLOWED), reviewed=reviewed(ALLOWED.replace("True", "False"))) == ["fixed", "open"]


ALLOWED = """@@ -1,2 +1,5 @@
 first()
+def allow(user):
+    user = load(user)
+    return True
 second()"""
FORGED = (
    ALLOWED.replace("True", "user.is_owner")
    + """
@@ -50,2 +53,5 @@
 other()
+def is_admin(user):
+    check(user)
+    return True
 another()"""
)
FALSE = finding(path="area.py", line=4, quote="    return True", title="Always true", severity="low")


@pytest.mark.parametrize("state", ["open", "dismissed"])
def test_finding_stays_while_one_line_has_its_text_unless_a_writer_dismissed_it(state: Any) -> None:
    entry = replace(raised(FALSE, text=ALLOWED)[0], state=state)
    (after,) = follow([entry], patches(FORGED), reviewed=reviewed(ALLOWED))
    assert (after.state, after.line) == (state, 56)


def test_dismissal_by_a_writer_does_not_hold_at_an_equal_line_elsewhere() -> None:
    entry = replace(raised(FALSE, text=ALLOWED)[0], comment_id=901)
    forged = FALSE.model_copy(update={"line": 56, "severity": "critical"})
    resolved = ReviewThread(901, entry.key, True, "zoe", (), (), (), ())
    dismissed = apply_threads([entry], [resolved], writers=["zoe"])
    for before in (entry, *dismissed):  # dismissed since the last review, or before it
        moved = follow([before], patches(FORGED), reviewed=reviewed(ALLOWED))
        (after,) = apply_threads(moved, [resolved], writers=["zoe"])
        assert (after.state, after.line, after.has_binding_dismissal) == ("open", 56, False)
        assert find_new([forged], [after], patches(FORGED)) == ()
        assert [one.severity for one in raise_severities([after], [forged], patches(FORGED))] == ["critical"]
        (later,) = apply_threads(
            follow([after], patches(FORGED), reviewed=reviewed(FORGED)), [resolved], writers=["zoe"]
        )
        assert later.state == "open"
        again = replace(resolved, replies=(ThreadReply("zoe", "won't fix"),))
        assert [one.state for one in apply_threads([later], [again], writers=["zoe"])] == ["dismissed"]


@pytest.mark.parametrize("state", ["fixed", "gone"])
def test_equal_line_that_is_written_elsewhere_later_has_a_new_finding(state: Any) -> None:
    entry = replace(raised(FALSE, text=ALLOWED)[0], state=state, line=None)
    before = ALLOWED.replace("True", "user.is_owner")
    (after,) = follow([entry], patches(FORGED), reviewed=reviewed(before))
    assert after.state == state
    forged = FALSE.model_copy(update={"line": 56, "severity": "critical"})
    assert find_new([forged], [after], patches(FORGED)) == (forged,)
    (added,) = add([after], [forged], patches(FORGED), prompt_id="p@1")
    assert added.key != after.key


BLOCK = """@@ -1,2 +1,9 @@
 first()
+one = load(1)
+two = load(2)
+three = load(3)
+run(one, two, three)
+four = load(4)
+five = load(5)
+six = load(6)
 second()"""
EDITED = (
    BLOCK.replace("two = load", "two = read").replace("three = load", "three = read").replace("four = load", "four =")
)
EDITED = EDITED.replace("five = load", "five =").replace("+1,9", "+4,9")
RUNS = finding(path="area.py", line=5, quote="run(one, two, three)")


def test_dismissal_stays_if_most_lines_around_the_line_changed() -> None:
    dismissed = [replace(raised(RUNS, text=BLOCK)[0], state="dismissed")]
    after = follow(dismissed, patches(EDITED), reviewed=reviewed(BLOCK))
    assert [(one.state, one.line) for one in after] == [("dismissed", 8)]


def test_line_that_is_back_with_the_lines_around_it_is_the_same() -> None:
    fixed = follow(raised(FALSE, text=ALLOWED), patches(ALLOWED.replace("True", "False")), reviewed=reviewed(ALLOWED))
    assert [entry.state for entry in fixed] == ["fixed"]
    back = follow(fixed, patches(ALLOWED), reviewed=reviewed(ALLOWED.replace("True", "False")))
    assert [(entry.state, entry.line) for entry in back] == [("open", 4)]


def test_equal_line_that_is_removed_elsewhere_does_not_fix_a_finding_on_an_unchanged_line() -> None:
    text = "@@ -1,3 +1,4 @@\n start()\n+begin()\n return None\n finish()"
    ledger = raised(finding(path="area.py", line=3, quote="return None"), text=text)
    assert states(ledger, patches("@@ -40,3 +40,2 @@\n other()\n-return None\n another()")) == ["open"]


# Renames and moves


def test_finding_follows_a_rename_whatever_changed_around_its_line() -> None:
    given = {"previous_paths": {"shapes.py": "area.py"}, "reviewed": reviewed(BLOCK)}
    (after,) = follow(raised(RUNS, text=BLOCK), patches(EDITED, "shapes.py"), **given)
    assert (after.path, after.previous_path, after.state, after.line) == ("shapes.py", "area.py", "open", 8)
    given = {"previous_paths": {"rooms.py": "area.py"}, "reviewed": reviewed(EDITED, "shapes.py")}
    (again,) = follow([after], patches(BLOCK, "rooms.py"), **given)
    assert (again.path, again.state, again.line) == ("rooms.py", "open", 5)
    (back,) = follow([after], patches(BLOCK), reviewed=reviewed(EDITED, "shapes.py"))
    assert (back.path, back.previous_path, back.state) == ("area.py", None, "open")


def test_finding_follows_its_line_to_another_file_if_no_other_line_has_such_a_long_text() -> None:
    text = "@@ -1,2 +1,3 @@\n first()\n+total = sum(prices) / len(prices)\n last()"
    ledger = raised(finding(path="area.py", line=2, quote="total = sum(prices) / len(prices)"), text=text)
    fixed = text.replace("/ len(prices)", "")
    alone = "@@ -5,2 +5,3 @@\n other()\n+total = sum(prices) / len(prices)\n another()"
    assert [(one.path, one.line) for one in follow(ledger, patches(fixed) | patches(alone, "b.py"))] == [("b.py", 6)]
    twice = patches(fixed) | patches(alone, "b.py") | patches(alone, "c.py")
    assert states(ledger, twice) == ["fixed"]
    short = text.replace("total = sum(prices) / len(prices)", "return total / 2")
    ledger = raised(finding(path="area.py", line=2, quote="return total / 2"), text=short)
    alone = alone.replace("total = sum(prices) / len(prices)", "return total / 2")
    assert states(ledger, patches(fixed) | patches(alone, "b.py")) == ["fixed"]


def test_unchanged_line_keeps_its_finding_although_all_lines_around_it_change() -> None:
    query = "@@ -1,2 +1,5 @@\n first()\n+def find(name):\n+    sql = f'... {name}'\n+    cursor.execute(sql)\n last()"
    other = "@@ -40,2 +43,4 @@\n one()\n+sql = count()\n+cursor.execute(sql)\n two()"
    before, found = f"{query}\n{other}", finding(path="area.py", line=4, quote="    cursor.execute(sql)")
    now = before.replace("{name}", "{given}").replace("find(name)", "find(given)")
    (after,) = follow(raised(found, text=before), patches(now), reviewed=reviewed(before))
    assert (after.state, after.line) == ("open", 4)
    base = now.replace(" first()", " begin()").replace(" last()", " end()")  # all lines around it changed
    assert states(raised(found, text=before), patches(base), reviewed=reviewed(before)) == ["open"]


def test_finding_on_an_unchanged_line_that_is_not_shown_is_not_raised_again() -> None:
    text = "@@ -1,3 +1,4 @@\n total = sum(values)\n mean = total / count\n+log(mean)\n done()"
    found = finding(path="area.py", line=2, quote="mean = total / count")
    hidden = (
        "@@ -1,3 +1,5 @@\n+check(values)\n+total = sum(values) or 0\n mean = total / count\n+log(mean, count)\n end()"
    )
    (after,) = follow(raised(found, text=text), patches(hidden), reviewed=reviewed(text))
    assert find_new([found.model_copy(update={"line": 3})], [after], patches(hidden)) == ()


def test_dismissal_of_a_hidden_line_does_not_hold_at_a_new_equal_line() -> None:
    text = "@@ -40,3 +40,4 @@\n check(user)\n return 0\n+log(user)\n done()"
    found = finding(path="area.py", line=41, quote="return 0")
    entry = replace(raised(found, text=text)[0], state="dismissed", has_binding_dismissal=True)
    added = patches("@@ -9,2 +9,4 @@\n first()\n+if user.is_admin:\n+    return 0\n second()")
    (after,) = follow([entry], added, reviewed=reviewed(text))
    assert (after.state, after.line) == ("dismissed", None)
    new = finding(path="area.py", line=11, quote="    return 0", severity="critical")
    assert find_new([new], [after], added) == (new,)


@pytest.mark.parametrize("path", ["area.py", "b.py"])
def test_finding_on_an_unchanged_line_does_not_follow_a_new_equal_line(path: str) -> None:
    text = "@@ -40,3 +40,4 @@\n check(user)\n return execute(the_statement_of_this_user)\n+log(user)\n done()"
    quote = "return execute(the_statement_of_this_user)"
    entry = raised(finding(path="area.py", line=41, quote=quote), text=text)[0]
    elsewhere = patches("@@ -90,1 +90,2 @@\n other()\n+log(user)")
    for copied in (
        f"@@ -9,2 +9,3 @@\n first()\n+{quote}\n second()",
        f"@@ -9,1 +9,3 @@\n check(user)\n+{quote}\n+log(1)",
    ):
        now = elsewhere | patches(copied, path)
        assert [(one.path, one.state, one.line) for one in follow([entry], now, reviewed=reviewed(text))] == [
            ("area.py", "open", None)
        ]
        moved = patches(f"@@ -40,3 +40,2 @@\n check(user)\n-{quote}\n done()") | patches(copied, "b.py")
        assert [one.path for one in follow([entry], moved, reviewed=reviewed(text))] == ["b.py"]


def test_fixed_finding_does_not_take_one_of_many_equal_lines() -> None:
    functions = [
        f"+func save{n}() {{\n+\terr := write{n}()\n+\tif err != nil {{\n+\t\treturn err\n+\t}}" for n in range(60)
    ]
    text = "\n".join(["@@ -0,0 +1,300 @@", *functions])
    ledger = raised(finding(path="area.py", line=4, quote="return err"), text=text)
    assert states(ledger, patches(text), reviewed=reviewed(text)) == ["open"]
    assert states(ledger, patches(text.replace("return err", "return nil", 1)), reviewed=reviewed(text)) == ["fixed"]


def test_hidden_finding_is_fixed_if_its_file_does_not_have_the_line_any_more() -> None:
    text = "@@ -40,3 +40,4 @@\n check(user)\n return find(user)\n+log(user)\n done()"
    entry = raised(finding(path="area.py", line=41, quote="return find(user)"), text=text)[0]
    moved = patches("@@ -90,1 +90,2 @@\n other()\n+log(user)")
    after = follow([entry], moved, reviewed=reviewed(text))
    hidden = list_hidden(after, PresentFiles(moved))
    assert (hidden, after[0].state) == ({entry.key: "area.py"}, "open")
    for texts, state in (
        ({"area.py": {"return find(user)"}}, "open"),
        ({"area.py": {"other()"}}, "fixed"),
        ({}, "open"),
    ):
        assert [one.state for one in settle_hidden(after, hidden, texts)] == [state]


def test_resolving_a_thread_that_says_fixed_dismisses_nothing() -> None:
    entry = replace(raised()[0], comment_id=901)
    resolved = ReviewThread(901, entry.key, True, "zoe", (), ("fixed",), (), ())
    assert [one.state for one in apply_threads([entry], [resolved], writers=["zoe"])] == ["open"]
    for said in (
        replace(resolved, thumbs_down=("zoe",)),
        replace(resolved, replies=(ThreadReply("zoe", "won't fix"),)),
    ):
        assert [one.state for one in apply_threads([entry], [said], writers=["zoe"])] == ["dismissed"]


WRAPPED = """@@ -9,3 +9,6 @@
 first()
-    receipt = pay(total)
+    try:
+        receipt = pay(total)
+    finally:
+        close()
 last()"""


def test_finding_on_a_line_that_is_only_indented_is_open_when_the_line_is_unchanged_again() -> None:
    beside = "@@ -9,3 +9,4 @@\n first()\n     receipt = pay(total)\n+    log(receipt)\n last()"
    quote = "receipt = pay(total)"
    for path in ([beside, WRAPPED], [WRAPPED]):
        line = 10 if path[0] == beside else 11
        ledger = raised(finding(path="area.py", line=line, quote=quote), text=path[0])
        for before, now in zip([*path, beside], [*path[1:], beside], strict=False):
            ledger = follow(ledger, patches(now), reviewed=reviewed(before))
        assert [(one.state, one.is_unchanged) for one in ledger] == [("open", True)]


def test_finding_in_a_copy_is_open_if_the_original_is_removed() -> None:
    rows = ["rows = select_all()", "delete(rows)", "log(rows)"]
    added = "\n+".join(["@@ -20,1 +20,5 @@\n last()", "def purge_all(user):", *rows])
    begin = "@@ -9,5 +9,4 @@\n-def delete_all(user):\n-    require_admin(user)\n+def purge_all(user):"
    removed = "\n ".join([begin, *rows])
    ledger = raised(finding(path="area.py", line=23, quote="delete(rows)"), text=added)
    after = follow(ledger, patches(removed), reviewed=reviewed(added))
    assert ([one.state for one in after], list_merged(ledger, after, PresentFiles(patches(removed)))) == (
        ["gone"],
        {"area.py": "area.py"},
    )
    for text, state in (("delete(rows)", "open"), ("other()", "gone")):
        assert states(ledger, patches(removed), reviewed=reviewed(added), in_base={"area.py": {text}}) == [state]


def test_finding_whose_patch_was_not_shown_follows_its_text() -> None:
    hidden = [replace(raised()[0], line=None)]
    moved = patches("@@ -40,2 +40,3 @@\n other()\n+    log(total)\n another()")
    assert [(one.state, one.line) for one in follow(hidden, moved)] == [("open", 41)]


def test_line_that_the_base_has_now_is_gone() -> None:
    merged = BEFORE.replace("+    log(total)", "     log(total)")
    assert states(raised(), patches(merged), reviewed=reviewed(BEFORE)) == ["gone"]


def test_finding_follows_a_block_that_has_half_of_the_lines_around_it() -> None:
    head = "@@ -1,3 +1,7 @@\n+first = load(1)\n+second = load(2)\n+third = load(3)"
    ledger = raised(
        finding(path="area.py", line=4, quote="run(total)"),
        text=f"{head}\n+run(total)\n fourth = load(4)\n fifth = load(5)\n sixth = load(6)",
    )
    left = f"{head}\n-fourth = load(4)\n-fifth = load(5)\n-sixth = load(6)"
    block = "@@ -1,1 +1,5 @@\n start()\n+run(total)\n+fourth = load(4)\n+fifth = load(5)\n+sixth = load(6)"
    moved = patches(left) | patches(block, "b.py")
    assert [(one.path, one.state, one.line) for one in follow(ledger, moved)] == [("b.py", "open", 2)]
    dismissed = [replace(ledger[0], state="dismissed", has_binding_dismissal=True)]
    assert states(dismissed, moved) == ["open"]


def test_finding_follows_a_block_although_a_line_of_it_stays() -> None:
    lines = ["alpha = compute(1)", "beta = compute(2)", "run(total)", "gamma = compute(3)", "return gamma"]
    block = "\n".join(f"+    {line}" for line in lines)
    found = finding(path="area.py", line=4, quote="    run(total)")
    ledger = raised(found, text=f"@@ -1,2 +1,7 @@\n first()\n{block}\n second()")
    stays = patches("@@ -1,2 +1,3 @@\n first()\n+    return gamma\n second()")
    moved = stays | patches(f"@@ -0,0 +1,5 @@\n{block}", "b.py")
    assert [(one.path, one.state, one.line) for one in follow(ledger, moved)] == [("b.py", "open", 3)]
    assert states(ledger, stays) == ["fixed"]
    pair = "+    first = load()\n+    return True"
    ledger = raised(FALSE.model_copy(update={"line": 3}), text=f"@@ -1,2 +1,4 @@\n start()\n{pair}\n finish()")
    assert states(ledger, stays | patches(f"@@ -0,0 +1,2 @@\n{pair}", "dist/x.py")) == ["open"]


# New findings


@pytest.mark.parametrize(
    ("changes", "is_new"),
    [
        ({}, False),
        ({"title": "Secret in the log", "body": "Do not log it.", "severity": "critical"}, False),
        ({"category": "style"}, False),
        ({"category": "style", "title": "Other"}, True),
        ({"line": 2, "quote": "    total = side ** 2"}, True),
        ({"path": "b.py"}, True),
    ],
    ids=["the same", "other words", "other category", "other category and title", "other line", "other file"],
)
@pytest.mark.parametrize("state", ["open", "dismissed"])
def test_finding_is_new_unless_the_ledger_has_it(state: Any, changes: dict[str, Any], is_new: bool) -> None:
    ledger = [replace(raised()[0], state=state)]
    found = FOUND.model_copy(update=changes)
    assert find_new([found], ledger, patches()) == ((found,) if is_new else ())


def test_finding_is_known_at_other_line_numbers_and_indentation() -> None:
    moved = patches(BEFORE.replace("+1,4", "+8,4").replace("+    log(total)", "+\tlog(total)"))
    again = FOUND.model_copy(update={"line": 10, "title": "Another title", "quote": "\tlog(total)"})
    assert find_new([again], follow(raised(), moved), moved) == ()


def test_finding_on_an_equal_line_at_another_place_is_new() -> None:
    assert find_new([FIRST, SECOND], raised(SECOND, text=TWICE), patches(TWICE)) == (FIRST,)
    assert find_new([FIRST, SECOND], raised(FIRST, SECOND, text=TWICE), patches(TWICE)) == ()


def test_higher_severity_is_taken_over_unless_a_dismissal_binds() -> None:
    worse = FOUND.model_copy(update={"severity": "critical", "title": "Logs a password", "body": "B" * 2_000})
    (entry,) = raise_severities(raised(), [FOUND, worse], patches())
    assert (entry.severity, entry.title, entry.body.count("B")) == ("critical", "Logs a password", 1_000)
    for ledger in (
        (entry,),
        (replace(raised()[0], state="dismissed", has_binding_dismissal=True),),
        (replace(raised()[0], state="fixed", line=None),),
    ):
        assert raise_severities(ledger, [FOUND, worse], patches()) == ledger
    other = [worse.model_copy(update={"line": 2}), worse.model_copy(update={"category": "style"})]
    assert raise_severities(raised(), other, patches()) == raised()
    assert raise_severities([replace(raised()[0], state="dismissed")], [worse], patches())[0].severity == "critical"


# Review threads


def posted(**known: Any) -> LedgerEntry:
    return replace(raised()[0], comment_id=901, **known)


def thread(**known: Any) -> ReviewThread:
    plain = ReviewThread(901, posted().key, False, None, (), (), (), ())
    return replace(plain, **known)


def reply(body: str, author: str = "mona") -> ReviewThread:
    return thread(replies=(ThreadReply(author, body),))


def after(entry: LedgerEntry, *threads: ReviewThread, writers: tuple[str, ...] = ()) -> LedgerEntry:
    return apply_threads([entry], threads, writers=writers)[0]


@pytest.mark.parametrize(
    ("dismissing", "key"),
    [
        (thread(thumbs_down=("mona",)), "thumbs down by mona"),
        (thread(is_resolved=True, resolved_by="mona"), "resolved by mona"),
        (reply("Won't fix."), "reply 1 by mona"),
    ],
    ids=["thumbs down", "resolved", "reply"],
)
def test_person_dismisses_a_finding(dismissing: ReviewThread, key: str) -> None:
    dismissed = posted(state="dismissed", dismissed_by="mona", dismissals=(key,))
    assert after(posted(), dismissing) == dismissed
    assert after(posted(), dismissing, writers=("mona",)) == replace(dismissed, has_binding_dismissal=True)


def test_rule_18_dismissal_binds_if_one_of_the_people_may_write() -> None:
    both = thread(thumbs_down=("mona", "zoe"))
    found = after(posted(), both, writers=("zoe",))
    assert (found.state, found.dismissed_by, found.has_binding_dismissal) == ("dismissed", "zoe", True)
    found = after(posted(), both, writers=("someone-else",))
    assert (found.state, found.dismissed_by, found.has_binding_dismissal) == ("dismissed", "mona", False)


def test_dismissal_that_is_taken_back_opens_the_finding_again() -> None:
    dismissed = posted(state="dismissed", dismissed_by="mona", has_binding_dismissal=True)
    assert after(dismissed, thread()) == posted()


def test_deleted_comment_dismisses_the_finding_without_a_binding_effect() -> None:
    assert after(posted()) == posted(state="dismissed")
    assert after(posted(state="fixed")) == posted(state="fixed")


def test_finding_without_a_review_comment_is_not_dismissed() -> None:
    assert after(raised()[0]) == raised()[0]


def test_thumbs_up_accepts_a_finding() -> None:
    assert after(posted(), thread(thumbs_up=("mona",))) == posted(is_accepted=True)
    assert after(posted(is_accepted=True), thread()) == posted()
    assert after(posted(state="fixed"), thread(thumbs_up=("mona",))) == posted(state="fixed", is_accepted=True)


def test_fixed_finding_whose_thread_is_resolved_stays_fixed() -> None:
    assert after(posted(state="fixed"), thread(is_resolved=True, resolved_by="mona")).state == "fixed"


# Dismissals of a line that is gone


def rounds(*given: tuple[bool, ReviewThread]) -> list[str]:
    """Return the state after each review: whether the line was in the patch, and the thread."""
    found: list[str] = []
    ledger: tuple[LedgerEntry, ...] = (posted(),)
    before = BEFORE
    for is_present, shown in given:
        text = BEFORE if is_present else REPLACED
        absent = [entry.key for entry in ledger if entry.is_absent]
        ledger = follow(ledger, patches(text), reviewed=reviewed(before))
        ledger = apply_threads(ledger, [shown], writers=["mona"], closed=absent)
        found += [f"{entry.state}{'!' if entry.has_binding_dismissal else ''}" for entry in ledger]
        before = text
    return found


RESOLVED = thread(is_resolved=True, resolved_by="mona")
SAID = ThreadReply("mona", "This is by design.")
DOWN = thread(thumbs_down=("mona",))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([(False, RESOLVED), (True, RESOLVED), (True, RESOLVED)], ["fixed", "open", "open"]),
        ([(False, thread()), (True, RESOLVED), (True, RESOLVED)], ["fixed", "open", "open"]),
        ([(False, RESOLVED), (True, thread()), (True, RESOLVED)], ["fixed", "open", "dismissed!"]),
        ([(False, DOWN), (True, DOWN), (True, thread())], ["fixed", "open", "open"]),
        (
            [(False, RESOLVED), (True, RESOLVED), (True, replace(RESOLVED, replies=(SAID,)))],
            ["fixed", "open", "dismissed!"],
        ),
        ([(True, DOWN), (False, DOWN), (True, DOWN), (True, thread())], ["dismissed!", "fixed", "open", "open"]),
        ([(True, RESOLVED), (True, RESOLVED), (False, RESOLVED)], ["dismissed!", "dismissed!", "fixed"]),
        ([(False, thread(replies=(SAID,))), (True, thread(replies=(SAID, SAID)))], ["fixed", "open"]),
        (
            [(False, thread(replies=(SAID,))), (True, thread(replies=(SAID,))), (True, thread(replies=(SAID, SAID)))],
            ["fixed", "open", "dismissed!"],
        ),
    ],
    ids=[
        "fixed and resolved",
        "resolved after the fix",
        "unresolved and resolved again",
        "thumbs down after the fix",
        "dismissed after the line is back",
        "dismissed before the fix",
        "dismissed and fixed",
        "said before the line is back",
        "said again",
    ],
)
def test_what_people_do_while_the_line_is_gone_does_not_dismiss_it(
    given: list[tuple[bool, ReviewThread]], expected: list[str]
) -> None:
    assert rounds(*given) == expected


# Storage


def test_record_is_stored_as_json_and_read_back() -> None:
    record = ReviewRecord(
        2, {"area.py": ("0123456789abcdef",)}, "bug-fix", "Squares.", (posted(state="dismissed", twins=((7, ("x",)),)),)
    )
    assert parse_record(dump_record(record), [dump_entry(entry) for entry in record.ledger]) == record
    assert "area.py" in dump_record(record)
    assert "Logs a secret" not in dump_record(record)


@pytest.mark.parametrize("stored", [None, "", "[]", "{", '{"rounds": "many"}'])
def test_record_of_another_version_is_left_out(stored: str | None) -> None:
    assert parse_record(stored, ["{}", dump_entry(posted())]) == replace(NO_REVIEW, ledger=(posted(),))
