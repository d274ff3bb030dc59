"""The second look: the code that its prompt shows, and what its reply changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from hls_handler.analysis import Finding
from hls_handler.handlers.changed_files import PatchedFile
from hls_handler.handlers.pull_request_facts import PullRequestFacts
from hls_handler.handlers.pull_requests import verification_variables
from hls_handler.handlers.second_look import Candidate
from hls_handler.prompting.render import estimate_tokens
from hls_handler.review.second_sites import SecondSite
from hls_handler.settings.model import Review
from tests.handlers.world import file, finding, gather_review, pull_request_analysis

AREA = """\
@@ -1,3 +1,3 @@ class Area:
 def read(text):
-    return int(text)
+    return float(text)
@@ -40,2 +40,2 @@ class Area:
 def area(side):
-    return side * 2
+    return side ** 2"""
CALLER = """\
@@ -5,2 +5,2 @@ def show(shape):
-    print(area(shape.side))
+    print(area(read(shape)))
@@ -90,2 +90,2 @@ def other():
-    print(1)
+    print(2)"""
FILES = (
    file("area.py", AREA, additions=2, deletions=2),
    file("caller.py", CALLER, additions=2, deletions=2),
    file("none.py", "@@ -1 +1 @@\n-a = 1\n+a = 2"),
)


def at_area(**known: Any) -> Finding:
    return finding(path="area.py", line=41, quote="    return side ** 2", **{"severity": "high", **known})


def shown_in(facts: PullRequestFacts, *findings: Finding) -> dict[str, Any]:
    """Return the candidates, files and other places of the second look; {} if there is none."""
    found = verification_variables(facts, pull_request_analysis(findings=list(findings)))
    return {} if found is None else {name: found[name] for name in ("candidates", "files", "second_sites")}


def texts_in(facts: PullRequestFacts, *findings: Finding) -> list[str]:
    files = cast(tuple[PatchedFile, ...], shown_in(facts, *findings)["files"])
    return [f"{one.path}\n{one.above}\n{one.numbered}" for one in files]


FAILING = {"review": Review(fail_on="high")}


def test_all_hunks_of_the_file_are_shown_and_no_other_file() -> None:
    (shown,) = texts_in(gather_review(*FILES, limits=FAILING), at_area())
    assert shown.startswith("area.py\n")
    assert "R    2 +     return float(text)" in shown
    assert "R   41 +     return side ** 2" in shown


def test_hunk_with_a_line_that_the_finding_rests_on_is_shown() -> None:
    found = at_area(rests_on="R    5 +     print(area(read(shape)))")
    _, caller = texts_in(gather_review(*FILES, limits=FAILING), found)
    assert "R    5 +     print(area(read(shape)))" in caller
    assert "print(2)" not in caller


def test_code_is_shown_once_for_several_findings() -> None:
    other = finding(path="area.py", line=2, quote="    return float(text)", severity="critical", title="Reads NaN")
    facts = gather_review(*FILES, limits=FAILING)
    (shown,) = texts_in(facts, at_area(), other)
    assert shown.count("return float(text)") == 1
    assert [one.code for one in shown_in(facts, at_area(), other)["candidates"]] == ["", ""]


def site(name: str, path: str, *sources: str) -> SecondSite:
    return SecondSite("definition", name, path, 1, f"R    1   def {name}(): pass", sources)


def test_other_places_of_the_files_and_those_that_the_finding_names_are_shown() -> None:
    facts = gather_review(*FILES, limits=FAILING)
    sites = (site("side_of", "a.py", "area.py"), site("far", "b.py", "none.py"), site("named", "c.py", "none.py"))
    facts = replace(facts, selection=replace(facts.selection, second_sites=(sites,)))
    shown = shown_in(facts, at_area(body="It breaks `named`."))["second_sites"]
    assert [one.name for one in shown] == ["side_of", "named"]


def long_file(hunks: int) -> Any:
    parts = [
        "\n".join([f"@@ -{at},30 +{at},30 @@", *(f"-old{at}_{n} = {n}\n+new{at}_{n} = {n}" for n in range(30))])
        for at in range(1, 100 * hunks, 100)
    ]
    return file("long.py", "\n".join(parts), additions=30 * hunks, deletions=30 * hunks)


def test_hunks_with_findings_come_first_if_the_file_is_too_large() -> None:
    facts = gather_review(long_file(20), tokens=30_000, limits=FAILING)
    facts = replace(facts, look_tokens=2_500)
    found = finding(path="long.py", line=1001, quote="new1001_0 = 0", severity="high")
    shown = shown_in(facts, found)
    text = "\n".join(one.numbered for one in shown["files"])
    assert "new1001_29 = 29" in text
    assert "new1_0 = 0" in text
    assert "new1901_0 = 0" not in text
    assert 1_000 < estimate_tokens(text) <= 2_500


def test_hunk_that_does_not_fit_is_cut_around_each_finding() -> None:
    facts = gather_review(long_file(3), tokens=30_000, limits=FAILING)
    facts = replace(facts, look_tokens=900)
    findings = [
        finding(path="long.py", line=at + 15, quote=f"new{at}_15 = 15", severity="high", title=f"At {at}")
        for at in (1, 101, 201)
    ]
    shown = shown_in(facts, *findings)
    text = "\n".join(one.numbered for one in shown["files"])
    assert [f"new{at}_15 = 15" in text for at in (1, 101, 201)] == [True] * 3
    assert [one.number for one in shown["candidates"]] == [1, 2, 3]
    assert estimate_tokens(text) <= 900


@pytest.mark.parametrize(
    ("quote", "line", "is_asked"),
    [
        ("    return side ** 2", 41, False),
        ("    return side ** 2  # now", 41, False),
        ("return side**2", 41, False),
        ("return side", 41, True),
        ("    return side ** 2", 40, True),
        ("nothing like it", 41, True),
    ],
)
def test_finding_whose_quote_is_not_the_text_of_its_line_is_asked_about(quote: str, line: int, is_asked: bool) -> None:
    found = finding(path="area.py", line=line, quote=quote, severity="low")
    assert bool(shown_in(gather_review(*FILES, limits=FAILING), found)) is is_asked


def test_committed_credential_is_not_asked_about() -> None:
    added = file("key.py", f"@@ -1 +1,2 @@\n a = 1\n+KEY = 'ghp_{'a1B2' * 9}'", additions=1, deletions=0)
    facts = gather_review(added, limits=FAILING)
    assert [entry.severity for entry, _ in facts.with_reply(pull_request_analysis()).found.raised] == ["critical"]
    assert shown_in(facts) == {}


def test_candidate_has_its_quotes_and_no_code_of_its_own() -> None:
    found = at_area(rests_on="def area(side):", title="Squares", body="It squares.")
    (one,) = cast(tuple[Candidate, ...], shown_in(gather_review(*FILES, limits=FAILING), found)["candidates"])
    assert one == Candidate(
        1, "area.py", 41, "high", "Squares", "It squares.", "    return side ** 2", "def area(side):", "", ""
    )
