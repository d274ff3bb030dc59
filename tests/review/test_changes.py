"""Comparison of a patch with the reviewed patches of a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls_handler.review.changes import digest_hunk, find_changed_lines, with_present_headings
from hls_handler.review.patches import Line, Patch, parse_patch


def changed(reviewed: str, now: str) -> list[str]:
    """Return the lines of `now` that changed since `reviewed` was reviewed, such as "+12 return 1"."""
    patch = parse_patch(now)
    return show(patch, find_changed_lines(patch, digest(parse_patch(reviewed))))


def digest(patch: Patch) -> tuple[str, ...]:
    return tuple(map(digest_hunk, with_present_headings(patch).hunks))


def show(patch: Patch, indexes: Sequence[frozenset[int]]) -> list[str]:
    return [
        f"{hunk.lines[index].mark}{hunk.lines[index].number} {hunk.lines[index].text}"
        for hunk, of_hunk in zip(patch.hunks, indexes, strict=True)
        for index in sorted(of_hunk)
    ]


AREA = """\
@@ -1,3 +1,5 @@
 def area(side):
-    return side * 2
+    total = side ** 2
+    log(total)
+    return total
 # end"""


def test_first_review_reads_all_removed_and_added_lines() -> None:
    patch = parse_patch(AREA)
    assert show(patch, find_changed_lines(patch)) == [
        "-2     return side * 2",
        "+2     total = side ** 2",
        "+3     log(total)",
        "+4     return total",
    ]


def test_hunk_is_stored_as_a_mark_and_sixteen_characters_of_each_line() -> None:
    stored = digest_hunk(parse_patch(AREA).hunks[0])
    assert len(stored) == 8 * 17
    assert stored[::17] == "^=-+++=$"
    assert digest_hunk(parse_patch(AREA).hunks[0], {2, 3}) == stored[: 3 * 17] + stored[5 * 17 :]


ABOVE, BELOW = " import math\n import sys\n from a import b", " # end\n other = 1\n more = 2"
WIDE = AREA.replace(" def area(side):", f"{ABOVE}\n def area(side):").replace(" # end", BELOW)


@pytest.mark.parametrize(
    "rebased",
    [
        WIDE.replace("-1,3 +1,5", "-41,3 +51,5"),
        WIDE.replace("-1,3 +1,5 @@", "-1,3 +1,5 @@ class Shape:"),
        WIDE.replace(" def area(side):", " def area(side):\n     inserted = 1\n     another = 2\n     third = 3"),
        WIDE.replace(BELOW, " one = 1\n two = 2\n three = 3\n" + BELOW),
        WIDE.replace("import math", "import os"),
    ],
    ids=["moved", "other heading", "lines inserted above", "lines inserted below", "line replaced"],
)
def test_rebase_and_merge_of_the_base_change_nothing(rebased: str) -> None:
    assert changed(WIDE, rebased) == []


@pytest.mark.parametrize(
    ("before", "after", "is_changed"),
    [
        ("def sides(side):", "def sides(side, unit=1):", False),
        ("func (s *Shape) Area() int {", "func (s *Shape) Area(unit int) int {", False),
        ("static int area(int side)", "static int area(int side, int unit)", False),
        ("requests==2.31", "rich==14.0", False),
        ("def sides(side):", "def volume(side):", True),
        ("static int area(int side)", "static int volume(int side)", True),
        ("production:", "staging:", True),
        ('describe("area", () => {', 'describe("volume", () => {', True),
    ],
)
def test_heading_with_another_name_shows_another_place(before: str, after: str, is_changed: bool) -> None:
    heading = "@@ -41,3 +41,5 @@"
    text = WIDE.partition("\n")[2]
    found = changed(f"{heading} {before}\n{text}", f"{heading} {after}\n{text}")
    assert bool(found) == is_changed


def test_hunk_that_the_base_splits_has_no_changed_lines() -> None:
    one = "@@ -1,7 +1,7 @@\n-a\n+b\n line x\n line y\n line z\n line v\n line w\n line u\n-c\n+d"
    split = one.replace(" line z\n", " line z\n@@ -30,3 +30,3 @@\n")
    assert changed(one, split) == changed(split, one) == []


