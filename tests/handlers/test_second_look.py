"""The second look: the code that its prompt shows, and what its reply changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest

from hls_handler.actions import EnsureCheck
from hls_handler.analysis import (
    NO_CALLS,
    EarlierVerdict,
    Finding,
    FindingVerdict,
    FindingVerdicts,
    NeededFact,
    estimate_tokens,
)
from hls_handler.handlers.pull_requests import plan_review_check
from hls_handler.prompting.render import render_review_comment
from hls_handler.review.code_lines import CodeLines
from hls_handler.review.facts import PullRequestFacts
from hls_handler.review.second_look import Candidate, apply_second_look
from hls_handler.review.variables import list_inline, verification_variables
from hls_handler.settings.sections import ReviewSettings
from tests.handlers.test_pull_requests import review
from tests.handlers.world import file, finding, gather_review, pull_request_analysis
from tests.prompting.samples import KEY, shipped

AREA = """\
@@ -1,3 +1,3 @@ class Area:
 def read(text):
-    return int(text)
+    return float(text)
@@ -40,3 +40,3 @@ class Area:
 def area(side):
-    return side * 2
+    return side ** 2
     # side is never "2"
"""
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
    return finding(
        path="area.py", line=41, quote="    return side ** 2", **{"severity": "high", **known}
    )


def shown_in(facts: PullRequestFacts, *findings: Finding) -> dict[str, Any]:
    """Return the candidates, files and other places of the second look; {} if there is none."""
    found = verification_variables(facts, pull_request_analysis(findings=list(findings)))
    return (
        {}
        if found is None
        else {name: found[name] for name in ("candidates", "files", "second_sites")}
    )


def texts_in(facts: PullRequestFacts, *findings: Finding) -> list[str]:
    return [f"{one.path}\n{one.numbered}" for one in shown_in(facts, *findings)["files"]]


FAILING = {"review": ReviewSettings(fail_on="high")}


def gathered() -> PullRequestFacts:
    """The facts of a review of `FILES`."""
    return gather_review(*FILES, limits=FAILING)


def test_all_hunks_of_the_file_are_shown_and_no_other_file() -> None:
    (shown,) = texts_in(gathered(), at_area())
    assert shown.startswith("area.py\n")
    assert "R    2 +     return float(text)" in shown
    assert "R   41 +     return side ** 2" in shown


def test_hunk_with_a_line_that_the_finding_rests_on_is_shown() -> None:
    found = at_area(rests_on=["R    5 +     print(area(read(shape)))"])
    _, caller = texts_in(gathered(), found)
    assert "R    5 +     print(area(read(shape)))" in caller
    assert "print(2)" not in caller


def test_copy_of_the_file_of_the_finding_is_not_shown() -> None:
    twin = AREA.replace("def ", "async def ").replace("return ", "return await ")
    copy = file("async_area.py", twin, additions=2, deletions=2)
    texts = texts_in(gather_review(*FILES, copy, limits=FAILING), at_area())
    assert [text.split("\n")[0] for text in texts] == ["area.py"]


def test_block_of_another_file_that_has_a_name_of_the_finding_is_shown() -> None:
    found = at_area(body="`show_all` passes text.")
    call = "@@ -1,2 +1,2 @@\n def show_all(shapes):\n-    print(shapes)\n+    print(*shapes)"
    other = file("show.py", call, additions=1, deletions=1)
    _, shown = texts_in(gather_review(*FILES, other, limits=FAILING), found)
    assert "R    2 +     print(*shapes)" in shown


def test_code_is_shown_once_for_several_findings() -> None:
    other = finding(
        path="area.py",
        line=2,
        quote="    return float(text)",
        severity="critical",
        title="Reads NaN",
    )
    facts = gathered()
    (shown,) = texts_in(facts, at_area(), other)
    assert shown.count("return float(text)") == 1
    assert [one.code for one in shown_in(facts, at_area(), other)["candidates"]] == ["", ""]


def site(name: str, path: str, *sources: str) -> CodeLines:
    return CodeLines(path, "definition", f"R    1   def {name}(): pass", name, 1, sources)


def test_other_places_that_the_finding_names_or_rests_on_are_shown() -> None:
    facts = gathered()
    sites = (
        site("near", "a.py", "area.py"),
        site("rested", "b.py", "none.py"),
        site("named", "c.py", "none.py"),
    )
    facts = replace(facts, selection=replace(facts.selection, second_sites=(sites,)))
    found = at_area(body="It breaks `named`.", rests_on=["def rested(): pass"])
    assert [one.name for one in shown_in(facts, found)["second_sites"]] == ["rested", "named"]


def test_other_place_that_a_claimed_finding_names_is_shown() -> None:
    record = review(gathered(), at_area(body="It breaks `far_away`."))
    guard = AREA.replace(
        "+    return side ** 2", "+    if side < 0: return 0\n+    return side ** 2"
    )
    guard = guard.replace("@@ -40,2 +40,2 @@", "@@ -40,2 +40,3 @@")
    facts = gather_review(
        file("area.py", guard, additions=3, deletions=2), record=record, limits=FAILING
    )
    sites = (site("far_away", "b.py", "none.py"), site("other", "c.py", "none.py"))
    facts = replace(facts, selection=replace(facts.selection, second_sites=(sites,)))
    fixed = EarlierVerdict(
        number=1,
        path="area.py",
        line=41,
        quote="if side < 0: return 0",
        verdict="fixed",
        severity=None,
    )
    shown: Any = verification_variables(facts, pull_request_analysis(earlier=[fixed]))
    candidates = shown["candidates"]
    assert [one.claim[:12] for one in candidates] == ["It is fixed,"]
    assert "if side < 0: return 0" in candidates[0].code
    assert [one.name for one in shown["second_sites"]] == ["far_away"]


def long_file(hunks: int) -> Any:
    parts = [
        "\n".join(
            [
                f"@@ -{at},30 +{at},30 @@",
                *(f"-old{at}_{n} = {n}\n+new{at}_{n} = {n}" for n in range(30)),
            ]
        )
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
        finding(
            path="long.py",
            line=at + 15,
            quote=f"new{at}_15 = 15",
            severity="high",
            title=f"At {at}",
        )
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
def test_finding_whose_quote_is_not_the_text_of_its_line_is_asked_about(
    quote: str, line: int, is_asked: bool
) -> None:
    found = finding(path="area.py", line=line, quote=quote, severity="low")
    assert bool(shown_in(gathered(), found)) is is_asked


def test_committed_credential_is_not_asked_about() -> None:
    added = file(
        "key.py", f"@@ -1 +1,2 @@\n a = 1\n+KEY = 'ghp_{'a1B2' * 9}'", additions=1, deletions=0
    )
    facts = gather_review(added, limits=FAILING)
    assert [
        entry.severity for entry, _ in facts.with_reply(pull_request_analysis()).findings.raised
    ] == ["critical"]
    assert shown_in(facts) == {}


def test_candidate_has_its_quotes_and_no_code_of_its_own() -> None:
    found = at_area(rests_on=["def area(side):"], title="Squares", body="It squares.")
    (one,) = shown_in(gathered(), found)["candidates"]
    assert one == Candidate(
        1,
        "area.py",
        41,
        "high",
        "Squares",
        "It squares.",
        "    return side ** 2",
        "def area(side):",
        "",
        "",
    )


# The reply


def fact(state: str, quote: str = "", **known: Any) -> NeededFact:
    plain = {"fact": f"It is {state}.", "state": state, "quote": quote, "is_decisive": True}
    return NeededFact.model_validate({**plain, **known})


def verdict(
    *facts: NeededFact, unseen: str = "", agrees: bool = False, number: int = 1
) -> FindingVerdict:
    return FindingVerdict(number=number, facts=list(facts), unseen=unseen, agrees=agrees)


PROVED, REFUTED = fact("proved", "return side ** 2"), fact("refuted", "    return float(text)")
ABSENT, OTHER = fact("not shown"), fact("not shown", fact="Nobody checks it.")
INVENTED = fact("refuted", "if side > 0:")
CALLERS = "Callers pass numbers."


def look_at(found: Finding, *verdicts: FindingVerdict) -> PullRequestFacts:
    facts = gathered().with_reply(pull_request_analysis(findings=[found]))
    return apply_second_look(facts, FindingVerdicts(verdicts=list(verdicts)))


DROPPED = "dropped"


@pytest.mark.parametrize(
    ("confidence", "verdicts", "result"),
    [
        (0.95, [verdict(REFUTED)], DROPPED),
        (0.95, [verdict(REFUTED, agrees=True)], 0.95),
        (0.95, [verdict(INVENTED)], 0.95),
        (0.95, [verdict(fact("refuted", "return float(text)", is_decisive=False))], 0.95),
        (0.95, [verdict(fact("refuted", "..."))], 0.95),
        (0.95, [verdict(fact("refuted", "    return side * 2"))], 0.95),  # the removed line
        (0.95, [verdict(fact("refuted", '    # side is never "2"'))], 0.95),
        (0.95, [verdict(PROVED, agrees=True)], 0.95),
        (0.95, [verdict(ABSENT, OTHER)], 0.95),
        (0.6, [verdict(ABSENT, OTHER)], DROPPED),
        (0.95, [verdict(PROVED, unseen=CALLERS)], 0.65),
        (0.6, [verdict(PROVED, ABSENT)], 0.6),
        (0.69, [verdict(ABSENT)], 0.65),
        (0.95, [verdict(unseen=CALLERS)], 0.95),
        (0.6, [], 0.6),
        (0.6, [verdict(ABSENT, OTHER, number=9)], 0.6),
        (0.95, [verdict(REFUTED), verdict(PROVED, agrees=True)], 0.95),
        (0.95, [verdict(PROVED, unseen=CALLERS), verdict(PROVED)], 0.95),
    ],
)
def test_new_finding_after_the_second_look(
    confidence: float, verdicts: list[FindingVerdict], result: float | str
) -> None:
    raised = look_at(at_area(confidence=confidence), *verdicts).findings.raised
    assert [entry.confidence for entry, _ in raised] == ([] if result == DROPPED else [result])
    assert [located.finding.confidence for _, located in raised] == (
        [] if result == DROPPED else [result]
    )


@pytest.mark.parametrize(
    ("confidence", "given", "unseen"),
    [
        (0.95, verdict(PROVED, unseen=CALLERS), CALLERS),
        (0.6, verdict(PROVED, OTHER), "Nobody checks it."),
        (0.6, verdict(INVENTED), "It is refuted."),
        (0.95, verdict(OTHER), ""),
    ],
)
def test_finding_remembers_the_fact_that_was_not_shown(
    confidence: float, given: FindingVerdict, unseen: str
) -> None:
    ((entry, _),) = look_at(at_area(confidence=confidence), given).findings.raised
    assert entry.unseen == unseen


def test_note_that_lines_are_not_shown_proves_nothing() -> None:
    facts = replace(gather_review(long_file(3), tokens=30_000, limits=FAILING), look_tokens=900)
    found = finding(path="long.py", line=16, quote="new1_15 = 15", confidence=0.6)
    facts = facts.with_reply(pull_request_analysis(findings=[found]))
    assert "are not shown]" in "".join(one.numbered for one in shown_in(facts, found)["files"])
    invented = fact("proved", "not shown")
    facts = apply_second_look(facts, FindingVerdicts(verdicts=[verdict(invented, invented)]))
    assert facts.findings.raised == ()


# A finding that hangs on a fact


@pytest.mark.parametrize("incomplete", ["neutral", "failure"])
def test_finding_that_hangs_on_a_fact_makes_the_review_incomplete(
    incomplete: Literal["neutral", "failure"],
) -> None:
    def check_of(facts: PullRequestFacts) -> EnsureCheck:
        (check,) = plan_review_check(facts, NO_CALLS)
        return check

    facts = look_at(at_area(title="Squares"), verdict(PROVED, unseen="@mona calls it with `3`."))
    check = check_of(replace(facts, review=ReviewSettings(fail_on="high", incomplete=incomplete)))
    assert (check.conclusion, check.title) == (
        incomplete,
        "1 open finding, 1 high, 1 not proved; 3 of 3 files reviewed",
    )
    (line,) = [line for line in check.summary.split("\n") if "hangs" in line]
    assert line.startswith("Finding 1, Squares, hangs on a fact that was not shown: ")
    assert "@mona" not in line
    assert check_of(look_at(at_area(), verdict(PROVED))).conclusion == "failure"


def render_comment(look: FindingVerdict) -> str:
    (variables,) = list_inline(look_at(at_area(), look)).values()
    return render_review_comment(shipped(), "pull_requests/analyze", variables, key=KEY)


def test_footer_of_a_review_comment_names_what_dismisses_the_finding() -> None:
    ways = 'resolve this thread, or reply `/dismiss` or "won\'t fix: ...".*'
    assert (
        render_comment(verdict(PROVED))
        .strip()
        .endswith(f"\n\n*A maintainer can dismiss it: {ways}")
    )
    place = "If that is decided elsewhere, name the place. A maintainer can dismiss it"
    unproved = render_comment(verdict(PROVED, unseen=CALLERS))
    assert unproved.strip().endswith(f"\n\n*{place}: {ways}")


def test_review_comment_names_the_fact() -> None:
    text = render_comment(verdict(PROVED, unseen="<img src=x>@mona never calls it."))
    assert "65 % sure" in text
    assert "Not shown to this review: " in text
    assert "<img" not in text
    assert "@mona" not in text


def test_rests_on_in_the_same_long_hunk_is_shown() -> None:
    lines = [f"value_{at} = compute_{at}({'x' * 40})" for at in range(1, 1201)]
    new = file(
        "a.py",
        "@@ -0,0 +1,1200 @@\n+" + "\n+".join(lines),
        additions=1200,
        deletions=0,
        status="added",
    )
    one, two = (
        finding(
            path="a.py",
            line=at,
            quote=lines[at - 1],
            severity="high",
            rests_on=[lines[rests - 1]],
            title=f"At {at}",
        )
        for at, rests in ((400, 20), (800, 500))
    )
    shown = shown_in(gather_review(new, tokens=30_000, limits=FAILING), one, two)
    assert lines[19] in "".join(part.numbered for part in shown["files"])


def test_rests_on_is_found_beside_a_part_that_is_equal() -> None:
    call = "@@ -1,2 +1,2 @@\n import net\n-net.connect()\n+net.connect(timeout=5)"
    value = "@@ -1 +1 @@\n-timeout = 50\n+timeout = 5"
    files = [
        file(name, text, additions=1, deletions=1)
        for name, text in (("a.py", call), ("b.py", value))
    ]
    facts = gather_review(*files, limits=FAILING)
    found = finding(
        path="a.py",
        line=2,
        quote="net.connect(timeout=5)",
        severity="high",
        rests_on=["timeout = 5"],
    )
    assert [one.path for one in shown_in(facts, found)["files"]] == ["a.py", "b.py"]
