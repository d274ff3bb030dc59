"""Findings that quote several lines, in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import unified_diff

import pytest

from hls_handler.analysis import Finding
from hls_handler.review.changes import digest_hunk
from hls_handler.review.ledger import add, apply_threads, find_new, follow_up, raise_severities
from hls_handler.review.patches import Patch, Side, parse_patch
from hls_handler.review.places import PresentFiles
from hls_handler.review.quotes import list_tokens
from hls_handler.review.record import LedgerEntry, ReviewThread, ThreadReply
from hls_handler.review.verdicts import settle_quotes
from tests.handlers.world import finding

CALL = """@@ -1,2 +1,8 @@
 first()
+run(
+    command,
+    env=user,
+    shell=True,
+)
+log(command)
 last()"""
CORRECTED = CALL.replace("env=user", "env=None")
FOUND = finding(path="area.py", start_line=2, line=6, quote="run(\n    command,\n    env=user,\n    shell=True,\n)")


def patches(text: str, path: str = "area.py") -> dict[str, Patch]:
    return {path: parse_patch(text)}


def raised(found: Finding = FOUND, text: str = CALL) -> LedgerEntry:
    (entry,) = add((), [found], patches(text), prompt_id="pull_requests/analyze@1")
    return replace(entry, comment_id=901)


def follow(entry: LedgerEntry, now: str, *, before: str = CALL, path: str = "area.py") -> LedgerEntry:
    return follow_up([entry], present(now, before=before, path=path))[0]


def present(now: str, *, before: str = CALL, path: str = "area.py") -> PresentFiles:
    """Return the files of a pull request whose reviewed file area.py has the patch `now`."""
    reviewed = parse_patch(before)
    return PresentFiles(
        patches(now, path),
        reviewed={"area.py": tuple(map(digest_hunk, reviewed.hunks))},
        quoted={"area.py": list_tokens(reviewed)},
    )


def settle(
    entry: LedgerEntry, now: str, *findings: Finding, is_corrected: bool | None = None
) -> tuple[LedgerEntry, Sequence[Finding]]:
    decided = {None: ((), ()), True: ([entry.key], ()), False: ((), [entry.key])}[is_corrected]
    (settled,), repeating = settle_quotes([entry], findings, patches(now), corrected=decided[0], present=decided[1])
    return settled, repeating


def test_finding_is_known_by_the_last_long_line_that_the_pull_request_changes() -> None:
    assert (raised().line, raised().quote) == (5, "shell=True,")
    unchanged = CALL.replace("+    shell", "     shell")
    assert (raised(text=unchanged).line, raised(text=unchanged).quote) == (4, "env=user,")
    only_short = (
        CALL.replace("+", " ")
        .replace("  )", "+)")
        .replace("- 1,8", "-1,2 +1,8")
        .replace("@@ -1,2  1,8", "@@ -1,2 +1,8")
    )
    assert raised(text=only_short.replace("\n )", "\n+)")).line == 5


@pytest.mark.parametrize(
    "now",
    [
        CORRECTED,
        CALL.replace("+    env=user,\n", ""),
        CALL.replace("+    env=user,\n+    shell=True,", "+    shell=True,\n+    env=user,"),
        CALL.replace("+    shell=True,", "+    timeout=5,\n+    shell=True,"),
        CALL.replace("+    shell=True,\n", ""),
        CALL.replace("shell=True", "shell=False"),
        CALL.replace("+)", "+    check=True)"),
    ],
    ids=["changed", "removed", "swapped", "added", "last one removed", "last one changed", "end changed"],
)
def test_finding_is_open_until_claude_decides_about_its_changed_lines(now: str) -> None:
    followed = follow(raised(), now)
    assert (followed.state, followed.is_quote_changed) == ("open", True)
    assert settle(followed, now) == (followed, ())
    fixed, _ = settle(followed, now, is_corrected=True)
    present, _ = settle(followed, now, is_corrected=False)
    assert [(one.state, one.is_quote_changed) for one in (fixed, present)] == [("fixed", True), ("open", False)]
    again = [follow(one, now, before=now) for one in (fixed, present)]
    assert [(one.state, one.is_quote_changed) for one in again] == [("fixed", True), ("open", False)]
    back = [follow(one, CALL, before=now) for one in (fixed, followed)]
    assert [(one.state, one.is_quote_changed) for one in back] == [("open", False)] * 2


@pytest.mark.parametrize(
    "now",
    [
        CALL,
        CALL.replace("+1,8", "+41,8").replace("first()", "above()"),
        CALL.replace("log(command)", "log('done')"),
        CALL.replace("    ", "\t"),
    ],
    ids=["same", "lines above it changed", "line below it changed", "indented"],
)
def test_quote_does_not_change_with_the_lines_around_it(now: str) -> None:
    followed = follow(raised(), now)
    assert (followed.state, followed.is_quote_changed) == ("open", False)


def test_finding_is_fixed_or_gone_if_none_of_its_lines_is_there() -> None:
    for now, state in (
        ("@@ -1,2 +1,4 @@\n first()\n+run()\n+log(command)\n last()", "fixed"),
        ("@@ -90,1 +90,2 @@\n other()\n+another()", "gone"),
    ):
        followed = follow(raised(), now)
        assert (followed.state, followed.line, followed.is_quote_changed) == (state, None, False)


def test_finding_that_ends_with_a_bracket_moves_to_another_file() -> None:
    followed = follow(raised(), CALL, path="vendor/area.py")
    assert (followed.path, followed.state, followed.is_quote_changed) == ("vendor/area.py", "open", False)


def test_short_line_elsewhere_is_not_a_line_of_the_finding() -> None:
    short = raised(text=CALL.replace("env=user,", "a=1,"))
    now = "@@ -1,2 +1,3 @@\n first()\n-last()\n+end()\n+call()\n+print()\n+    a=1,"
    assert (follow(short, now).state, follow(short, now).line) == ("fixed", None)


@pytest.mark.parametrize(
    ("start", "line", "title", "is_repeated"),
    [
        (None, 5, "Other words", True),
        (None, 4, FOUND.title, True),
        (3, 4, FOUND.title, True),
        (5, 7, FOUND.title, True),
        (None, 4, "Another defect", False),
        (3, 4, "Another defect", False),
        (None, 1, FOUND.title, False),
        (None, 7, FOUND.title, False),
    ],
)
def test_finding_repeats_one_whose_quote_changed_unless_it_is_another_defect(
    start: int | None, line: int, title: str, is_repeated: bool
) -> None:
    found = finding(path="area.py", start_line=start, line=line, title=title, severity="critical", quote="")
    followed = follow(raised(), CORRECTED)
    settled, repeating = settle(followed, CORRECTED, found, is_corrected=True)
    wanted = ("open", "critical", (found,)) if is_repeated else ("fixed", FOUND.severity, ())
    assert (settled.state, settled.severity, repeating) == wanted
    closed = follow(settle(followed, CORRECTED, is_corrected=True)[0], CORRECTED, before=CORRECTED)
    is_same = is_repeated and title == FOUND.title
    assert settle(closed, CORRECTED, found)[0].state == ("open" if is_same else "fixed")
    assert len(find_new([found], [closed], patches(CORRECTED))) == 1


def test_finding_in_another_file_or_on_the_other_side_repeats_nothing() -> None:
    followed = follow(raised(), CORRECTED)
    for other in (FOUND.model_copy(update={"path": "b.py"}), FOUND.model_copy(update={"side": "LEFT"})):
        assert settle(followed, CORRECTED, other, is_corrected=True)[0].state == "fixed"


def test_finding_at_a_line_of_the_quote_is_not_new() -> None:
    entry = raised()
    for line, title, new in (
        (5, "Other words", 0),
        (6, "Other words", 1),
        (3, FOUND.title, 0),
        (6, FOUND.title, 0),
        (3, "Another defect", 1),
        (7, FOUND.title, 1),
    ):
        found = finding(path="area.py", line=line, title=title, quote="")
        assert len(find_new([found], [entry], patches(CALL))) == new


RESOLVED = ReviewThread(901, raised().key, True, "zoe", (), (), (), ())
REPLIED = replace(RESOLVED, is_resolved=False, replies=(ThreadReply("zoe", "won't fix"),))


def apply(entry: LedgerEntry, thread: ReviewThread) -> LedgerEntry:
    return apply_threads([entry], [thread], writers=["zoe"])[0]


@pytest.mark.parametrize(
    "now",
    [CORRECTED, CALL.replace("+    shell", "+    cwd=path,\n+    shell"), CALL.replace("shell=True", "shell=1")],
    ids=["changed", "added", "last one changed"],
)
def test_dismissal_does_not_hold_if_the_quote_changed(now: str) -> None:
    dismissed = apply(raised(), REPLIED)
    changed = apply(follow(dismissed, now), REPLIED)
    present = apply(settle(changed, now, is_corrected=False)[0], REPLIED)
    back = apply(follow(changed, CALL, before=now), REPLIED)
    assert [one.state for one in (dismissed, changed, present, back)] == ["dismissed", "open", "open", "open"]


def test_dismissal_of_the_changed_quote_holds_until_it_changes_again() -> None:
    entry = apply(follow(raised(), CORRECTED), replace(REPLIED, replies=()))
    again = CORRECTED.replace("command,", "os.system,")
    for now, before, state in (
        (CORRECTED, CALL, "dismissed"),
        (CORRECTED, CORRECTED, "dismissed"),
        (again, CORRECTED, "open"),
        (CALL, again, "open"),
    ):
        entry = apply(follow(entry, now, before=before), REPLIED)
        assert entry.state == state


def test_dismissed_finding_is_open_if_its_changed_quote_is_reported_as_more_severe() -> None:
    for severity, state in (("critical", "open"), (FOUND.severity, "dismissed")):
        dismissed = apply(follow(raised(), CORRECTED), REPLIED)
        dismissed = replace(dismissed, state="dismissed", has_binding_dismissal=True)
        found = FOUND.model_copy(update={"severity": severity})
        assert settle(dismissed, CORRECTED, found)[0].state == state


def test_finding_whose_file_was_not_shown_is_not_decided() -> None:
    followed = follow(raised(), CORRECTED)
    (settled,), repeating = settle_quotes([followed], [FOUND], {}, corrected=(), present=[followed.key])
    assert (settled, repeating) == (followed, ())


# Attacks


def test_inserted_lines_do_not_move_the_first_lines_out_of_the_quote() -> None:
    longer = CALL.replace("+    shell=True,", "+    cwd=path,\n+    check=True,\n+    shell=True,")
    present, _ = settle(follow(raised(), longer), longer, is_corrected=False)
    assert (present.lines_above, present.lines_below, len(present.lines)) == (5, 1, 6)
    corrected = longer.replace("command,", "quote(command),", 1)
    assert follow(present, corrected, before=longer).is_quote_changed


def test_all_lines_of_a_long_finding_are_compared() -> None:
    lines = [f"argument_{number}," for number in range(40)]
    text = "\n+    ".join(["@@ -1,1 +1,43 @@\n first()\n+run(", *lines]) + "\n+)"
    entry = raised(finding(path="area.py", start_line=2, line=43, quote=""), text)
    assert (entry.line, len(entry.lines)) == (42, 41)
    for number in (0, 20, 39):
        assert follow(entry, text.replace(f"argument_{number},", "other,"), before=text).is_quote_changed


def test_unchanged_lines_of_the_quote_do_not_count() -> None:
    text = "@@ -1,5 +1,5 @@\n first()\n-run(old)\n+run(\n     env=user,\n+    shell=True,\n last()"
    entry = raised(finding(path="area.py", start_line=2, line=4, quote=""), text)
    changed_by_base = text.replace(" env=user", " env=other")
    removed = text.replace("     env=user,", "-    env=user,")
    assert [follow(entry, now, before=text).is_quote_changed for now in (changed_by_base, removed)] == [False, True]


def test_most_lines_of_the_quote_decide_about_its_place() -> None:
    moved = CALL.replace(" first()\n", "").replace("+1,8", "+1,7").replace("-1,2", "-1,1")
    equal = "@@ -1,2 +1,5 @@\n first()\n+call(\n+    shell=True,\n+)\n last()"
    files = replace(present(equal), patches=patches(equal) | patches(moved, "b.py"))
    (followed,) = follow_up([raised()], files)
    assert (followed.path, followed.line, followed.state, followed.is_quote_changed) == ("area.py", 3, "open", True)


def test_equal_line_of_another_function_is_not_the_finding() -> None:
    functions = [f"+def load_{n}(path):\n+    data = parse(path)\n+    run(data)\n+    return {n}" for n in (1, 2)]
    text = "\n".join(["@@ -0,0 +1,8 @@", *functions])
    entry = raised(finding(path="area.py", start_line=6, line=8, quote=""), text)
    without = "\n".join(["@@ -0,0 +1,4 @@", functions[0]])
    assert follow(entry, without, before=text).state == "fixed"


def test_open_finding_takes_the_lines_of_one_with_its_title_around_it() -> None:
    entry = raised(finding(path="area.py", start_line=2, line=3, quote="", title="Runs the input"))
    wider = finding(path="area.py", start_line=2, line=6, quote="", title="Runs the input", body="Also by the shell.")
    settled, repeating = settle(entry, CALL, wider)
    assert (repeating, settled.lines_below, "Also by the shell." in settled.body) == ((wider,), 3, True)
    assert follow(settled, CORRECTED).is_quote_changed
    for other in (replace(entry, state="dismissed"), replace(entry, title="Another")):
        assert settle(other, CALL, wider) == (other, ())


@pytest.mark.parametrize(
    ("line", "title", "category", "body"),
    [
        (3, "Runs the input", "performance", "The input is run.\n\nRuns the input (shell=True,): It is a shell."),
        (6, "A shell", "bugs", "Runs the input: The input is run.\n\nA shell (shell=True,): It is a shell."),
    ],
)
def test_open_finding_takes_the_severity_of_a_worse_one_around_it(
    line: int, title: str, category: str, body: str
) -> None:
    known = finding(path="area.py", line=line, quote="", title="Runs the input", severity="low", category="bugs")
    entry = replace(raised(known), body="The input is run.", is_body_posted=True)
    named = {"title": title, "category": category, "body": "It is a shell."}
    worse = finding(path="area.py", start_line=2, line=6, quote="", severity="critical").model_copy(update=named)
    settled, repeating = settle(entry, CALL, worse)
    assert (repeating, settled.severity, settled.title, settled.body) == ((worse,), "critical", title, body)
    assert not settled.is_body_posted


def test_finding_with_the_title_and_category_of_an_open_one_at_another_of_its_lines_adds_its_text() -> None:
    entry = replace(raised(), body="The shell is used.", is_body_posted=True)
    other = finding(path="area.py", line=3, quote="command,", body="The command is not quoted.")
    settled, repeating = settle(entry, CALL, other)
    assert (repeating, settled.quoted_lines) == ((other,), entry.quoted_lines)
    assert settled.body == "The shell is used.\n\nWrong (command,): The command is not quoted."
    assert not settled.is_body_posted


@pytest.mark.parametrize(("changed", "lines"), [({("area.py", "RIGHT", 3)}, range(3, 6)), (set(), range(5, 6))])
def test_finding_at_the_line_of_an_open_one_with_its_title_adds_the_other_lines_that_changed(
    changed: set[tuple[str, Side, int]], lines: range
) -> None:
    entry = raised(finding(path="area.py", line=5, quote=""))
    other = finding(path="area.py", start_line=3, line=5, quote="", category="performance", body="The command is slow.")
    (settled,), _ = settle_quotes([entry], [other], patches(CALL), corrected=(), present=(), changed=changed)
    assert settled.quoted_lines == lines
    assert ("The command is slow." in settled.body) == (3 in lines)


def test_finding_with_the_title_and_at_the_line_of_one_whose_quote_changed_adds_its_text() -> None:
    entry = replace(raised(), body="The shell is used.")
    again = FOUND.model_copy(update={"body": "The environment is empty."})
    settled, _ = settle(follow(entry, CORRECTED), CORRECTED, again, again)
    assert settled.body == "The shell is used.\n\nWrong (shell=True,): The environment is empty."


def test_later_text_with_the_same_title_about_the_same_line_replaces_the_one_before() -> None:
    entry, before = replace(raised(), body="The shell is used."), CALL
    for number in range(3):
        now = CORRECTED.replace("None", str(number))
        again = FOUND.model_copy(update={"body": f"In round {number}\n\n- it is empty."})
        entry, _ = settle(follow(entry, now, before=before), now, again)
        before = now
    assert entry.body == "The shell is used.\n\nWrong (shell=True,): In round 2\n- it is empty."


TWICE = CALL.replace("    env=user", "    command")  # as line 4, too


@pytest.mark.parametrize(
    ("title", "lines", "bodies", "expected"),
    [
        (
            "Wrong",
            (3, 4),
            ("It is slow.", "It is wrong."),
            "\n\nWrong (command,): It is slow.\n\nWrong (command,): It is wrong.",
        ),
        ("Wrong", (3,), ("The shell is used.",), "\n\nWrong (command,): The shell is used."),
        ("Wrong", (5,), ("The shell is used.",), ""),
        ("W" * 200, (5,), ("B" * 500,), f"\n\n{'W' * 200} (shell=True,): {'B' * 400}… [100 characters cut]"),
    ],
    ids=["equal lines", "same text elsewhere", "same text", "long"],
)
def test_text_of_a_finding_is_kept_unless_one_with_its_title_is_about_the_same_line(
    title: str, lines: tuple[int, ...], bodies: tuple[str, ...], expected: str
) -> None:
    entry = replace(raised(text=TWICE), body="The shell is used.")
    others = [
        finding(path="area.py", start_line=2, line=line, quote="", title=title, body=body)
        for line, body in zip(lines, bodies, strict=True)
    ]
    followed = follow(entry, TWICE.replace("log(command)", "log(1)"), before=TWICE)
    settled, _ = settle(replace(followed, is_quote_changed=True), TWICE, *others)
    assert settled.body == "The shell is used." + expected


def test_oldest_added_text_is_left_out_if_there_are_too_many() -> None:
    entry = replace(raised(), body="The shell is used.", is_quote_changed=True)
    others = [finding(path="area.py", line=5, quote="", title=f"No. {n}", body="B" * 400) for n in range(10)]
    settled, _ = settle(entry, CALL, *others)
    assert [one.partition(" (")[0] for one in settled.body.split("\n\n")] == [
        "The shell is used.",
        *(f"No. {n}" for n in range(3, 10)),
    ]


def test_finding_keeps_the_texts_of_others_if_it_is_reported_as_more_severe() -> None:
    entry = replace(raised(), body="The shell is used.", is_body_posted=True)
    worse = FOUND.model_copy(update={"severity": "critical", "body": "The shell is used, by anyone."})
    other = finding(path="area.py", line=3, quote="command,", body="The command is not quoted.")
    settled, _ = settle(entry, CALL, other)
    texts = {"The shell is used.", "Wrong (command,): The command is not quoted."}
    for raised_entry in (
        raise_severities([settled], [worse], patches(CALL))[0],
        settle(replace(settled, is_quote_changed=True), CALL, worse)[0],
    ):
        assert texts < {*raised_entry.body.split("\n\n")}
        assert (raised_entry.severity, "by anyone" in raised_entry.body) == ("critical", True)


def test_finding_stays_at_its_unchanged_line_if_the_longer_block_above_it_moves_away() -> None:
    base = ["def f(x):", "    one=first,", "    user_2,", "", "    return err"]
    end = [*(f"    keep_{n}(value)" for n in range(6)), "    user_11,", "    two=first,", "    return err"]
    block = ["    one=first,", "    step(value)", "    low(value)", "    user_70,", "    x_71 = load(x)"]
    call = "    run(user, shell=True)"

    def show(*now: str) -> str:
        return "\n".join([*unified_diff([*base, *end], now, lineterm="")][2:])

    before = show(base[0], *block, call, *base[2:], *end)
    now = show(base[0], call, *base[2:], *end[:6], *block, *end[6:])
    entry = raised(finding(path="area.py", start_line=6, line=8, quote=""), before)
    followed = follow(entry, now, before=before)
    assert (followed.line, followed.quote, followed.state) == (2, "run(user, shell=True)", "open")
    assert followed.is_quote_changed


@pytest.mark.parametrize(("start", "line", "is_new"), [(2, 3, True), (2, 4, False), (4, 6, False), (6, 7, True)])
def test_dismissed_finding_is_repeated_if_one_quotes_the_line_that_the_other_is_known_by(
    start: int, line: int, is_new: bool
) -> None:
    text = "@@ -1,2 +1,8 @@\n first()\n+load(user)\n )\n+call(\n+    user,\n+)\n+log(user)\n last()"
    dismissed = replace(raised(finding(path="area.py", start_line=3, line=6, quote=""), text), state="dismissed")
    assert (dismissed.line, dismissed.quoted_lines) == (5, range(3, 7))
    found = finding(path="area.py", start_line=start, line=line, quote="")
    assert bool(find_new([found], [dismissed], patches(text))) == is_new


def test_dismissed_finding_of_one_line_is_repeated_by_one_of_the_whole_statement() -> None:
    text = "@@ -1,2 +1,4 @@\n first()\n+if user:\n+    grant(person)\n last()"
    dismissed = replace(raised(finding(path="area.py", line=2, quote="if user:"), text), state="dismissed")
    found = finding(path="area.py", start_line=2, line=3, quote="if user:\n    grant(person)")
    changed: list[tuple[str, Side, int]] = [("area.py", "RIGHT", 3)]
    assert find_new([found], [dismissed], patches(text), changed) == ()
    other = found.model_copy(update={"title": "Another defect"})
    assert find_new([other], [dismissed], patches(text), changed) == (other,)


def test_finding_in_other_words_adds_its_text_to_the_one_whose_quote_changed() -> None:
    found = FOUND.model_copy(update={"title": "Path traversal", "body": "The path is not checked."})
    entry = replace(raised(), body="The command is not checked.", is_body_posted=True)
    settled, _ = settle(follow(entry, CORRECTED), CORRECTED, found)
    assert settled.body == "The command is not checked.\n\nPath traversal (shell=True,): The path is not checked."
    assert not settled.is_body_posted


def test_finding_about_a_line_that_was_removed_in_its_range_is_asked_about_if_other_code_is_added() -> None:
    removed = "@@ -1,4 +1,3 @@\n run(\n-    check=True,\n )\n last()"
    found = finding(path="area.py", start_line=1, line=2, quote="")
    entry = raised(found, removed)
    assert (entry.side, entry.line, entry.lines) == ("RIGHT", 1, ("check=True,",))
    assert find_new([found], [entry], patches(removed)) == ()
    restored = "@@ -1,4 +1,5 @@\n run(\n     check=True,\n )\n+log()\n last()"
    assert follow(entry, restored, before=removed).state == "fixed"
    corrected = removed.replace(" )", "+    check=is_checked,\n )")
    assert follow(entry, corrected, before=removed).is_quote_changed


def test_finding_of_a_short_line_is_known_by_that_line() -> None:
    entry = raised(finding(path="area.py", line=6, quote=")"))
    assert (entry.line, entry.quote, entry.quoted, entry.lines) == (6, ")", "", ())


def test_finding_whose_patch_was_not_shown_for_a_time_is_not_fixed_by_a_change_of_one_line() -> None:
    hidden = follow_up([raised()], PresentFiles({}, unread={"area.py"}))[0]
    now = CALL.replace("shell=True", "shell=1")
    followed = follow(hidden, now)
    assert (hidden.state, hidden.line, followed.state, followed.is_quote_changed) == ("open", None, "open", True)
    assert (followed.line, followed.lines_above, followed.lines_below) == (5, 3, 1)


def test_dismissal_holds_if_only_the_line_that_the_finding_is_known_by_is_found_again() -> None:
    text = "@@ -1,2 +1,4 @@\n first()\n+    if x:\n+        DEFECT(x)\n+        prepare(x)\n last()"
    entry = raised(finding(path="area.py", start_line=3, line=4, quote=""), text)
    moved = "@@ -0,0 +1,4 @@\n+def g(x):\n+    if x:\n+        DEFECT(x)\n+        prepare(x)"
    for _ in range(3):
        entry = apply(follow(entry, moved, before=text, path="vendor/b.py"), REPLIED)
    assert (entry.path, entry.state) == ("vendor/b.py", "dismissed")


ONE_CHANGED = """@@ -1,6 +1,6 @@
 result = call(
     user,
-    shell=False,
+    shell=True,
     third,
 )
 return result"""


def test_lines_inserted_beside_unchanged_ends_of_the_quote_do_not_push_them_out() -> None:
    entry = raised(finding(path="area.py", start_line=1, line=5, quote=""), ONE_CHANGED)
    longer = ONE_CHANGED.replace("-    shell", "+    a=1,\n+    b=2,\n-    shell").replace("+1,6", "+1,8")
    longer = longer.replace("     third", "+    c=3,\n     third")
    present, _ = settle(follow(entry, longer, before=ONE_CHANGED), longer, is_corrected=False)
    assert (present.lines_above, present.lines_below) == (4, 3)
    for unchanged in ("    user,", "    third,"):
        corrected = longer.replace(f" {unchanged}", f"-{unchanged}\n+    clean(),")
        assert follow(present, corrected, before=longer).is_quote_changed


def test_unchanged_ends_do_not_keep_a_finding_open() -> None:
    entry = raised(finding(path="area.py", start_line=1, line=5, quote=""), ONE_CHANGED)
    now = "@@ -1,6 +1,6 @@\n result = call(\n     user,\n     shell=False,\n     third,\n-)\n+) or None\n return result"
    assert follow(entry, now, before=ONE_CHANGED).state == "fixed"


def test_finding_of_unchanged_lines_is_not_fixed_by_a_change_of_the_last_one() -> None:
    text = "@@ -1,3 +1,3 @@\n-first(x)\n+first(x, 1)\n user = load(x)\n return run(user)"
    entry = raised(finding(path="area.py", start_line=2, line=3, quote=""), text)
    now = text.replace(" return run(user)", "-return run(user)\n+return run(user, 1)")
    followed = follow(entry, now, before=text)
    assert (followed.state, followed.is_quote_changed, followed.quote) == ("open", True, "return run(user, 1)")


def test_each_line_that_was_removed_in_the_range_counts() -> None:
    removed = "@@ -1,5 +1,3 @@\n def f(x):\n-    check(x)\n     load(x)\n-    write_log(x)\n     return run(x)"
    entry = raised(finding(path="area.py", start_line=1, line=3, quote=""), removed)
    assert (entry.side, entry.line, entry.lines) == ("RIGHT", 3, ("check(x)", "write_log(x)"))
    restored = removed.replace("-    write_log(x)", "     write_log(x)")
    assert follow(entry, restored, before=removed).is_quote_changed


def test_finding_that_ends_at_a_line_with_another_one_is_new_if_that_is_dismissed() -> None:
    entry = raised(finding(path="area.py", line=7, quote="", title="Unchecked"))
    wider = finding(path="area.py", start_line=5, line=8, quote="", title="Path traversal")
    at_end = replace(entry, line=8, quote="last()")
    assert find_new([wider], [replace(at_end, state="dismissed")], patches(CALL)) == (wider,)
    assert settle(replace(at_end, state="dismissed"), CALL, wider)[1] == ()
    settled, repeating = settle(at_end, CALL, wider)
    assert (repeating, settled.lines_above, "Path traversal" in settled.body) == ((wider,), 3, True)


def test_equal_findings_do_not_change_places_while_their_patch_is_not_shown() -> None:
    functions = [f"+def f{n}(user):\n+    result = call(\n+        user,\n+        option_{n},\n+    )" for n in (1, 2)]
    text = "\n".join(["@@ -0,0 +1,10 @@", *functions])
    found = [finding(path="area.py", start_line=first, line=first + 3, quote="") for first in (2, 7)]
    entries = add((), found, patches(text), prompt_id="pull_requests/analyze@1")
    hidden = follow_up(entries, PresentFiles({}, unread={"area.py"}))
    shown = follow_up(hidden, present(text, before=text))
    places = [(one.line, one.lines_above, one.lines_below, one.is_quote_changed) for one in shown]
    assert places == [(4, 2, 1, False), (9, 2, 1, False)]


def test_finding_at_a_known_line_is_about_another_one_if_that_changed() -> None:
    entry = raised(finding(path="area.py", line=5, quote="", title="Unchecked"))
    found = finding(path="area.py", start_line=4, line=5, quote="", title="Path traversal")
    changed: set[tuple[str, Side, int]] = {("area.py", "RIGHT", 4)}
    dismissed = replace(entry, state="dismissed")
    assert find_new([found], [dismissed], patches(CALL)) == ()
    assert find_new([found], [dismissed], patches(CALL), changed) == (found,)
    same = found.model_copy(update={"title": "Unchecked"})
    assert find_new([same], [dismissed], patches(CALL), changed) == ()
    (settled,), repeating = settle_quotes([entry], [found], patches(CALL), corrected=(), present=(), changed=changed)
    assert (repeating, settled.lines_above, "Path traversal" in settled.body) == ((found,), 1, True)


def test_lines_inserted_within_a_long_quote_do_not_separate_its_parts() -> None:
    lines = [f"step_{number}(x)" for number in range(80)]
    text = "\n+    ".join(["@@ -0,0 +1,81 @@\n+def f(x):", *lines])
    entry = raised(finding(path="area.py", start_line=1, line=81, quote=""), text)
    longer = text.replace("step_40(x)", "\n+    ".join(["step_40(x)", *(f"added_{number}(x)" for number in range(90))]))
    followed = follow(entry, longer.replace("+1,81", "+1,171"), before=text)
    assert (followed.line, followed.lines_above, followed.is_quote_changed) == (171, 170, True)


def test_texts_of_several_findings_are_kept() -> None:
    entry = replace(raised(), body="A" * 1_000)
    for number in range(3):
        now = CALL.replace("env=user", f"env=user_{number}")
        found = FOUND.model_copy(update={"title": f"Title {number}", "body": "B" * 1_000})
        entry, _ = settle(follow(entry, now), now, found)
    assert [f"Title {number} (shell=True,): BBB" in entry.body for number in range(3)] == [True] * 3


def test_operators_count_and_brackets_do_not() -> None:
    text = "@@ -0,0 +1,5 @@\n+ok = (\n+    is_user(x)\n+    ||\n+    is_admin(x)\n+)"
    entry = raised(finding(path="area.py", start_line=1, line=5, quote=""), text)
    for now, is_changed in ((text.replace("||", "&&"), True), (text.replace("+)", "+);"), False)):
        assert follow(entry, now, before=text).is_quote_changed == is_changed


def test_line_that_is_removed_counts_although_an_equal_one_stays() -> None:
    text = "@@ -1,4 +1,4 @@\n first(x)\n check(x)\n second(x)\n-check(x)\n-third(x)\n+third(x, 3)"
    entry = raised(finding(path="area.py", start_line=1, line=4, quote=""), text)
    assert follow(entry, text.replace("-check(x)", " check(x)"), before=text).is_quote_changed


def test_lines_appended_to_a_call_leave_its_end_in_the_quote() -> None:
    entry, now = raised(), CALL
    for number in range(3):
        longer = now.replace("+)", f"+    option_{number},\n+)")
        entry, _ = settle(follow(entry, longer, before=now), longer, is_corrected=False)
        now = longer
    assert (entry.lines_above, entry.lines_below) == (3, 4)


def test_finding_stays_where_some_of_its_changed_lines_stay() -> None:
    foreign = "\n".join(f" other_{number}()" for number in range(3))
    text = f"@@ -1,2 +1,4 @@\n def f(x):\n+    DEFECT(x)\n+    finish_the_whole_request_of(x)\n{foreign}"
    entry = raised(finding(path="area.py", start_line=2, line=3, quote=""), text)
    moved = "@@ -150,3 +150,4 @@\n one()\n+    finish_the_whole_request_of(x)\n two()\n three()"
    now = f"@@ -1,2 +1,3 @@\n def f(x):\n+    DEFECT(x)\n{foreign}\n{moved}"
    followed = follow(entry, now, before=text)
    assert (followed.line, followed.lines_above, followed.lines_below, followed.is_quote_changed) == (2, 0, 0, True)
    corrected = now.replace("DEFECT(x)", "correct(x)")
    kept, _ = settle(followed, now, is_corrected=False)
    assert follow(kept, corrected, before=now).state == "fixed"


def test_quote_is_whole_again_after_lines_of_it_were_deleted_and_restored() -> None:
    lines = [f"step_{number}(x)" for number in range(18)]
    text = "\n+    ".join(["@@ -0,0 +1,20 @@\n+def f(x):", *lines, "return x"])
    entry = raised(finding(path="area.py", start_line=1, line=20, quote=""), text)
    short = "\n+    ".join(["@@ -0,0 +1,3 @@\n+def f(x):", lines[0], "return x"])
    deleted = follow(entry, short, before=text)
    restored = follow(deleted, text, before=short)
    assert (deleted.is_quote_changed, restored.is_quote_changed) == (True, False)
    assert ((restored.line or 0) - restored.lines_above, (restored.line or 0) + restored.lines_below) == (1, 20)


def test_claude_is_asked_about_a_finding_in_other_words_that_quotes_all_lines() -> None:
    followed = follow(raised(), CALL.replace("+    shell=True,\n", ""))
    now = CALL.replace("+    shell=True,\n", "")
    found = finding(path="area.py", start_line=2, line=5, title="Other words", body="It fails.", quote="")
    settled, repeating = settle(followed, now, found)
    assert (repeating, settled.state, settled.is_quote_changed) == ((found,), "open", True)
    assert "Other words (env=user,): It fails." in settled.body
    assert settle(followed, now, found, is_corrected=True)[0].state == "fixed"
    assert not settle(followed, now, found, is_corrected=False)[0].is_quote_changed


def test_finding_of_one_line_above_a_bracket_quotes_only_that_line() -> None:
    entry = raised(finding(path="area.py", line=5, quote="shell=True,"))
    followed = follow(entry, CALL.replace("+log(command)", "+log(user)"))
    assert (followed.lines_below, followed.quoted, followed.is_quote_changed) == (0, "", False)


def test_finding_stays_open_if_its_function_changes_places_with_another_one() -> None:
    long = [f"+    step_{number}(x)" for number in range(10)]
    other = ["+def f(x):", *long, "+    return f"]
    own = ["+def g(x):", "+    first(x)", "+    DEFECT(x)", "+    return g"]
    text = "\n".join(["@@ -0,0 +1,16 @@", *other, *own])
    entry = raised(finding(path="area.py", start_line=14, line=15, quote=""), text)
    now = "\n".join(["@@ -0,0 +1,16 @@", *own, *other])
    followed = follow(entry, now, before=text)
    assert (followed.line, followed.lines_above, followed.state, followed.is_quote_changed) == (3, 1, "open", False)
    unchanged = replace(present(now, before=text), reviewed={"area.py": (digest_hunk(parse_patch(now).hunks[0]),)})
    assert follow_up([entry], unchanged)[0].line == 3


@pytest.mark.parametrize("quoted", [(1, 2), (2, 3)], ids=["first line", "last line"])
def test_quoted_line_that_the_pull_request_removes_counts(quoted: tuple[int, int]) -> None:
    base = [" DEFECT_close(x)", "+send_it(x)"] if quoted == (1, 2) else [" begin(x)", "+send_it(x)", " DEFECT_close(x)"]
    removed = (
        ["-DEFECT_close(x)", "+send_it(x)"] if quoted == (1, 2) else [" begin(x)", *["-DEFECT_close(x)", "+send_it(x)"]]
    )
    text, now = ("\n".join(["@@ -1,3 +1,4 @@", *lines, " after(x)"]) for lines in (base, removed))
    entry = raised(finding(path="area.py", start_line=quoted[0], line=quoted[1], quote=""), text)
    fixed, _ = settle(follow(entry, now, before=text), now, is_corrected=True)
    again = follow(fixed, now, before=now)
    assert [(one.state, one.is_quote_changed) for one in (fixed, again)] == [("fixed", True)] * 2


def test_fixed_finding_does_not_return_at_the_line_of_a_newer_one() -> None:
    other = "@@ -1,2 +1,3 @@\n first()\n+other(command)\n last()"
    gone = follow(raised(), other)
    newer = replace(raised(), key="newer")
    both = follow_up([gone, newer], present(CALL, before=other))
    assert (gone.state, [one.state for one in both]) == ("fixed", ["fixed", "open"])
    refuted, _ = settle(follow(raised(), CORRECTED), CORRECTED, is_corrected=True)
    restored = follow_up([refuted, replace(newer, decided="")], present(CALL, before=CORRECTED))
    assert [one.state for one in restored] == ["fixed", "open"]
    assert follow(gone, CALL, before=other).state == "open"


THREE = "@@ -40,2 +40,5 @@\n above()\n+open_it(x)\n+DEFECT(x)\n+close_it(x)\n below()"


def test_finding_in_a_patch_that_github_cut_is_compared_with_the_last_whole_one() -> None:
    entry = raised(finding(path="area.py", start_line=41, line=43, quote=""), THREE)
    files = present("@@ -1,1 +1,2 @@\n one()\n+two()", before=THREE)
    (hidden,) = follow_up([entry], replace(files, unread={"area.py"}))
    assert (hidden.state, hidden.line, hidden.shown_line) == ("open", None, 43)
    again = finding(path="area.py", line=43, quote="", title="Other words")
    assert find_new([again], [hidden], patches(THREE)) == ()
    assert find_new([again.model_copy(update={"category": "security"})], [hidden], patches(THREE)) != ()
    followed = follow(hidden, THREE.replace("open_it(x)", "begin(x)").replace("close_it(x)", "end(x)"), before=THREE)
    assert (followed.state, followed.is_quote_changed, followed.lines_above) == ("open", True, 2)


def test_dismissal_holds_after_a_review_that_did_not_read_the_file() -> None:
    entry = apply(raised(finding(path="area.py", start_line=41, line=43, quote=""), THREE), REPLIED)
    hidden = follow_up([entry], PresentFiles({}, unread={"area.py"}))
    shown = follow_up(hidden, replace(present(THREE, before=THREE), reviewed={}))
    assert [one.state for one in (entry, *hidden, *shown)] == ["dismissed"] * 3


def test_unchanged_lines_that_come_back_edited_do_not_close_their_finding() -> None:
    text = "@@ -1,4 +1,5 @@\n+added(x)\n open_it(x)\n DEFECT(x)\n close_it(x)\n below()"
    entry = raised(finding(path="area.py", start_line=2, line=4, quote=""), text)
    elsewhere = "@@ -90,1 +90,2 @@\n other()\n+added(x)"
    hidden = follow(entry, elsewhere, before=text)
    edited = "@@ -1,4 +1,4 @@\n-open_it(x)\n+begin(x)\n DEFECT(x)\n-close_it(x)\n+end(x)\n below()"
    assert (hidden.state, follow(hidden, edited, before=elsewhere).state) == ("open", "open")