@pytest.mark.parametrize("mark", ["+", "-"])
def test_reviewed_block_at_another_place_is_changed(mark: str) -> None:
    """Also if the place is near the end of a file or some of the lines around it are equal."""

    def function(name: str, code: str) -> str:
        return f"@@ -9 +9,2 @@\n import {name}\n \n def {name}():\n{mark}    {code}\n     pass\n \n other_{name}"

    shown, moved = function("show", "return True"), function("drop", "return True")
    assert [line[:1] for line in changed(shown, moved)] == [mark]
    swapped = f"{function('show', 'y()')}\n{function('drop', 'x()')}"
    assert len(changed(f"{function('show', 'x()')}\n{function('drop', 'y()')}", swapped)) == 2
    short = "@@ -1,4 +1,5 @@\n def show():\n+    return True\n     pass\n def drop():\n     pass"
    at_the_end = "@@ -1,4 +1,5 @@\n def show():\n     pass\n def drop():\n+    return True\n     pass"
    assert len(changed(short, at_the_end)) == 1


IF = """\
@@ -10,6 +10,{} @@
 if (user.isAdmin()) {{
   audit(user);
   log(table);
{} }}
 render(page);
 finish();"""
IN_IF, AFTER_IF = IF.format(7, "+  db.drop(table);\n"), IF.format(7, "").replace(" }", " }\n+  db.drop(table);")


def test_line_moved_by_one_line_is_changed() -> None:
    assert changed(IN_IF, AFTER_IF) == ["+14   db.drop(table);"]
    assert changed(AFTER_IF, IN_IF) == ["+13   db.drop(table);"]
    two = "+  db.drop(table);\n+  db.close(table);"
    assert len(changed(*(patch.replace("+  db.drop(table);", two) for patch in (IN_IF, AFTER_IF)))) == 2


def test_block_moved_with_one_more_or_one_fewer_line_is_changed_as_a_whole() -> None:
    def function(name: str, lines: str) -> str:
        return f"@@ -9 +9,2 @@\n import {name}\n def {name}():\n{lines}     use_{name}()\n     pass\n other_{name}"

    block = "+    rows = db.all(sql)\n+    return rows\n"
    for lines in (block, f"+    # read\n{block}", block.removeprefix("+    rows = db.all(sql)\n")):
        assert len(changed(function("show", block), function("drop", lines))) == lines.count("\n")


def test_line_that_moves_to_another_function_with_the_same_lines_is_changed() -> None:
    clean = IN_IF.replace("+10,7 @@", "+10,7 @@ func Clean() error {")
    assert changed(clean, clean.replace("Clean", "Handle")) == ["+13   db.drop(table);"]
    assert changed(clean, clean.replace("-10,6 +10,7", "-40,6 +50,7")) == []
    longer = clean.replace("\n if (user", "\n func Clean() error {\n+  log(1)\n+  log(2)\n if (user")
    assert changed(clean, longer.replace("@@ func Clean() error {", "@@ func Other() error {")) == [
        "+11   log(1)",
        "+12   log(2)",
    ]


def test_hunk_below_a_definition_that_another_hunk_removes_is_changed() -> None:
    """Its heading is that of the old file, so it is the same although the lines belong to the function above now."""
    below = "@@ -24,4 +26,5 @@ def wipe(rows):\n check(rows)\n audit(rows)\n+delete(rows)\n log(rows)\n close(rows)"
    moved = (
        "@@ -9,5 +9,6 @@\n def show(rows):\n+def wipe(rows):\n+    log(1)\n     first()\n-def wipe(rows):\n     pass"
    )
    gone = moved.replace("+def wipe(rows):\n", "").replace("+9,6", "+9,5")
    assert changed(f"{moved}\n{below}", f"{moved}\n{below}") == []
    assert "+28 delete(rows)" in changed(f"{moved}\n{below}", f"{gone}\n{below}")
    assert "+28 delete(rows)" in changed(f"{gone}\n{below}", f"{moved}\n{below}")
    renamed = gone.replace("-def wipe(rows):", "-def wipe(rows):\n+def wipe(rows, now):").replace("+9,5", "+9,6")
    other = renamed.replace("now):", "then):")
    assert changed(f"{renamed}\n{below}", f"{other}\n{below}") == ["+12 def wipe(rows, then):"]


def test_block_moved_between_lines_that_another_hunk_has_too_does_not_change_that_hunk() -> None:
    before = """\
@@ -20,2 +20,3 @@ def first(x):
     start(x)
+    moved(x)
     stop(x)
@@ -44,4 +45,6 @@ def second(x):
     except Error:
         return None
     finish(x)
+    one = 1
+    two = 2
     close(x)"""
    after = """\
@@ -1,3 +1,4 @@
     except Error:
         return None
+    moved(x)
     other(x)
@@ -44,4 +45,6 @@ def second(x):
     except Error:
         return None
     finish(x)
+    one = 1
+    two = 3
     close(x)"""
    assert changed(before, after) == ["+3     moved(x)", "+49     two = 3"]


