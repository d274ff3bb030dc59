"""The differences between two runs of a delivery's prompts."""

from __future__ import annotations

from dataclasses import replace

from hls_handler.actions import EnsureComment, RequestedLabel
from hls_handler.reports.dry_run import DiffLine, DryRun, Field, Run, comparable_part
from tests.handlers.world import finding

RUN = Run(end="", replies=(), labels=(), comment=None, findings=None, calls=1, tokens=10, cost_usd=None)


def compare(old: Run, new: Run) -> DryRun:
    return DryRun(old, new, old.comment)


def test_labels_of_one_run_or_of_both() -> None:
    old = replace(RUN, labels=(RequestedLabel("bug", "kind"), RequestedLabel("priority-high", "priority")))
    new = replace(RUN, labels=(RequestedLabel("bug", "kind"), RequestedLabel("priority-low", "priority")))
    assert compare(old, new).labels == (("bug", "same"), ("priority-high", "removed"), ("priority-low", "added"))


def test_fields_of_replies_are_compared_without_findings() -> None:
    old = replace(RUN, replies=(("issues/a@1", {"kind": "bug", "missing": [], "findings": [1]}),))
    new = replace(RUN, replies=(("issues/a@2", {"kind": "bug", "missing": ["a log"]}), ("issues/b@1", {"answer": ""})))
    assert compare(old, new).fields == (
        Field("issues/a", "kind", "bug", "bug"),
        Field("issues/a", "missing", "[]", '[\n "a log"\n]'),
        Field("issues/b", "answer", None, ""),
    )
    assert [field.is_same for field in compare(old, new).fields] == [True, False, False]


def test_findings_are_the_same_by_file_category_and_quoted_line() -> None:
    first, moved = finding(line=1, quote="x = 1"), finding(line=9, quote="x  = 1", title="Another title")
    lost, won = finding(quote="y = 1"), finding(path="b.py", quote="x = 1")
    result = compare(replace(RUN, findings=(first, lost)), replace(RUN, findings=(moved, won)))
    assert result.findings == ((won, "added"), (lost, "removed"), (moved, "same"))
    twice = compare(replace(RUN, findings=(first,)), replace(RUN, findings=(first, moved)))
    assert twice.findings == ((moved, "added"), (first, "same"))
    assert compare(RUN, replace(RUN, findings=())).findings is None


def test_comments_are_compared_by_line() -> None:
    result = compare(replace(RUN, comment="one\ntwo"), replace(RUN, comment="one\n-three"))
    assert result.comment_diff == (
        DiffLine("skipped", "@@ -1,2 +1,2 @@"),
        DiffLine("same", " one"),
        DiffLine("removed", "-two"),
        DiffLine("added", "+-three"),
    )
    assert compare(replace(RUN, comment="one"), replace(RUN, comment="one")).comment_diff == ()


def test_only_the_section_that_would_be_replaced_is_compared() -> None:
    whole = EnsureComment("issues", "New.", create=True)
    section = replace(whole, family="reviews", section="reviewer-2", footer="Footer.")
    body = (
        "<!-- hls:section reviewer-1 0123456789abcdef -->\nOne.\n\n<!-- hls:section reviewer-2 0123456789abcdef -->\n"
        "Two.\n\n<!-- hls:sections end -->\nFooter.\n<!-- hls:reviews -->"
    )
    assert comparable_part(body, section) == "Two."
    assert comparable_part("Old.\n<!-- hls:issues -->", whole) == "Old."
    assert comparable_part("Old.\n<!-- hls:issues -->", None) == "Old."
    assert comparable_part(None, whole) is None
