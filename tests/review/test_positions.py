"""The line that a finding or a verdict quotes."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.analysis import Finding
from hls_handler.review.patches import parse_patch
from hls_handler.review.positions import Located, is_only_comment, locate, merge_located
from tests.handlers.world import finding

PATCH = """\
@@ -1,4 +1,7 @@
 def load(request):
-    return None
+    name = request.args["name"]  # from the form
+    query = "SELECT * FROM users WHERE name = '%s'" % name
+    rows = db.execute(query)
+    return rows
     # the end
 """
LINE = "    query = \"SELECT * FROM users WHERE name = '%s'\" % name"


def place(**known: Any) -> Located:
    return locate(
        finding(**{"path": "users.py", "line": 3, "quote": LINE, **known}),
        {"users.py": parse_patch(PATCH)},
    )


def number_of(located: Located) -> int | None:
    return None if located.line is None else located.line.number


@pytest.mark.parametrize(
    "quote",
    [
        LINE,
        f"`{LINE.strip()}`",
        LINE.replace('"', "\N{LEFT DOUBLE QUOTATION MARK}"),
        LINE.replace("query", "qeury"),
        "",
        f"    name = request.args['name']\n{LINE}",
    ],
    ids=["exact", "backticks", "curly", "typo", "empty", "two lines"],
)
def test_misquoted_finding_stays_on_the_line_that_it_names(quote: str) -> None:
    assert number_of(place(quote=quote)) == 3


def test_long_line_may_have_typos_too() -> None:
    line = ", ".join(f"value_{number}" for number in range(40))
    patch = parse_patch(f"@@ -1 +1,2 @@\n def load(request):\n+    {line}\n")
    misquoted = finding(path="users.py", line=2, quote=line.replace("value", "vale"))
    assert number_of(locate(misquoted, {"users.py": patch})) == 2


def test_finding_with_a_wrong_line_moves_to_the_only_changed_line_that_it_quotes() -> None:
    assert number_of(place(line=90)) == 3
    assert number_of(place(line=6, quote="    rows = db.execute(query)")) == 4


def test_removed_line_is_found_on_its_side() -> None:
    located = place(side="LEFT", line=2, quote="    return None")
    assert (located.finding.side, number_of(located)) == ("LEFT", 2)


@pytest.mark.parametrize(
    ("known", "suggestion"),
    [
        ({}, "    query = ORDERS[name]"),
        ({"line": 90}, None),
        ({"suggestion": LINE}, None),
        ({"suggestion": "query = ORDERS[name]"}, None),
        ({"suggestion": '    name = request.args["name"]  # from the form\n    x = 1'}, None),
    ],
    ids=["exact", "moved", "no change", "no indentation", "repeats the line above"],
)
def test_suggestion_is_offered_only_for_exactly_its_lines(
    known: dict[str, Any], suggestion: str | None
) -> None:
    assert (
        place(**{"suggestion": "    query = ORDERS[name]", **known}).finding.suggestion
        == suggestion
    )


NESTED = """\
@@ -1,3 +1,5 @@
 function load(id) {
+  const user = find(id, {
+    deep: true }
+  if (!user) { return "it's missing";
   return user;
"""
TABS = NESTED.replace("+    ", "+\t\t").replace("+  ", "+\t").replace("   return", " \treturn")

COMMENT = "@@ -1,2 +1,3 @@\n \t/**\n+\t * Loads it.\n \t */"


def fix(patch: str, line: int, suggestion: str) -> Finding:
    text = patch.split("\n")[line][1:]
    known = {
        "path": "load.js",
        "line": line,
        "quote": text,
        "suggestion": suggestion,
        "body": "It is wrong.",
    }
    return locate(finding(**known), {"load.js": parse_patch(patch)}).finding


@pytest.mark.parametrize(
    ("patch", "line", "suggestion"),
    [
        (NESTED, 2, "  const user = await find(id, {"),
        (NESTED, 4, "  // It isn't here, and it's no error\n  if (!user) { return null;"),
        (TABS, 2, "\tconst user = await find(id, {"),
        (NESTED, 1, "async function load(id) {\n  log(id);"),
    ],
    ids=["same", "apostrophes", "tabs", "nested"],
)
def test_suggestion_that_keeps_brackets_quotes_and_indentation_is_offered(
    patch: str, line: int, suggestion: str
) -> None:
    found = fix(patch, line, suggestion)
    assert (found.suggestion, found.body) == (suggestion, "It is wrong.")


@pytest.mark.parametrize(
    ("patch", "line", "suggestion"),
    [
        (NESTED, 2, "  const user = find(id);"),
        (NESTED, 4, "  if (!user) { return \"it's missing;"),
        (NESTED, 2, "\tconst user = await find(id, {"),
        (TABS, 1, "async function load(id) {\n  log(id);"),
        (COMMENT, 2, "   * Loads a user."),
        (NESTED, 2, "const user = await find(id, {"),
        (NESTED, 4, "  if (!user) { throw new Error('can't find');"),
    ],
    ids=[
        "closed",
        "open string",
        "tab",
        "spaces below",
        "aligned comment",
        "no indentation",
        "apostrophe",
    ],
)
def test_fix_that_is_no_suggestion_is_text(patch: str, line: int, suggestion: str) -> None:
    found = fix(patch, line, suggestion)
    assert (found.suggestion, found.body) == (None, f"It is wrong.\n\n```\n{suggestion}\n```")


def test_fix_that_the_text_already_has_is_not_repeated() -> None:
    body = "Write `const user = find(id);` in its place."
    known = {"path": "load.js", "line": 2, "quote": "  const user = find(id, {", "body": body}
    found = locate(
        finding(**known, suggestion="  const user = find(id);"), {"load.js": parse_patch(NESTED)}
    ).finding
    assert (found.suggestion, found.body) == (None, body)


@pytest.mark.parametrize("text", ["# ok", "  // ok", "/* ok */", "-- ok", "<!-- ok -->", ""])
def test_comment_of_any_usual_language_is_only_a_comment(text: str) -> None:
    assert is_only_comment(text)
    assert not is_only_comment(f"run()  {text}")


def test_of_findings_with_one_title_at_one_line_the_most_severe_one_is_kept() -> None:
    def merged(*findings: Finding) -> list[tuple[str, str]]:
        patches = {"users.py": parse_patch(PATCH)}
        return [
            (one.finding.title, one.finding.body)
            for one in merge_located(locate(one, patches) for one in findings)
        ]

    first = finding(
        path="users.py", line=3, quote=LINE, title="Injection", body="One.", severity="critical"
    )
    second = first.model_copy(update={"title": "injection", "body": "Two.", "severity": "high"})
    other = first.model_copy(update={"category": "performance", "title": "Slow", "severity": "low"})
    assert merged(second, other, first) == [
        ("Injection", "One."),
        ("Slow", "One."),
    ]