def test_block_moved_below_the_last_lines_of_another_hunk_is_changed() -> None:
    before = """\
@@ -1,7 +1,7 @@
 def setup(app):
     configure(app)
     app.start()
-    return app
+    return app.warm()
 # ---
 def public_page(request):
     page = find_page(request)
@@ -17,10 +17,16 @@ def public_page(request):
     return render(title, body, links)
 # ---
 def admin_page(request):
+    start_audit(request)
     require_admin(request)
+    execute(request.args['command'])
+    delete(request.args['path'])
     users = list_users()
+    warnings = list_warnings()
+    jobs = list_jobs()
     user = request.user
     log_visit(user)
     logs = list_logs()
+    audit(logs)
     return render(users, logs)
 # ---"""
    after = """\
@@ -1,10 +1,12 @@
 def setup(app):
     configure(app)
     app.start()
-    return app
+    return app.warm()
 # ---
 def public_page(request):
     page = find_page(request)
+    execute(request.args['command'])
+    delete(request.args['path'])
     user = request.user
     log_visit(user)
     title = page.title
@@ -17,10 +19,14 @@ def public_page(request):
     return render(title, body, links)
 # ---
 def admin_page(request):
+    start_audit(request)
     require_admin(request)
     users = list_users()
+    warnings = list_warnings()
+    jobs = list_jobs()
     user = request.user
     log_visit(user)
     logs = list_logs()
+    audit(logs)
     return render(users, logs)
 # ---"""
    assert changed(before, after) == [
        "+8     execute(request.args['command'])",
        "+9     delete(request.args['path'])",
        "+22     start_audit(request)",
        "+25     warnings = list_warnings()",
    ]


def test_line_stays_reviewed_between_lines_that_the_pull_request_changes() -> None:
    edited = IN_IF.replace("   log(table);\n", "-  log(table);\n+  trace(table);\n").replace(" }", "-}\n+} else {")
    assert changed(IN_IF, edited) == ["-12   log(table);", "+12   trace(table);", "-13 }", "+14 } else {"]


def test_removed_guard_in_the_same_hunk_changes_what_is_below_it() -> None:
    guard = IN_IF.replace("   log(table);", "+  require_admin(user);\n   log(table);")
    assert changed(guard, IN_IF) == ["+13   db.drop(table);"]
    guarded = "@@ -1,9 +1,9 @@\n-  require_admin(user);\n log(table);\n+wipe();"
    assert changed(guarded, guarded.replace("-  require", "   require")) == ["+3 wipe();"]


def test_line_whose_neighbours_the_base_changed_on_both_sides_is_changed() -> None:
    base = IN_IF.replace("log(table)", "log(table, user)").replace("render(page)", "render(page, user)")
    assert changed(IN_IF, base.replace(" }", " })")) == ["+13   db.drop(table);"]


@pytest.mark.parametrize("below", ["", "\n }\n end_of_one\n end_of_two"], ids=["end of the file", "with a bracket"])
def test_base_may_change_all_lines_above_a_block(below: str) -> None:
    before = f"@@ -7,3 +7,4 @@\n one = 1\n two = 2\n three = 3\n+four = 4{below}"
    after = f"@@ -17,3 +17,4 @@\n five = 5\n six = 6\n seven = 7\n+four = 4{below}"
    assert changed(before, after) == []


def test_one_changed_line_of_a_new_file_is_the_only_one() -> None:
    lines = [f"+line {number}" for number in range(1, 501)]
    now = [*lines[:249], "+other", *lines[250:]]
    header = "@@ -0,0 +1,500 @@\n"
    assert changed(header + "\n".join(lines), header + "\n".join(now)) == ["+250 other"]


def test_new_hunk_is_changed_and_the_reviewed_one_is_not() -> None:
    assert changed(AREA, f"{AREA}\n@@ -20 +22 @@\n-old\n+new") == ["-20 old", "+22 new"]


@pytest.mark.parametrize(
    ("now", "lines"),
    [
        (AREA.replace("+    log(total)\n", ""), ["+2     total = side ** 2", "+3     return total"]),
        (AREA.replace("-    return", "     return"), ["+3     total = side ** 2"]),
        (AREA.replace("+    return total\n", ""), ["+3     log(total)"]),
    ],
    ids=["in the middle", "at its beginning", "at its end"],
)
def test_lines_beside_deleted_ones_are_changed(now: str, lines: list[str]) -> None:
    assert changed(AREA, now) == lines


