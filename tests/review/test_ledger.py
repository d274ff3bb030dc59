"""The ledger of findings: their state after pushes, and what people did in their review threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from hls_handler.review.ledger import (
    NO_REVIEW,
    LedgerEntry,
    OpenFinding,
    ReviewRecord,
    ReviewThread,
    ThreadReply,
    add,
    apply_threads,
    dump_entry,
    dump_record,
    find_dismissals,
    find_new,
    follow_up,
    locate_open,
    parse_record,
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
FOUND = finding(path="area.py", line=3, quote="    log(total)", title="Logs a secret", category="security")


def patches(text: str = BEFORE, path: str = "area.py") -> dict[str, Patch]:
    return {path: parse_patch(text)}


def raised(*findings: Any, text: str = BEFORE) -> tuple[LedgerEntry, ...]:
    return add((), findings or (FOUND,), patches(text), prompt_id="pull_requests/analyze@1")


def states(ledger: Sequence[LedgerEntry], now: dict[str, Patch], *, unread: tuple[str, ...] = ()) -> list[str]:
    return [entry.state for entry in follow_up(ledger, now, unread=unread)]


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
    assert states(raised(), {} if text is None else patches(text)) == [state]


def test_finding_in_a_file_that_was_not_read_completely_stays_open() -> None:
    assert states(raised(), {}, unread=("area.py",)) == ["open"]


def test_finding_on_an_unchanged_line_is_open_until_the_line_is_removed() -> None:
    ledger = raised(FOUND.model_copy(update={"line": 1, "quote": "def area(side):"}))
    assert states(ledger, patches("@@ -9,2 +9,3 @@\n     return total\n+    # later\n     print()")) == ["open"]
    assert states(ledger, patches(BEFORE.replace(" def area(side):", "-def area(side):\n+def area(side, unit):"))) == [
        "fixed"
    ]
    assert states(ledger, {}) == ["gone"]


def test_finding_that_was_fixed_stays_fixed_until_its_line_is_back() -> None:
    fixed = follow_up(raised(), patches(REPLACED), unread=())
    assert states(fixed, {}) == ["fixed"]
    assert states(fixed, {}, unread=("area.py",)) == ["fixed"]
    assert states(fixed, patches()) == ["open"]


@pytest.mark.parametrize("text", [BEFORE, CHANGED_BESIDE, REPLACED, "@@ -9 +9,2 @@\n other()\n+another()"])
def test_dismissed_finding_stays_dismissed_whatever_becomes_of_its_line(text: str) -> None:
    assert states([replace(raised()[0], state="dismissed")], patches(text)) == ["dismissed"]


def test_finding_about_a_removed_line_is_fixed_when_the_line_is_restored() -> None:
    removed = FOUND.model_copy(update={"side": "LEFT", "line": 2, "quote": "    return side * 2"})
    ledger = raised(removed)
    assert states(ledger, patches(CHANGED_BESIDE)) == ["open"]
    assert states(ledger, patches(BEFORE.replace("-    return", "     return"))) == ["fixed"]
    assert locate_open(ledger, patches()) == (OpenFinding(ledger[0], 2),)


def test_open_finding_has_the_line_on_which_it_is_now() -> None:
    ledger = raised()
    assert locate_open(ledger, patches(BEFORE.replace("+1,4", "+8,4"))) == (OpenFinding(ledger[0], 10),)
    assert locate_open(ledger, {}) == (OpenFinding(ledger[0], None),)
    assert locate_open([replace(ledger[0], state="dismissed")], patches()) == ()


def test_entry_has_its_line_and_its_place() -> None:
    (entry,) = raised()
    assert entry == LedgerEntry(
        key=entry.key,
        path="area.py",
        side="RIGHT",
        quote="log(total)",
        nearby=("defarea(side):", "returnside*2", "total=side**2", "returntotal"),
        severity="high",
        category="security",
        title="Logs a secret",
        state="open",
        prompt_id="pull_requests/analyze@1",
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
    text = BEFORE.replace("+1,4", "+8,4").replace("+    log(total)", "+\tlog( total )")
    assert raised(moved, text=text)[0].key == raised()[0].key


def test_keys_of_equal_lines_differ() -> None:
    first = add((), [FIRST, SECOND], patches(TWICE), prompt_id="p@1")
    later = add(first, [SECOND], patches(TWICE), prompt_id="p@1")
    assert len({entry.key for entry in (*first, *later)}) == 3


# Moves to other files


def test_long_line_is_stored_as_a_digest() -> None:
    long = BEFORE.replace("log(total)", f"log({'total, ' * 9_000}1)")
    (entry,) = raised(text=long)
    assert entry.quote == "29964936fdf66079e1575a5d257941c52b463793f88e428108e96da6e5be40b7"
    assert states((entry,), patches(long)) == ["open"]
    assert states((entry,), patches(long.replace(", 1)", ", 2)"))) == ["fixed"]


def test_finding_follows_its_line_into_a_renamed_file() -> None:
    after = follow_up(raised(), patches(path="shapes.py"), unread=())
    assert [(one.path, one.state) for one in after] == [("shapes.py", "open")]
    assert [one.line for one in locate_open(after, patches(path="shapes.py"))] == [3]


def test_finding_without_lines_around_it_follows_its_line() -> None:
    only_line = "@@ -0,0 +1,1 @@\n+    log(total)"
    alone = FOUND.model_copy(update={"line": 1})
    after = follow_up(raised(alone, text=only_line), patches(only_line, "shapes.py"), unread=())
    assert [(one.path, one.state) for one in after] == [("shapes.py", "open")]


def test_finding_follows_a_function_that_is_removed_from_its_file() -> None:
    removed = "@@ -1,4 +0,0 @@\n-def area(side):\n-    return side * 2\n-    log(total)\n-    return total"
    moved = {"area.py": parse_patch(removed), "shapes.py": parse_patch(BEFORE)}
    after = follow_up(raised(), moved, unread=())
    assert [(one.path, one.state) for one in after] == [("shapes.py", "open")]


def test_finding_does_not_move_to_an_equal_line_elsewhere() -> None:
    elsewhere = {"other.py": parse_patch("@@ -1,1 +1,2 @@\n other()\n+    log(total)")}
    fixed = {"area.py": parse_patch(REPLACED), "other.py": parse_patch(BEFORE)}
    unrelated = {"mail.py": parse_patch("@@ -1,1 +1,3 @@\n send()\n+    log(total)\n+    return total")}
    assert states(raised(), elsewhere) == ["gone"]
    assert states(raised(), unrelated) == ["gone"]
    assert states(raised(), fixed) == ["fixed"]
    assert follow_up(raised(), elsewhere, unread=("area.py",))[0].path == "area.py"


def test_short_line_does_not_move_to_another_file() -> None:
    short = FOUND.model_copy(update={"line": 1, "quote": "}"})
    after = follow_up(raised(short, text="@@ -0,0 +1 @@\n+}"), patches("@@ -0,0 +1 @@\n+}", "b.py"), unread=())
    assert [(one.path, one.state) for one in after] == [("area.py", "gone")]


def test_dismissed_finding_follows_its_line_into_a_renamed_file() -> None:
    after = follow_up([replace(raised()[0], state="dismissed")], patches(path="shapes.py"), unread=())
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
    after = follow_up(ledger, second_fixed, unread=())
    assert [(one.title, one.state) for one in after] == [("First", "open"), ("Second", "fixed")]
    assert [(one.entry.title, one.line) for one in locate_open(after, second_fixed)] == [("First", 3)]
    first_fixed = patches(TWICE.replace("return None", "return 0", 1))
    assert states(ledger, first_fixed) == ["fixed", "open"]


def test_findings_at_equal_places_have_different_lines() -> None:
    block = "+def get():\n+    return None\n+\n+    done()\n+    again()"
    hunks = f"@@ -0,0 +1,5 @@\n{block}\n@@ -50,0 +56,5 @@\n{block}"
    twins = [FIRST.model_copy(update={"line": 2}), SECOND.model_copy(update={"line": 57})]
    ledger = raised(*twins, text=hunks)
    assert ledger[0].nearby == ledger[1].nearby
    assert [one.line for one in locate_open(ledger, patches(hunks))] == [2, 57]
    assert find_new(twins, ledger, patches(hunks)) == ()
    assert states(ledger, patches(hunks.replace("return None", "return 0", 1))).count("fixed") == 1


def test_two_findings_about_one_line_are_both_open() -> None:
    slow = FOUND.model_copy(update={"title": "Slow", "category": "performance"})
    assert states(raised(FOUND, slow), patches()) == ["open", "open"]
    assert states(raised(FOUND, slow), patches(REPLACED)) == ["fixed", "fixed"]


def test_finding_raised_later_on_the_same_line_does_not_fix_the_earlier_one() -> None:
    earlier = follow_up(raised(), patches(CHANGED_BESIDE), unread=())
    slow = FOUND.model_copy(update={"title": "Slow", "category": "performance"})
    ledger = (*earlier, *add(earlier, [slow], patches(CHANGED_BESIDE), prompt_id="p@1"))
    assert states(ledger, patches(CHANGED_BESIDE)) == ["open", "open"]
    assert find_new([FOUND, slow], ledger, patches(CHANGED_BESIDE)) == ()


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
    assert find_new([found], ledger, patches() | patches(path="b.py")) == ((found,) if is_new else ())


def test_finding_is_known_at_other_line_numbers_and_indentation() -> None:
    moved = patches(BEFORE.replace("+1,4", "+8,4").replace("+    log(total)", "+\tlog( total )"))
    again = FOUND.model_copy(update={"line": 10, "title": "Another title", "quote": "\tlog( total )"})
    assert find_new([again], raised(), moved) == ()


def test_finding_on_an_equal_line_at_another_place_is_new() -> None:
    assert find_new([FIRST, SECOND], raised(SECOND, text=TWICE), patches(TWICE)) == (FIRST,)
    assert find_new([FIRST, SECOND], raised(FIRST, SECOND, text=TWICE), patches(TWICE)) == ()


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
    "dismissing",
    [
        thread(thumbs_down=("mona",)),
        thread(is_resolved=True, resolved_by="mona"),
        reply("Won't fix."),
    ],
    ids=["thumbs down", "resolved", "reply"],
)
def test_person_dismisses_a_finding(dismissing: ReviewThread) -> None:
    assert after(posted(), dismissing) == posted(state="dismissed", dismissed_by="mona")
    assert after(posted(), dismissing, writers=("mona",)) == posted(
        state="dismissed", dismissed_by="mona", has_binding_dismissal=True
    )


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


def test_people_are_listed_once() -> None:
    given = thread(
        is_resolved=True,
        resolved_by="mona",
        thumbs_down=("zoe", "mona"),
        replies=(ThreadReply("zoe", "by design"), ThreadReply("ann", "thanks"), ThreadReply("bob", "Out of scope")),
    )
    assert find_dismissals(given) == ("mona", "zoe", "bob")
    assert find_dismissals(thread(is_resolved=True)) == ()


def test_last_reply_of_a_person_counts() -> None:
    said = (
        ThreadReply("mona", "Won't fix."),
        ThreadReply("zoe", "By design."),
        ThreadReply("mona", "Good catch, fixing"),
    )
    assert find_dismissals(thread(replies=said)) == ("zoe",)
    assert find_dismissals(thread(replies=said[::-1])) == ("zoe", "mona")


def test_bots_dismiss_nothing() -> None:
    assert find_dismissals(thread(thumbs_down=("ci[bot]",), replies=(ThreadReply("ci[bot]", "won't fix"),))) == ()


# Storage


def test_record_is_stored_as_json_and_read_back() -> None:
    record = ReviewRecord(2, {"area.py": ("0123456789abcdef",)}, "bug-fix", "Squares.", (posted(state="dismissed"),))
    assert parse_record(dump_record(record), [dump_entry(entry) for entry in record.ledger]) == record
    assert "area.py" in dump_record(record)
    assert "Logs a secret" not in dump_record(record)


@pytest.mark.parametrize("stored", [None, "", "[]", "{", '{"rounds": "many"}'])
def test_record_of_another_version_is_left_out(stored: str | None) -> None:
    assert parse_record(stored, ["{}", dump_entry(posted())]) == replace(NO_REVIEW, ledger=(posted(),))
