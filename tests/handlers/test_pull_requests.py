"""Handler for pull requests: facts, labels, the comment and its variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from hls_handler.actions import (
    Action,
    EnsureCheck,
    EnsureComment,
    EnsureLabels,
    EnsureReview,
    InlineComment,
    RequestedLabel,
)
from hls_handler.analysis import (
    NO_CALLS,
    Analysis,
    Finding,
    PullRequestAnalysis,
    ReplyFields,
    Score,
    SuggestedLabel,
    is_worth_saying,
    lowest_scores,
)
from hls_handler.errors import Permanent
from hls_handler.github.labels import LabelState, decide_labels
from hls_handler.github.values import ChangedFile, MergeState, RepositoryLabel
from hls_handler.handlers import pull_request_input, pull_requests
from hls_handler.handlers.asking import join_replies
from hls_handler.handlers.finding_views import ShownFinding
from hls_handler.handlers.handler import SkipReason
from hls_handler.handlers.job import PromptLimits, Source
from hls_handler.handlers.labels import LabelOffer
from hls_handler.handlers.pull_request_facts import PullRequestFacts, list_parts
from hls_handler.handlers.pull_requests import (
    PullRequestHandler,
    list_inline,
    make_record,
    plan_review_check,
    verification_variables,
)
from hls_handler.handlers.reader import EmptyHistory
from hls_handler.handlers.second_look import Candidate
from hls_handler.prompting.front_matter import FieldKeys, FrontMatter
from hls_handler.prompting.reply_fields import build_reply_model, with_optional_fields
from hls_handler.review.record import NO_REVIEW, ReviewRecord
from hls_handler.settings.model import EffectiveLabels, Findings, Review
from hls_handler.settings.values import PathFilter, Summary
from hls_handler.settings.yaml_parser import Sources
from tests.handlers.world import (
    PATCH,
    RecordedJob,
    analysis,
    comment_of,
    event,
    fake_reader,
    file,
    finding,
    gather_review,
    issue_response,
    labels_of,
    pull_request,
    pull_request_analysis,
)

HANDLER = PullRequestHandler()
LOGO = file("logo.png", None, additions=0, deletions=0)


def review(facts: PullRequestFacts, *findings: Finding) -> ReviewRecord:
    """Return what is stored after a review that found `findings`, each with a review comment."""
    reply = pull_request_analysis(findings=list(findings))
    return make_record(facts, analysis(reply), dict.fromkeys(inline_of(facts, reply), 901))


def inline_of(facts: PullRequestFacts, reply: ReplyFields) -> Mapping[str, Mapping[str, object]]:
    return list_inline(facts.with_reply(reply))


def plan(facts: PullRequestFacts, given: Analysis) -> tuple[Action, ...]:
    """Return the planned actions without the check, which tests/handlers/test_check.py tests."""
    planned = pull_requests.plan(event(pull_request()), facts, given)
    return tuple(action for action in planned if not isinstance(action, EnsureCheck))


DOCS = PathFilter(("docs/**",), "config/settings.yaml:14 (repositories[0].paths.ignore)")


@pytest.mark.parametrize(
    ("files", "known", "described"),
    [
        (
            [
                file("a.py", f"@@ -0,0 +1 @@\n+{'x' * 9_000}", additions=1, deletions=0),
                file("uv.lock"),
                LOGO,
            ],
            {"tokens": 2_000, "changed_files": 4},
            (
                "4 of 4 files were not shown as a whole: 1 with a line too long for one call, 1"
                " lock file, 1 binary or empty, 1 beyond those that GitHub lists"
            ),
        ),
        ([file()], {}, ""),
        ([file(additions=400)], {}, "1 of 1 file was not shown as a whole: 1 shown only in part"),
    ],
)
def test_omissions_are_described(
    files: list[ChangedFile], known: dict[str, Any], described: str
) -> None:
    assert pull_requests.describe_omissions(gather_review(*files, **known)) == described


def test_files_that_github_does_not_list_are_counted() -> None:
    assert gather_review(file(), changed_files=3_141).unlisted == 3_140
    # one is listed twice
    assert gather_review(file(), file(), additions=1, deletions=1).unlisted == 1
    assert gather_review(file(), changed_files=0).unlisted == 0
    # GitHub lists no more: a list of this length is not compared with the numbers of the pull
    # request
    removed = [
        file(f"{n}.py", None, status="removed", additions=0, deletions=1) for n in range(3_000)
    ]
    assert gather_review(*removed, changed_files=3_141, deletions=3_141).unlisted == 141


@pytest.mark.parametrize(
    ("path", "additions", "deletions", "size"),
    [
        ("cube.py", 25, 25, "medium"),
        ("cube.py", 0, 200, "large"),
        ("uv.lock", 9_000, 0, "small"),  # which no review reads
        ("docs/guide.md", 60, 0, "small"),  # which settings leave out
    ],
)
def test_size_depends_on_changed_lines_of_files_to_review(
    path: str, additions: int, deletions: int, size: str
) -> None:
    files = file(path, additions=additions, deletions=0), file(additions=0, deletions=deletions)
    facts = gather_review(*files, limits={"ignored_paths": DOCS})
    assert facts.size == size
    assert {one.reason for one in facts.selection.skipped} <= {"lock file", "left out by settings"}


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ((), "the pull request changes no files, so Claude was not asked"),
        (
            (LOGO, file("uv.lock")),
            (
                "none of the changed files has a patch to read (1 binary or empty, 1 lock file), so"
                " Claude was not asked"
            ),
        ),
    ],
    ids=["no files", "nothing to read"],
)
def test_claude_is_not_asked_without_a_patch(files: tuple[ChangedFile, ...], sentence: str) -> None:
    assert pull_requests.find_skip_reason(gather_review(*files)) == SkipReason(sentence)


def test_an_analysis_with_findings_becomes_labels_a_review_and_a_comment() -> None:
    reply = pull_request_analysis(findings=[finding(start_line=1)])
    facts = gather_review(file(additions=60))
    (key,) = inline_of(facts, reply)
    assert plan(
        facts, replace(analysis(reply, comment="Squares."), inline={key: "It is wrong."})
    ) == (
        EnsureLabels(
            (RequestedLabel("size/medium", "size"), RequestedLabel("type/bug-fix", "type")),
            ("size", "type"),
            prompt_ids={"type": "p@1"},
        ),
        EnsureReview(
            "0123456789abcdef0123456789abcdef01234567",
            (InlineComment(key, "area.py", "RIGHT", 1, 2, "It is wrong."),),
        ),
        EnsureComment("pull_requests", "Squares.", create=True),
    )


@pytest.mark.parametrize(
    ("summary", "findings", "create"),
    [
        ("on_findings", [finding()], True),
        ("on_findings", [], False),
        ("always", [], True),
    ],
    ids=["found", "nothing found", "always"],
)
def test_comment_is_created_if_something_was_found_or_always(
    summary: Summary, findings: list[Finding], create: bool
) -> None:
    facts = replace(gather_review(file()), summary=summary)
    actions = plan(facts, analysis(pull_request_analysis(findings=findings)))
    assert [type(action) for action in actions] == [EnsureLabels, EnsureComment]
    assert comment_of(actions).create is create


@pytest.mark.parametrize(
    ("known", "url"),
    [
        ({}, f"{'0123456789abcdef' * 2}01234567/area.py#L2"),
        ({"start_line": 1}, f"{'0123456789abcdef' * 2}01234567/area.py#L1-L2"),
        ({"side": "LEFT", "quote": "    return side * 2"}, f"{'b' * 40}/old%20%28name%29.py#L2"),
    ],
    ids=["line", "lines", "removed line of a renamed file"],
)
def test_finding_links_to_its_lines_in_the_commit(known: dict[str, Any], url: str) -> None:
    facts = gather_review(file(previous_path="old (name).py", status="renamed"), base_sha="b" * 40)
    variables = pull_requests.list_comment_variables(
        facts, pull_request_analysis(findings=[finding(**known)])
    )
    (shown,) = cast(tuple[ShownFinding, ...], variables["findings"])
    assert shown.url == f"https://github.com/o/r/blob/{url}"


def titles_of(variables: Mapping[str, object]) -> list[tuple[str, int | None]]:
    return [
        (shown.title, shown.line) for shown in cast(tuple[ShownFinding, ...], variables["findings"])
    ]


@pytest.mark.parametrize(
    ("shown", "categories", "titles"),
    [
        ({}, None, ["Severe", "Doubtful"]),
        ({}, ["bugs", "security", "performance", "style"], ["Severe", "Doubtful", "Ugly"]),
        ({"min_confidence": 0.5}, ["bugs", "style"], ["Severe", "Ugly"]),
        ({"min_severity": "high", "min_confidence": 0.9}, None, ["Severe"]),
    ],
)
def test_findings_below_thresholds_and_of_other_categories_are_counted_and_not_shown(
    shown: dict[str, Any], categories: list[str] | None, titles: list[str]
) -> None:
    found = [
        finding(title="Severe", severity="high", confidence=0.9),
        finding(title="Doubtful", severity="medium", confidence=0.4, category="security"),
        finding(title="Ugly", severity="low", confidence=0.9, category="style"),
    ]
    review = Review.model_validate({} if categories is None else {"categories": categories})
    facts = gather_review(
        file(), limits={"shown": Findings.model_validate(shown), "review": review}
    )
    variables = pull_requests.list_comment_variables(facts, pull_request_analysis(findings=found))
    assert [f.title for f in variables["findings"]] == titles  # type: ignore[attr-defined]
    assert (variables["held_back"], variables["unlocated"]) == (3 - len(titles), ())


def test_first_thirty_files_get_a_sentence_and_the_first_call_a_title() -> None:
    files = [
        file(f"{number:02}.py", "@@ -0,0 +1,20 @@\n" + "+x = 1\n" * 20, additions=20)
        for number in range(40)
    ]
    facts = gather_review(
        *files, tokens=2_500, limits={"sums_up_files": True, "title_types": ("feat", "fix")}
    )
    parts = list_parts(facts)
    variables = [HANDLER.variables(part) for part in parts]
    asked = [cast(int, one["summarized_files"]) for one in variables]
    shown = [len(part.files) for part in parts]
    assert (sum(shown), sum(asked), asked[0], asked[-1]) == (40, 30, shown[0], 0)
    assert [one["title_types"] for one in variables] == ["feat, fix", *[""] * (len(parts) - 1)]
    assert len(parts) > 2
    assert [
        HANDLER.variables(one)["summarized_files"] for one in list_parts(gather_review(*files))
    ] == [0]


@pytest.mark.parametrize(
    ("title", "create"), [("fix: square it", True), ("chore: square it", False)]
)
def test_comment_is_created_for_a_title_that_fits(title: str, create: bool) -> None:
    facts = gather_review(file(), limits={"title_types": ("feat", "fix")})
    model = with_optional_fields(PullRequestAnalysis, ["suggested_title"])
    reply = model.model_validate({**pull_request_analysis().model_dump(), "suggested_title": title})
    assert comment_of(plan(facts, analysis(reply))).create is create


# What prevents the merge


def test_merge_state_is_read_only_if_settings_ask() -> None:
    record = review(gather_review(file()), finding())
    wanted = {"review": Review(merge_state=True)}
    assert gather_review(file(), record=record).merge is None
    assert gather_review(file(), record=record, limits=wanted).merge == MergeState(
        False, (), "", False, False, 1
    )
    assert gather_review(file(), record=record, limits={**wanted, "is_review": False}).merge is None


def test_check_says_why_the_merge_state_was_not_read() -> None:
    reader = fake_reader(pull_request(), [file()], merge_state=Permanent("GitHub answered 403"))
    limits = PromptLimits(10_000, is_review=True, review=Review(merge_state=True))
    facts = pull_request_input.gather(Source(event(pull_request()), reader, EmptyHistory(), limits))
    assert facts.merge is None
    (check,) = plan_review_check(facts, NO_CALLS)
    assert "What prevents the merge was not read: GitHub answered 403." in check.summary


TWO_HUNKS = (
    f"{PATCH}\n@@ -20,2 +20,2 @@\n def volume(side):\n-    return side * 3\n+    return side ** 3"
)
TWO = file(patch=TWO_HUNKS, additions=2, deletions=2)


LONG = "@@ -0,0 +1 @@\n" + "\n".join(["+" + "x" * 25] * 60)
LONG_FILES = [file(path, LONG, additions=60, deletions=0) for path in ("a.py", "b.py")]


# Several calls


def test_each_call_shows_its_part() -> None:
    facts = gather_review(*LONG_FILES, tokens=800)
    parts = list_parts(facts)
    assert [[one.path for one in part.files] for part in parts] == [["a.py"], ["b.py"]]
    variables = [HANDLER.variables(part) for part in parts]
    assert [(one["part"], one["parts"]) for one in variables] == [(1, 2), (2, 2)]
    assert [one.path for one in facts.files] == ["a.py", "b.py"]
    unanswered = replace(facts, unanswered={1: "Claude refused"})
    assert [(one.path, one.reason) for one in unanswered.coverage.files] == [
        ("a.py", None),
        ("b.py", "Claude refused"),
    ]
    record = review(unanswered)
    assert (len(record.blocks["a.py"]), "b.py" in record.blocks) == (1, False)


def merge(*replies: ReplyFields) -> ReplyFields:
    return join_replies(analysis(*replies).replies).fields


def test_replies_to_several_calls_are_joined() -> None:
    label = SuggestedLabel(name="ui", confidence=0.4)
    one = pull_request_analysis(
        summary="A.",
        type="feature",
        findings=[finding()],
        suggested_labels=[label, label.model_copy(update={"name": "docs", "confidence": 0.5})],
    )
    other = pull_request_analysis(
        summary="B.",
        findings=[finding(title="Other")],
        suggested_labels=[label.model_copy(update={"confidence": 0.9})],
    )
    merged = merge(one, other, other)
    assert isinstance(merged, PullRequestAnalysis)
    assert (is_worth_saying(merged), merged.summary, merged.type) == (True, "A.\n\nB.", "feature")
    assert [found.title for found in merged.findings] == ["Wrong", "Other", "Other"]
    assert [(label.name, label.confidence) for label in merged.suggested_labels] == [
        ("ui", 0.9),
        ("docs", 0.5),
    ]
    assert merge(other) == other
    assessed = with_optional_fields(PullRequestAnalysis, ["priority", "difficulty"])
    parts = [
        assessed.model_validate(
            {**one.model_dump(), "priority": priority, "difficulty": difficulty}
        )
        for priority, difficulty in (("low", "moderate"), ("medium", "easy"), ("low", "moderate"))
    ]
    worst = merge(*parts).model_dump()
    assert (worst["priority"], worst["difficulty"]) == ("medium", "moderate")
    assert merge(issue_response(), other) == issue_response()


SCORED = build_reply_model(
    FrontMatter(
        description="a",
        reply="pull_request_analysis",
        fields={"scores": FieldKeys(type="scores", enum=("tests", "readability"))},
    ),
    Sources("a.j2"),
).value


def scored(*scores: int, **fields: Any) -> ReplyFields:
    """A reply whose prompt asks for scores of tests and readability, in this order."""
    given = [
        {"dimension": name, "score": score}
        for name, score in zip(("tests", "readability"), scores, strict=False)
    ]
    assert SCORED is not None
    return SCORED.model_validate({**pull_request_analysis(**fields).model_dump(), "scores": given})


def test_scores_are_the_lowest_of_several_calls_and_stay_until_there_are_others() -> None:
    facts = gather_review(TWO)
    merged = merge(scored(4, 2), scored(3, 5))
    lowest = (Score(dimension="tests", score=3), Score(dimension="readability", score=2))
    assert lowest_scores([merged]) == lowest
    assert pull_requests.list_comment_variables(facts, merged)["scores"] == lowest
    record = make_record(facts, analysis(merged), {})
    assert record.scores == lowest
    facts = gather_review(TWO, record=record)
    unchanged = pull_requests.find_skip_reason(facts)
    assert unchanged is not None
    assert unchanged.reply is not None
    assert pull_requests.list_comment_variables(facts, unchanged.reply)["scores"] == lowest


# The repository's own labels


OWN = LabelOffer((RepositoryLabel("area/cart", ""), RepositoryLabel("area/mail", "")), 0.7)
SET: Mapping[str, LabelState] = {"area/cart": "set", "size/small": "set", "type/feature": "set"}


def removed_after(
    facts: PullRequestFacts, *suggested: str, kind: str = "feature"
) -> tuple[str, ...]:
    """Return what a review removes whose reply suggests these labels, after one that set
    area/cart.
    """
    labels = [{"name": name, "confidence": 0.9} for name in suggested]
    reply = pull_request_analysis(suggested_labels=labels, type=kind)
    action = labels_of(plan(replace(facts, offer=OWN), analysis(reply)))
    found = decide_labels(
        action,
        EffectiveLabels(),
        present=frozenset(SET),
        stored=SET,
        in_repository=frozenset({*SET, "area/mail", "type/docs"}),
    )
    assert found.add == (*suggested, *(["type/docs"] if kind == "docs" else []))
    return found.remove


def test_suggested_labels_are_only_added_after_a_review_of_new_lines() -> None:
    facts = gather_review(file())
    later = gather_review(file(), record=make_record(facts, analysis(pull_request_analysis()), {}))
    assert removed_after(later) == ()
    assert removed_after(later, "area/mail") == ()
    assert removed_after(later, kind="docs") == ("type/feature",)
    assert removed_after(replace(later, is_full=True)) == ("area/cart",)


def test_suggested_labels_are_only_added_if_a_part_of_the_changes_got_no_reply() -> None:
    facts = gather_review(file())
    assert removed_after(facts) == ("area/cart",)
    assert removed_after(replace(facts, unanswered={0: "no reply"})) == ()


# Verification


TWO_FINDINGS = pull_request_analysis(
    findings=[
        finding(),
        finding(line=21, quote="    return side ** 3", severity="critical", title="Overflows"),
    ]
)


def candidates(facts: PullRequestFacts, *findings: Finding) -> tuple[Candidate, ...]:
    variables = verification_variables(facts, pull_request_analysis(findings=list(findings)))
    return () if variables is None else cast(tuple[Candidate, ...], variables["candidates"])


FAILING = {"review": Review(fail_on="high")}
UNSURE = finding(confidence=0.6, severity="low", title="Unsure")
SURE = finding(line=21, quote="    return side ** 3", severity="medium", title="Sure")


def test_only_findings_that_decide_get_a_second_look() -> None:
    facts = gather_review(TWO, limits=FAILING)
    severe = finding(
        line=21, quote="    return side ** 3", category="security", severity="high", title="Severe"
    )
    assert [one.title for one in candidates(facts, UNSURE, SURE, severe)] == ["Severe", "Unsure"]
    assert (
        candidates(
            gather_review(TWO, limits={"review": Review(fail_on="high", verify=False)}),
            UNSURE,
            severe,
        )
        == ()
    )
    assert candidates(gather_review(TWO, limits={"is_review": False}), UNSURE, severe) == ()


# Review comments


def test_most_severe_findings_get_a_review_comment() -> None:
    facts = gather_review(TWO, limits={"review": Review(max_inline=1)})
    inline = inline_of(facts, TWO_FINDINGS)
    assert [cast(ShownFinding, one["finding"]).title for one in inline.values()] == ["Overflows"]
    variables = pull_requests.list_comment_variables(facts, TWO_FINDINGS)
    shown = cast(tuple[ShownFinding, ...], variables["findings"])
    assert [(one.title, one.is_inline) for one in shown] == [("Overflows", True), ("Wrong", False)]
    record = review(facts, *TWO_FINDINGS.findings)
    assert [(entry.title, entry.comment_id) for entry in record.ledger] == [
        ("Overflows", 901),
        ("Wrong", None),
    ]
    later = pull_requests.list_comment_variables(
        gather_review(TWO, record=record), pull_request_analysis()
    )
    earlier = cast(tuple[ShownFinding, ...], later["unrepeated"])
    assert [(one.title, one.body) for one in earlier] == [
        ("Overflows", ""),
        ("Wrong", TWO_FINDINGS.findings[0].body),
    ]
    assert (
        inline_of(gather_review(TWO, limits={"review": Review(max_inline=0)}), TWO_FINDINGS) == {}
    )


# Prompts that review nothing


def test_prompt_that_reviews_nothing_stores_nothing_and_has_one_call() -> None:
    record = review(gather_review(*LONG_FILES))
    facts = gather_review(*LONG_FILES, tokens=800, record=record, limits={"is_review": False})
    assert (facts.record, len(facts.selection.calls), len(list_parts(facts))) == (NO_REVIEW, 1, 1)
    reply = pull_request_analysis(findings=[finding(path="a.py", line=1, quote="x" * 25)])
    assert inline_of(facts, reply) == {}
    job = RecordedJob(event(pull_request()), facts, (reply,))
    HANDLER.run(job)
    assert job.done[1:] == ["ask", EnsureLabels, EnsureComment]


def test_closing_event_reviews_nothing() -> None:
    closed = replace(event(pull_request()), action="closed")
    now = pull_request(state="closed", merged=True)
    history = EmptyHistory(reviewed=review(gather_review(file())))
    facts = pull_request_input.gather(
        Source(closed, fake_reader(now, (file(),)), history, PromptLimits(10_000, is_review=True))
    )
    assert (facts.is_review, facts.record, len(facts.selection.calls)) == (False, NO_REVIEW, 1)
    actions = pull_requests.plan(
        closed, facts, analysis(pull_request_analysis(findings=[finding()]))
    )
    assert [type(action) for action in actions] == [EnsureLabels, EnsureComment]


def test_follow_up_reply_of_another_type_does_not_hide_the_findings() -> None:
    reply = pull_request_analysis(findings=[finding()])
    facts = gather_review(TWO)
    (key,) = inline_of(facts, reply)
    chain = replace(
        analysis(reply, issue_response()), comment_index=1, inline={key: "It is wrong."}
    )
    assert [type(action) for action in plan(facts, chain)] == [
        EnsureLabels,
        EnsureReview,
        EnsureComment,
    ]
    record = make_record(facts, chain, {key: 901})
    assert (record.rounds, [entry.title for entry in record.ledger]) == (1, ["Wrong"])