def test_block_that_ends_as_the_one_above_it_is_changed_with_both_ends() -> None:
    before = "@@ -5,2 +5,4 @@\n one()\n+first = 1\n+return None\n def last():"
    inserted = "+return None\n+def second():\n+second = 2\n+return None"
    expected = ["+7 return None", "+8 def second():", "+9 second = 2", "+10 return None"]
    assert changed(before, before.replace("+return None", inserted)) == expected
    twice = before.replace("+return None", "+return None\n+return None")
    assert changed(before, twice) == ["+7 return None", "+8 return None"]


def test_reverted_block_changes_nothing() -> None:
    two = f"{AREA}\n@@ -20 +22 @@\n-old\n+new"
    assert changed(two, AREA) == []


def test_second_equal_block_is_changed_if_only_one_was_reviewed() -> None:
    once = "@@ -1 +1,2 @@\n a\n+return None"
    twice = f"{once}\n@@ -30 +31,2 @@\n b\n+return None"
    assert changed(once, twice) == ["+32 return None"]
    assert changed(twice, twice) == changed(twice, once) == []


@pytest.mark.parametrize(
    "now",
    [
        AREA.replace("+    log(total)", "+\tlog(total)"),
        AREA.replace("+    log(total)", "+    log(total) "),
        AREA.replace("+    log(total)", "+    log(total)\r"),
    ],
    ids=["indentation", "at the end", "line end"],
)
def test_change_of_whitespace_counts(now: str) -> None:
    assert [line[:2] for line in changed(AREA, now)] == ["+3"]


def test_newline_at_the_end_of_the_file_counts() -> None:
    assert changed("@@ -0,0 +1 @@\n+a", "@@ -0,0 +1 @@\n+a\n\\ No newline at end of file") == ["+1 a"]


def test_added_line_that_is_now_removed_is_changed() -> None:
    assert changed("@@ -0,0 +1 @@\n+a", "@@ -1 +0,0 @@\n-a") == ["-1 a"]


def test_reviewed_lines_in_another_order_are_changed() -> None:
    assert changed("@@ -0,0 +1,2 @@\n+check()\n+act()", "@@ -0,0 +1,2 @@\n+act()\n+check()") != []


def test_long_patches_that_differ_everywhere_are_changed_as_a_whole() -> None:
    before = "@@ -0,0 +1,502 @@\n" + "\n".join(["+a", *["+}"] * 500, "+b"])
    assert len(changed(before, before.replace("+a", "+c").replace("+b", "+d"))) == 502


TEXTS = st.sampled_from(["a", "b", "c", "return None", "}", ""])
BLOCKS = st.lists(st.builds("{}{}".format, st.sampled_from("+-"), TEXTS), min_size=1, max_size=5)
HUNKS = st.lists(st.lists(BLOCKS, min_size=1, max_size=3), max_size=4)


def make_patch(hunks: Sequence[Sequence[Sequence[str]]], *, start: int = 1, context: str = "same") -> Patch:
    """Return a patch of hunks that consist of blocks; an unchanged line precedes each block."""
    shown = [
        "\n".join(
            [f"@@ -{start + 100 * number} +{start + 100 * number} @@", *(f" {context}\n" + "\n".join(b) for b in hunk)]
        )
        for number, hunk in enumerate(hunks)
    ]
    return parse_patch("\n".join(shown))


@given(HUNKS)
def test_reviewed_patch_at_other_lines_has_no_changed_lines(hunks: list[list[list[str]]]) -> None:
    reviewed = digest(make_patch(hunks))
    moved = make_patch(hunks, start=77)
    assert find_changed_lines(moved, reviewed) == tuple(frozenset() for _ in hunks)


@given(HUNKS, HUNKS)
def test_every_line_that_was_not_reviewed_is_found(old: list[list[list[str]]], now: list[list[list[str]]]) -> None:
    before, patch = make_patch(old), make_patch(now)
    found = find_changed_lines(patch, digest(before))
    assert all(hunk.lines[index].mark != " " for hunk, of in zip(patch.hunks, found, strict=True) for index in of)
    unchanged = [
        (line.mark, line.text)
        for hunk, of_hunk in zip(patch.hunks, found, strict=True)
        for index, line in enumerate(hunk.lines)
        if line.mark != " " and index not in of_hunk
    ]
    assert Counter(unchanged) <= Counter(_signed(line) for hunk in before.hunks for line in hunk.lines)


def _signed(line: Line) -> tuple[str, str]:
    return line.mark, line.text
