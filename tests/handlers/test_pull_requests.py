"""Handler for pull requests: facts, labels, the comment and its variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeGuard, cast

import pytest

from hls_handler.actions import (
    Action,
    EnsureCheck,
    EnsureComment,
    EnsureLabels,
    EnsureReply,
    EnsureReview,
    InlineComment,
    RequestedLabel,
)
from hls_handler.analysis import (
    Analysis,
    Finding,
    FindingVerdict,
    FindingVerdicts,
    PullRequestAnalysis,
    Reply,
    Score,
    SuggestedLabel,
    lowest_scores,
)
from hls_handler.handlers.changed_files import PatchedFile
from hls_handler.handlers.handler import PromptLimits, SkipReason
from hls_handler.handlers.labels import SHIPPED_LABELS
from hls_handler.handlers.pull_request_facts import Candidate, KnownFinding, PullRequestFacts
from hls_handler.handlers.pull_request_findings import ShownFinding
from hls_handler.handlers.pull_requests import PullRequestHandler
from hls_handler.handlers.reader import EMPTY_HISTORY, ChangedFile, EmptyHistory
from hls_handler.handlers.skipped_files import SkippedFile
from hls_handler.prompting.front_matter import FieldKeys, FrontMatter
from hls_handler.prompting.reply_fields import build_reply_model
from hls_handler.review.record import NO_REVIEW, ReviewRecord, ReviewThread, ThreadReply
from hls_handler.settings.model import Findings, Review
from hls_handler.settings.values import PathFilter, Summary
from hls_handler.settings.yaml_parser import Sources
from tests.handlers.world import (
    PATCH,
    FakeReader,
    analysis,
    count_changes,
    event,
    file,
    finding,
    issue_response,
    pull_request,
    pull_request_analysis,
)

HANDLER = PullRequestHandler()
LOGO = file("logo.png", None, additions=0, deletions=0)


def gather(
    *files: ChangedFile,
    tokens: int = 10_000,
    record: ReviewRecord = NO_REVIEW,
    threads: tuple[ReviewThread, ...] | None = None,
    writers: tuple[str, ...] = (),
    limits: Mapping[str, Any] | None = None,
    head_files: Mapping[str, str] | None = None,
    **known: Any,
) -> PullRequestFacts:
    """Gather the facts of a review. `threads` are those without an answer unless they are given."""
    if threads is None:
        threads = tuple(thread(entry.key) for entry in record.ledger)
    now = pull_request(**{**count_changes(files), **known})
    reader = FakeReader(
        now, files, review_threads=threads, permissions=dict.fromkeys(writers, "write"), head_files=head_files
    )
    given = PromptLimits(tokens, **{"is_review": True, **(limits or {})})
    return HANDLER.gather(event(pull_request()), reader, EmptyHistory(reviewed=record), given)


def thread(key: str, **known: Any) -> ReviewThread:
    return replace(ReviewThread(901, key, False, None, (), (), (), ()), **known)


def review(facts: PullRequestFacts, *findings: Finding) -> ReviewRecord:
    """Return what is stored after a review that found `findings`, each with a review comment."""
    reply = pull_request_analysis(findings=list(findings))
    ids = dict.fromkeys(HANDLER.inline_findings(facts, reply), 901)
    record = HANDLER.after_review(facts, analysis(reply), comment_ids=ids, rejected=())[1]
    assert record is not None
    return record


def raised(facts: PullRequestFacts, *findings: Finding) -> list[str]:
    """Return the titles of the new findings in the comment."""
    variables = HANDLER.comment_variables(facts, pull_request_analysis(findings=list(findings)))
    return [title for title, _ in titles_of(variables)]


def plan(facts: PullRequestFacts, given: Analysis) -> tuple[Action, ...]:
    """Return the planned actions without the check, which tests/handlers/test_check.py tests."""
    planned = HANDLER.plan(event(pull_request()), facts, given)
    return tuple(action for action in planned if not isinstance(action, EnsureCheck))


def test_the_current_pull_request_and_its_patches_are_read() -> None:
    facts = gather(file(), LOGO, title="Cube it", head_sha="f" * 40)
    variables = HANDLER.variables(facts)
    assert variables["pull_request"] == pull_request(title="Cube it", head_sha="f" * 40, changed_files=2)
    assert [f.path for f in facts.files] == ["area.py"]
    assert variables["files"] == facts.files
    assert variables["skipped"] == (SkippedFile("logo.png", "binary or empty"),)
    assert variables["size"] == "small"
    assert variables["unlisted"] == 0
    assert HANDLER.skip_reason(facts) is None


def test_patches_are_limited_by_the_budget() -> None:
    facts = gather(file(), tokens=100)
    assert (facts.files, facts.skipped) == ((), ())
    assert HANDLER.skip_reason(facts) == SkipReason(
        "none of the changed files has a patch to read (1 too long for one call), so Claude was not asked"
    )


DOCS = PathFilter(("docs/**",), "config/settings.yaml:14 (repositories[0].paths.ignore)")


def leaving_out_docs(*files: ChangedFile) -> PullRequestFacts:
    now = pull_request(changed_files=len(files))
    return HANDLER.gather(
        event(pull_request()), FakeReader(now, files), EMPTY_HISTORY, PromptLimits(10_000, ignored_paths=DOCS)
    )


def test_files_left_out_by_settings_are_not_shown_but_count_in_the_size() -> None:
    facts = leaving_out_docs(file("docs/guide.md", additions=60, deletions=0), file())
    assert [f.path for f in facts.files] == ["area.py"]
    assert facts.skipped == (SkippedFile("docs/guide.md", "left out by settings"),)
    assert facts.size == "medium"


def test_claude_is_not_asked_if_settings_leave_out_all_files() -> None:
    assert HANDLER.skip_reason(leaving_out_docs(file("docs/guide.md"), file("docs/uv.lock"))) == SkipReason(
        "none of the changed files has a patch to read (2 left out by settings; see "
        "config/settings.yaml:14 (repositories[0].paths.ignore)), so Claude was not asked"
    )


def test_omissions_are_described() -> None:
    long = f"@@ -0,0 +1 @@\n+{'x' * 9_000}"
    facts = gather(file("a.py", long, additions=1, deletions=0), file("uv.lock"), LOGO, tokens=2_000, changed_files=4)
    assert HANDLER.describe_omissions(facts) == (
        "3 of 4 files were not shown: 1 lock file, 1 binary or empty, 1 beyond those that GitHub lists; 1 file was "
        "not reviewed completely, because of the size"
    )
    assert HANDLER.describe_omissions(gather(file(), LOGO)) == "1 of 2 files was not shown: 1 binary or empty"
    assert HANDLER.describe_omissions(gather(LOGO)) == "1 of 1 file was not shown: 1 binary or empty"
    assert HANDLER.describe_omissions(gather(file())) is None
    shortened = gather(file(additions=400))
    assert HANDLER.describe_omissions(shortened) == "1 file was not reviewed completely, because of the size"


def test_files_that_github_does_not_list_are_counted() -> None:
    assert gather(file(), changed_files=3_141).unlisted == 3_140
    assert gather(file(), changed_files=0).unlisted == 0
    # GitHub lists no more: a list of this length is not compared with the numbers of the pull request
    removed = [file(f"{n}.py", None, status="removed", additions=0, deletions=1) for n in range(3_000)]
    assert gather(*removed, changed_files=3_141, deletions=3_141).unlisted == 141


@pytest.mark.parametrize(
    ("additions", "deletions", "size"),
    [
        (0, 0, "small"),
        (25, 24, "small"),
        (25, 25, "medium"),
        (199, 0, "medium"),
        (0, 200, "large"),
        (9_000, 0, "large"),
    ],
)
def test_size_depends_on_changed_lines_of_all_files(additions: int, deletions: int, size: str) -> None:
    facts = gather(file("uv.lock", additions=additions, deletions=0), file(additions=0, deletions=deletions))
    assert facts.size == size


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ((), "the pull request changes no files, so Claude was not asked"),
        (
            (LOGO, file("uv.lock")),
            "none of the changed files has a patch to read (1 binary or empty, 1 lock file), so Claude was not asked",
        ),
    ],
    ids=["no files", "nothing to read"],
)
def test_claude_is_not_asked_without_a_patch(files: tuple[ChangedFile, ...], sentence: str) -> None:
    assert HANDLER.skip_reason(gather(*files)) == SkipReason(sentence)


def test_an_analysis_with_findings_becomes_labels_a_review_and_a_comment() -> None:
    reply = pull_request_analysis(findings=[finding(start_line=1)])
    facts = gather(file(additions=60))
    (key,) = HANDLER.inline_findings(facts, reply)
    assert plan(facts, replace(analysis(reply, comment="Squares."), inline={key: "It is wrong."})) == (
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
    ("summary", "findings", "worth_saying", "create"),
    [
        ("on_findings", [finding()], True, True),
        ("on_findings", [], True, False),
        ("on_findings", [finding(quote="nowhere")], True, True),
        ("on_findings", [finding()], False, True),
        ("on_findings", [], False, False),
        ("always", [], False, True),
    ],
    ids=["found", "nothing found", "nothing located", "found, and not worth saying", "nothing to say", "always"],
)
def test_comment_is_created_if_something_was_found_or_always(
    summary: Summary, findings: list[Finding], worth_saying: bool, create: bool
) -> None:
    facts = replace(gather(file()), summary=summary)
    actions = plan(facts, analysis(pull_request_analysis(findings=findings, worth_saying=worth_saying)))
    assert [type(action) for action in actions] == [EnsureLabels, EnsureComment]
    assert isinstance(actions[1], EnsureComment)
    assert actions[1].create is create


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
    facts = gather(file(previous_path="old (name).py", status="renamed"), base_sha="b" * 40)
    variables = HANDLER.comment_variables(facts, pull_request_analysis(findings=[finding(**known)]))
    (shown,) = cast(tuple[ShownFinding, ...], variables["findings"])
    assert shown.url == f"https://github.com/o/r/blob/{url}"


def test_link_to_markdown_shows_its_source() -> None:
    facts = gather(file("README.md"))
    (shown,) = cast(
        tuple[ShownFinding, ...],
        HANDLER.comment_variables(facts, pull_request_analysis(findings=[finding(path="README.md")]))["findings"],
    )
    assert shown.url.endswith("/README.md?plain=1#L2")


@pytest.mark.parametrize("kind", ["bug-fix", "feature", "refactor", "docs"])
@pytest.mark.parametrize("additions", [1, 100, 1_000])
def test_every_label_is_in_the_catalogue(kind: str, additions: int) -> None:
    labels = plan(gather(file(additions=additions)), analysis(pull_request_analysis(type=kind)))[0]
    assert isinstance(labels, EnsureLabels)
    assert {(label.name, label.group) for label in labels.requested} <= {
        (spec.name, spec.group) for spec in SHIPPED_LABELS
    }


def test_an_existing_comment_is_edited_if_the_analysis_is_not_worth_saying() -> None:
    actions = plan(gather(file()), analysis(pull_request_analysis(worth_saying=False)))
    assert actions[1] == EnsureComment("pull_requests", "Hello.", create=False)


@pytest.mark.parametrize("comment", [None, ""], ids=["no template", "an empty template"])
def test_no_comment_without_a_text(comment: str | None) -> None:
    actions = plan(gather(file()), analysis(pull_request_analysis(), comment=comment))
    assert [type(action) for action in actions] == [EnsureLabels]


def test_a_reply_of_another_type_does_not_change_the_type_label() -> None:
    assert plan(gather(file()), analysis(issue_response(), comment=None)) == (
        EnsureLabels((RequestedLabel("size/small", "size"),), ("size",)),
    )


def test_comment_variables_have_the_commit_and_the_located_findings() -> None:
    facts = gather(file(), head_sha="0123456789abcdef0123456789abcdef01234567")
    lost, moved = finding(quote="never written"), finding(line=7, title="Moved")
    variables = HANDLER.comment_variables(facts, pull_request_analysis(findings=[lost, moved]))
    assert variables["commit"] == "0123456789"
    assert titles_of(variables) == [("Moved", 2)]
    (unlocated,) = cast(tuple[ShownFinding, ...], variables["unlocated"])
    assert (unlocated.title, unlocated.quote) == ("Wrong", "never written")


def titles_of(variables: Mapping[str, object]) -> list[tuple[str, int | None]]:
    return [(shown.title, shown.line) for shown in cast(tuple[ShownFinding, ...], variables["findings"])]


def test_the_comment_names_the_commit_that_was_read_not_that_of_the_event() -> None:
    facts = gather(file(), head_sha="f" * 40)
    variables = HANDLER.comment_variables(facts, pull_request_analysis())
    assert variables["commit"] == "ffffffffff"


def test_findings_about_files_that_were_not_shown_have_no_line() -> None:
    variables = HANDLER.comment_variables(
        gather(file(), file("uv.lock")),
        pull_request_analysis(findings=[finding(path="uv.lock")]),
    )
    unlocated = cast(tuple[ShownFinding, ...], variables["unlocated"])
    assert (variables["findings"], [one.path for one in unlocated]) == ((), ["uv.lock"])


@pytest.mark.parametrize("path", ["src/ab.py", "src/a\u200bb.py"])
def test_later_findings_without_a_line_are_shown_also_if_the_name_of_their_file_is_shown_differently(path: str) -> None:
    record = review(gather(file(path, "@@ -1 +1,2 @@\n a = 1\n+b = 2")))
    facts = gather(file(path, "@@ -1 +1,3 @@\n a = 1\n+b = 2\n+c = 3"), record=record)
    lost = finding(path="src/ab.py", line=3, quote="never written")
    variables = HANDLER.comment_variables(facts, pull_request_analysis(findings=[lost]))
    assert [one.title for one in cast(tuple[ShownFinding, ...], variables["unlocated"])] == ["Wrong"]


def test_a_reply_of_another_type_has_no_findings() -> None:
    variables = HANDLER.comment_variables(gather(file()), issue_response())
    assert (variables["findings"], variables["unlocated"]) == ((), ())


@pytest.mark.parametrize(
    ("shown", "titles"),
    [
        ({}, ["Severe", "Doubtful", "Small"]),
        ({"min_severity": "medium"}, ["Severe", "Doubtful"]),
        ({"min_confidence": 0.5}, ["Severe", "Small"]),
        ({"min_severity": "high", "min_confidence": 0.9}, ["Severe"]),
        ({"min_severity": "critical"}, []),
    ],
)
def test_findings_below_the_thresholds_are_counted_and_not_shown(shown: dict[str, Any], titles: list[str]) -> None:
    found = [
        finding(title="Severe", severity="high", confidence=0.9),
        finding(title="Doubtful", severity="medium", confidence=0.4, category="security"),
        finding(title="Small", severity="low", confidence=0.9, category="style"),
    ]
    budget = PromptLimits(10_000, shown=Findings.model_validate(shown))
    facts = HANDLER.gather(event(pull_request()), FakeReader(pull_request(), (file(),)), EMPTY_HISTORY, budget)
    variables = HANDLER.comment_variables(facts, pull_request_analysis(findings=found))
    assert [f.title for f in variables["findings"]] == titles  # type: ignore[attr-defined]
    assert (variables["held_back"], variables["unlocated"]) == (3 - len(titles), ())


# Rounds


def is_check(action: Action) -> TypeGuard[EnsureCheck]:
    return isinstance(action, EnsureCheck)


TWO_HUNKS = f"{PATCH}\n@@ -20,2 +20,2 @@\n def volume(side):\n-    return side * 3\n+    return side ** 3"
TWO = file(patch=TWO_HUNKS, additions=2, deletions=2)
PUSHED = file(patch=TWO_HUNKS.replace("** 3", "** 4"), additions=2, deletions=2)
ON_CHANGED = finding(line=21, quote="    return side ** 4", title="Changed")
REMOVED = finding(side="LEFT", line=21, quote="    return side * 3", title="Removed")
BESIDE = finding(line=20, quote="def volume(side):", title="Beside")


def test_first_review_stores_what_it_read_and_raised() -> None:
    record = review(gather(TWO), finding())
    assert (record.rounds, record.kind, record.summary) == (1, "bug-fix", "Squares.")
    assert len(record.reviewed["area.py"]) == 2
    assert [(entry.title, entry.state, entry.comment_id, entry.prompt_id) for entry in record.ledger] == [
        ("Wrong", "open", 901, "p@1")
    ]


def test_claude_is_not_asked_if_nothing_changed() -> None:
    rebased = file(patch=TWO_HUNKS.replace("-20,2 +20,2", "-60,2 +70,2"), additions=2, deletions=2)
    facts = gather(rebased, record=review(gather(TWO), finding()))
    skip = HANDLER.skip_reason(facts)
    assert skip is not None
    assert skip.reason == "nothing changed since the last review, so Claude was not asked"
    assert isinstance(skip.reply, PullRequestAnalysis)
    assert (skip.reply.type, skip.reply.summary, skip.reply.findings) == ("bug-fix", "Squares.", [])


def test_static_reply_edits_the_comment_and_counts_no_round() -> None:
    record = review(gather(TWO), finding())
    facts = gather(TWO, record=record)
    static = Analysis((), "Nothing new.")
    for summary in ("on_findings", "always"):
        (_, comment) = plan(replace(facts, summary=summary), static)
        assert comment == EnsureComment("pull_requests", "Nothing new.", create=False)
    assert HANDLER.after_review(facts, static, comment_ids={}, rejected=()) == (facts, record)


def test_only_changed_hunks_are_shown_in_a_later_review() -> None:
    facts = gather(PUSHED, record=review(gather(TWO)))
    variables = HANDLER.variables(facts)
    (shown,) = cast(tuple[PatchedFile, ...], variables["files"])
    assert "side ** 4" in shown.numbered
    assert "side ** 2" not in shown.numbered
    assert (variables["round"], variables["earlier_kind"], variables["earlier_summary"]) == (2, "bug-fix", "Squares.")


AFTER = finding(start_line=21, line=22, quote="end()", title="After")
CRITICAL = BESIDE.model_copy(update={"severity": "critical", "title": "Critical"})


@pytest.mark.parametrize(
    ("rounds", "found", "titles"),
    [
        (0, [ON_CHANGED, REMOVED, BESIDE], ["Beside", "Removed", "Changed"]),
        (1, [ON_CHANGED, REMOVED, BESIDE], ["Changed"]),
        (1, [CRITICAL], ["Critical"]),
        (2, [ON_CHANGED, CRITICAL], ["Changed"]),
        (1, [ON_CHANGED.model_copy(update={"start_line": 20})], ["Changed"]),
        (2, [AFTER], ["After"]),
    ],
    ids=[
        "first",
        "second",
        "second, critical",
        "third",
        "second, a range up to a changed line",
        "third, a range from a changed line",
    ],
)
def test_later_reviews_raise_only_findings_on_changed_lines(
    rounds: int, found: list[Finding], titles: list[str]
) -> None:
    record = replace(review(gather(TWO)), rounds=rounds) if rounds else NO_REVIEW
    pushed = replace(PUSHED, patch=f"{PUSHED.patch}\n end()") if AFTER in found else PUSHED
    assert raised(gather(pushed, record=record), *found) == titles


@pytest.mark.parametrize(("path", "later"), [("area.py", 1), ("other.py", 0)])
def test_finding_without_a_line_is_shown_later_if_its_file_is(path: str, later: int) -> None:
    lost = pull_request_analysis(findings=[finding(path=path, quote="never written")])
    for facts, shown in ((gather(TWO), 1), (gather(PUSHED, record=review(gather(TWO))), later)):
        assert len(cast(tuple[object, ...], HANDLER.comment_variables(facts, lost)["unlocated"])) == shown


def test_too_many_findings_are_stored_and_fail_the_check_until_they_are_fixed() -> None:
    lines = [f"line {number}" for number in range(1, 46)]
    many = file("a.py", "@@ -0,0 +1,45 @@\n" + "\n".join(f"+{line}" for line in lines), additions=45, deletions=0)
    found = [finding(path="a.py", line=number, quote=line) for number, line in enumerate(lines, start=1)]
    facts = replace(gather(many), review=Review(fail_on="high"))
    reply = pull_request_analysis(findings=found)
    variables = HANDLER.comment_variables(facts, reply)
    assert (len(titles_of(variables)), variables["left_out"]) == (40, 5)
    (check,) = (one for one in HANDLER.plan(event(pull_request()), facts, analysis(reply)) if is_check(one))
    assert check.title == "45 open findings of severity high or above; reviewed 1 of 1 file"
    shown = {line for _, line in titles_of(variables)}
    record = review(facts, *found)
    fixed = [f"good {number}" if number in shown else line for number, line in enumerate(lines, start=1)]
    patch = "@@ -0,0 +1,45 @@\n" + "\n".join(f"+{line}" for line in fixed)
    facts = replace(gather(replace(many, patch=patch), record=record), review=Review(fail_on="high"))
    (check,) = HANDLER.plan_unasked(facts)
    assert check.title == "5 open findings of severity high or above; reviewed 1 of 1 file"


def test_higher_severity_of_an_open_finding_is_shown_and_counts_for_the_check() -> None:
    low = finding(line=21, quote="    return side ** 3", severity="low")
    facts = gather(TWO, record=replace(review(gather(TWO), low), reviewed={}))
    facts = replace(facts, review=Review(fail_on="critical"))
    reply = pull_request_analysis(findings=[low.model_copy(update={"severity": "critical", "title": "Overflows"})])
    variables = HANDLER.comment_variables(facts, reply)
    (shown,) = cast(tuple[ShownFinding, ...], variables["unrepeated"])
    assert (shown.title, shown.severity, shown.body, variables["findings"]) == (
        "Overflows",
        "critical",
        "It is wrong.",
        (),
    )
    planned = HANDLER.plan(event(pull_request()), facts, analysis(reply))
    assert [type(one) for one in planned if isinstance(one, EnsureReview)] == []
    assert [one.conclusion for one in planned if is_check(one)] == ["failure"]
    record = HANDLER.after_review(facts, analysis(reply), comment_ids={}, rejected=())[1]
    assert record is not None
    assert [(entry.severity, entry.comment_id) for entry in record.ledger] == [("critical", 901)]


def test_finding_that_moves_to_a_file_that_is_left_out_stays_open() -> None:
    new = "@@ -0,0 +1,2 @@\n+total = load()\n+run(total)"
    record = review(
        gather(file("run.py", new, status="added", additions=2, deletions=0)),
        finding(path="run.py", quote="run(total)"),
    )
    facts = gather(file("dist/run.py", new, status="added", additions=2, deletions=0), record=record)
    assert [(entry.path, entry.state) for entry in facts.record.ledger] == [("dist/run.py", "open")]


def test_finding_that_leaves_a_renamed_file_follows_its_line() -> None:
    text = "total = sum(prices) / len(prices)"
    record = review(
        gather(file("a.py", f"@@ -1,1 +1,2 @@\n first()\n+{text}", additions=1, deletions=0)),
        finding(path="a.py", line=2, quote=text),
    )
    renamed = file("c.py", None, status="renamed", previous_path="a.py", additions=0, deletions=0)
    moved = file("b.py", f"@@ -7,1 +7,2 @@\n other()\n+{text}", additions=1, deletions=0)
    facts = gather(renamed, moved, record=record)
    assert [(entry.path, entry.line, entry.state) for entry in facts.record.ledger] == [("b.py", 8, "open")]


def test_finding_that_is_fixed_and_resolved_does_not_count_for_the_check() -> None:
    record = review(gather(TWO), finding(line=21, quote="    return side ** 3"))
    resolved = (thread(record.ledger[0].key, is_resolved=True, resolved_by="zoe"),)
    facts = replace(gather(PUSHED, record=record, threads=resolved), review=Review(fail_on="high"))
    planned = HANDLER.plan(event(pull_request()), facts, analysis(pull_request_analysis()))
    assert [one.conclusion for one in planned if is_check(one)] == ["success"]
    assert [one.key for one in planned if isinstance(one, EnsureReply)] == ["fixed"]
    for pushed in (facts, gather(PUSHED, record=record)):  # resolved before the review of the push, or after it
        back = gather(TWO, record=review(pushed), threads=resolved)
        assert [(entry.state, entry.dismissed_by) for entry in back.record.ledger] == [("open", None)]


def test_dismissed_finding_that_is_fixed_gets_no_reply() -> None:
    record = review(gather(TWO), finding(line=21, quote="    return side ** 3"))
    threads = (thread(record.ledger[0].key, thumbs_down=("zoe",)),)
    facts = gather(PUSHED, record=review(gather(TWO, record=record, threads=threads)), threads=threads)
    assert [entry.state for entry in facts.record.ledger] == ["fixed"]
    assert not [one for one in plan(facts, analysis(pull_request_analysis())) if isinstance(one, EnsureReply)]


def test_finding_follows_renames_of_its_file() -> None:
    lines = [f"step_{number}()" for number in range(9)]
    edited = [f"{line}  # new" if number in (2, 3, 5, 6) else line for number, line in enumerate(lines)]

    def renamed(path: str, texts: list[str]) -> ChangedFile:
        patch = "@@ -1,2 +1,11 @@\n first()\n" + "\n".join(f"+{text}" for text in texts) + "\n last()"
        given = {"status": "renamed", "previous_path": "area.py"} if path != "area.py" else {}
        return file(path, patch, additions=9, deletions=0, **given)

    record = review(gather(renamed("shapes.py", lines)), finding(path="shapes.py", line=6, quote=lines[4]))
    for path, texts in (("area.py", edited), ("rooms.py", lines)):
        facts = gather(renamed(path, texts), record=record)
        assert [(entry.path, entry.state, entry.line) for entry in facts.record.ledger] == [(path, "open", 6)]
        record = review(facts)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("first()\nconnect('[redacted: github-token]')\n", "open"),
        (f"first()\n  connect('ghp_{'a' * 36}')\r\n", "open"),
        ("first()\nconnect(token)\n", "fixed"),
        ("", "open"),
    ],
    ids=["as shown", "with the credential", "fixed by the base", "not readable"],
)
def test_finding_on_a_hidden_line_is_open_as_long_as_the_file_has_the_line(text: str, state: str) -> None:
    near = f"@@ -1,3 +1,4 @@\n first()\n connect('ghp_{'a' * 36}')\n+log()\n last()"
    facts = gather(file(patch=near, additions=1, deletions=0))
    (patch,) = facts.selection.patches.values()
    found = finding(line=2, quote=patch.hunks[0].lines[1].text)
    elsewhere = file(patch="@@ -90,1 +90,2 @@\n other()\n+log()", additions=1, deletions=0)
    after = gather(elsewhere, record=review(facts, found), head_files={"area.py": text} if text else {})
    assert [entry.state for entry in after.record.ledger] == [state]


@pytest.mark.parametrize(
    ("text", "state"),
    [("delete_all(rows)\n", "open"), ("other()\n", "gone"), ("", "open")],
    ids=["in the base", "not in the base", "not readable"],
)
def test_finding_in_a_copy_whose_original_is_removed_is_open_unless_the_base_did_not_have_its_line(
    text: str, state: str
) -> None:
    block = ["    audit(rows)", "    delete_all(rows)", "    return len(rows)"]
    added = "\n+".join(["@@ -20,1 +20,5 @@\n last()", "def purge(rows):", *block])
    found = finding(line=23, quote="delete_all(rows)")
    record = review(gather(file(patch=added, additions=4, deletions=0), base_sha="b" * 40), found)
    removed = "\n ".join(["@@ -9,5 +9,4 @@\n-def wipe(rows):\n-    require_admin()\n+def purge(rows):", *block])
    after = gather(
        file(patch=removed, additions=1, deletions=2), record=record, head_files={"area.py": text} if text else {}
    )
    assert [entry.state for entry in after.record.ledger] == [state]


def test_finding_in_a_file_that_loses_its_patch_stays_open() -> None:
    record = review(gather(TWO), finding())
    left_out = {"ignored_paths": PathFilter(("area.py",))}
    facts = gather(replace(TWO, patch=None), record=record, limits=left_out)
    assert [entry.state for entry in facts.record.ledger] == ["open"]


def test_full_review_without_a_reply_leaves_the_commit_reviewed() -> None:
    record = review(gather(TWO))
    for is_full in (True, False):
        facts = replace(gather(TWO), record=record, is_full=is_full, unanswered={0: "the budget is used up"})
        assert facts.coverage.is_complete == is_full


def test_open_findings_are_ordered_by_severity() -> None:
    low = finding(line=21, quote="    return side ** 3", severity="low")
    record = review(gather(TWO), low)
    ledger = (*record.ledger, *review(gather(TWO), finding(severity="critical")).ledger)
    facts = gather(TWO, record=replace(record, ledger=ledger))
    shown = cast(tuple[ShownFinding, ...], HANDLER.comment_variables(facts, pull_request_analysis())["unrepeated"])
    assert [one.severity for one in shown] == ["critical", "low"]


def test_finding_in_a_file_that_is_renamed_to_be_left_out_stays_open() -> None:
    record = review(gather(TWO), finding())
    moved = replace(file("vendor/area.py", TWO_HUNKS, additions=2, deletions=2), previous_path="area.py")
    assert [entry.state for entry in gather(moved, record=record).record.ledger] == ["open"]


def test_comment_is_created_for_an_incomplete_review() -> None:
    facts = gather(file(), file("big.py", None, additions=20_000))
    (_, comment) = plan(facts, analysis(pull_request_analysis()))
    assert isinstance(comment, EnsureComment)
    assert comment.create


def test_known_finding_is_listed_and_not_raised_again() -> None:
    first = finding(line=21, quote="    return side ** 3", title="Overflows")
    beside = file(patch=TWO_HUNKS.replace("def volume(side):\n", "def volume(side):\n+    check(side)\n"), additions=3)
    facts = gather(beside, record=review(gather(TWO), first))
    assert facts.known_findings == (KnownFinding("area.py", 22, "Overflows"),)
    again = first.model_copy(update={"line": 22, "title": "Other words"})
    assert raised(facts, again) == []
    variables = HANDLER.comment_variables(facts, pull_request_analysis(findings=[again]))
    (shown,) = cast(tuple[ShownFinding, ...], variables["unrepeated"])
    assert (shown.title, shown.line, shown.severity, shown.is_inline) == ("Overflows", 22, "high", True)


@pytest.mark.parametrize(
    ("dismissing", "is_binding"),
    [
        ({"thumbs_down": ("mona",)}, True),
        ({"is_resolved": True, "resolved_by": "zoe"}, False),
        ({"replies": (ThreadReply("zoe", "won't fix"),)}, False),
        ({"replies": (ThreadReply("", "won't fix"),)}, False),
    ],
    ids=["thumbs down of a writer", "resolved", "reply", "reply of a deleted account"],
)
def test_dismissed_finding_is_not_raised_again(dismissing: dict[str, Any], is_binding: bool) -> None:
    record = review(gather(TWO), finding())
    threads = (thread(record.ledger[0].key, **dismissing),)
    moved = file(patch=TWO_HUNKS.replace("-1,2 +1,2", "-11,2 +11,2").replace("** 3", "** 4"), additions=2, deletions=2)
    facts = gather(moved, record=replace(record, rounds=0, reviewed={}), threads=threads, writers=("mona",))
    again = finding(line=12, title="In other words")
    assert raised(facts, again) == []
    variables = HANDLER.comment_variables(facts, pull_request_analysis(findings=[again]))
    assert [variables[name] for name in ("dismissed", "still_open", "unrepeated")] == [1, 0, ()]
    unchecked = HANDLER.comment_variables(replace(facts, review=Review(check=False)), pull_request_analysis())
    assert (variables["still_counted"], unchecked["still_counted"]) == (0 if is_binding else 1, 0)
    (entry,) = review(facts, again).ledger
    assert (entry.state, entry.has_binding_dismissal) == ("dismissed", is_binding)


def test_fixed_finding_gets_one_reply_in_its_thread() -> None:
    record = review(gather(TWO), finding(line=21, quote="    return side ** 3"))
    (key,) = [entry.key for entry in record.ledger]
    facts = gather(PUSHED, record=record)
    replies = [action for action in plan(facts, analysis(pull_request_analysis())) if isinstance(action, EnsureReply)]
    assert replies == [EnsureReply(901, "fixed", "Fixed in 0123456789: this line was changed.")]
    variables = HANDLER.comment_variables(facts, pull_request_analysis())
    assert [variables[name] for name in ("fixed", "still_open", "gone")] == [1, 0, 0]
    for threads in ((thread(key, own_replies=("fixed",)),), ()):
        again = gather(PUSHED, record=review(facts), threads=threads)
        assert [type(action) for action in plan(again, Analysis((), "x"))] == [EnsureLabels, EnsureComment]


def test_threads_are_not_read_without_a_review_comment() -> None:
    record = review(gather(TWO), finding())
    record = replace(record, ledger=tuple(replace(entry, comment_id=None) for entry in record.ledger))
    facts = gather(TWO, record=record, threads=(thread(record.ledger[0].key, thumbs_down=("mona",)),))
    assert [entry.state for entry in facts.record.ledger] == ["open"]


# Several calls


def test_each_call_shows_its_part() -> None:
    long = "@@ -0,0 +1 @@\n" + "\n".join(["+" + "x" * 25] * 60)
    facts = gather(
        file("a.py", long, additions=60, deletions=0), file("b.py", long, additions=60, deletions=0), tokens=800
    )
    parts = HANDLER.split(facts)
    assert [[one.path for one in part.files] for part in parts] == [["a.py"], ["b.py"]]
    assert [(part.part, part.parts) for part in parts] == [(1, 2), (2, 2)]
    assert [one.path for one in facts.files] == ["a.py", "b.py"]
    unanswered = HANDLER.with_unanswered(facts, {1: "Claude refused"})
    assert [(one.path, one.reason) for one in unanswered.coverage.files] == [("a.py", None), ("b.py", "Claude refused")]
    record = review(unanswered)
    assert (len(record.reviewed["a.py"]), record.reviewed["b.py"]) == (1, ())


def test_facts_without_a_call_are_one_part() -> None:
    facts = gather(LOGO)
    assert HANDLER.split(facts) == (facts,)


def test_replies_to_several_calls_are_joined() -> None:
    label = SuggestedLabel(name="ui", confidence=0.4)
    one = pull_request_analysis(
        worth_saying=False,
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
    merged = HANDLER.merge([one, other, other])
    assert isinstance(merged, PullRequestAnalysis)
    assert (merged.worth_saying, merged.summary, merged.type) == (True, "A.\n\nB.", "feature")
    assert [found.title for found in merged.findings] == ["Wrong", "Other", "Other"]
    assert [(label.name, label.confidence) for label in merged.suggested_labels] == [("ui", 0.9), ("docs", 0.5)]
    assert HANDLER.merge([other]) is other
    assert HANDLER.merge([issue_response(), other]) == issue_response()


SCORED, _ = build_reply_model(
    FrontMatter(
        description="a",
        reply="pull_request_analysis",
        fields={"scores": FieldKeys(type="scores", enum=("tests", "readability"))},
    ),
    Sources("a.j2"),
)


def scored(*scores: int, **fields: Any) -> Reply:
    """A reply whose prompt asks for scores of tests and readability, in this order."""
    given = [{"dimension": name, "score": score} for name, score in zip(("tests", "readability"), scores, strict=False)]
    assert SCORED is not None
    return SCORED.model_validate({**pull_request_analysis(**fields).model_dump(), "scores": given})


def test_scores_are_the_lowest_of_several_calls_and_stay_until_there_are_others() -> None:
    facts = gather(TWO)
    merged = HANDLER.merge([scored(4, 2), scored(3, 5)])
    lowest = (Score(dimension="tests", score=3), Score(dimension="readability", score=2))
    assert lowest_scores([merged]) == lowest
    assert HANDLER.comment_variables(facts, merged)["scores"] == lowest
    record = HANDLER.after_review(facts, analysis(merged), comment_ids={}, rejected=())[1]
    assert record is not None
    assert record.scores == lowest
    facts = gather(TWO, record=record)
    unchanged = HANDLER.skip_reason(facts)
    assert unchanged is not None
    assert unchanged.reply is not None
    assert HANDLER.comment_variables(facts, unchanged.reply)["scores"] == lowest


def test_scores_are_advisory() -> None:
    facts = gather(TWO)
    without, worst = (analysis(reply) for reply in (pull_request_analysis(), scored(1, 1)))
    assert HANDLER.plan(event(facts.pull_request), facts, worst) == HANDLER.plan(
        event(facts.pull_request), facts, without
    )


# Verification


def verdicts(*refuted: int) -> FindingVerdicts:
    return FindingVerdicts(
        worth_saying=False, verdicts=[FindingVerdict(number=number, is_refuted=True) for number in refuted]
    )


TWO_FINDINGS = pull_request_analysis(
    findings=[finding(), finding(line=21, quote="    return side ** 3", severity="critical", title="Overflows")]
)


def test_new_findings_are_verified_with_their_code() -> None:
    variables = HANDLER.verification_variables(gather(TWO), TWO_FINDINGS)
    assert variables is not None
    candidates = cast(tuple[Candidate, ...], variables["candidates"])
    assert [(one.number, one.title, one.line) for one in candidates] == [(1, "Overflows", 21), (2, "Wrong", 2)]
    assert candidates[0].code == (
        "@@ -20,2 +20,2 @@\nR   20   def volume(side):\nL   21 -     return side * 3\nR   21 +     return side ** 3"
    )
    assert variables["files"] == ()


def test_code_of_all_candidates_is_limited() -> None:
    lines = [f"{number} {'x' * 900}" for number in range(1, 201)]
    long = file("a.py", "@@ -0,0 +1,200 @@\n" + "\n".join(f"+{line}" for line in lines), additions=200, deletions=0)
    found = [finding(path="a.py", line=number, quote=lines[number - 1]) for number in range(5, 205, 5)]
    variables = HANDLER.verification_variables(gather(long, tokens=100_000), pull_request_analysis(findings=found))
    assert variables is not None
    codes = [one.code for one in cast(tuple[Candidate, ...], variables["candidates"])]
    assert (len(codes), sum(map(len, codes)) < 80_000) == (40, True)
    assert all(str(number) in code for number, code in zip(range(5, 205, 5), codes, strict=True))


def test_all_lines_of_a_new_finding_are_shown_when_it_is_verified() -> None:
    lines = [f"step_{number}(x)" for number in range(90)]
    long = file("a.py", "@@ -0,0 +1,90 @@\n" + "\n".join(f"+{line}" for line in lines), additions=90, deletions=0)
    found = finding(path="a.py", start_line=1, line=80, quote="\n".join(lines[:80]))
    variables = HANDLER.verification_variables(gather(long), pull_request_analysis(findings=[found]))
    assert variables is not None
    (candidate,) = cast(tuple[Candidate, ...], variables["candidates"])
    assert (lines[0] in candidate.code, lines[79] in candidate.code) == (True, True)


def test_refuted_findings_are_not_shown_and_not_stored() -> None:
    facts = HANDLER.apply_verification(gather(TWO), TWO_FINDINGS, verdicts(1, 99, -1))
    assert raised(facts, *TWO_FINDINGS.findings) == ["Wrong"]
    assert [entry.title for entry in review(facts, *TWO_FINDINGS.findings).ledger] == ["Wrong"]
    assert len(HANDLER.inline_findings(facts, TWO_FINDINGS)) == 1


def test_verdict_that_does_not_refute_keeps_the_finding() -> None:
    kept = FindingVerdicts(worth_saying=False, verdicts=[FindingVerdict(number=1, is_refuted=False)])
    assert HANDLER.apply_verification(gather(TWO), TWO_FINDINGS, kept).refuted == frozenset()
    assert HANDLER.apply_verification(gather(TWO), TWO_FINDINGS, issue_response()) == gather(TWO)


@pytest.mark.parametrize(
    ("limits", "reply"),
    [
        ({"review": Review(verify=False)}, TWO_FINDINGS),
        ({"is_review": False}, TWO_FINDINGS),
        ({}, pull_request_analysis()),
        ({}, pull_request_analysis(findings=[finding(quote="never written")])),
    ],
    ids=["switched off", "no review", "no findings", "no located findings"],
)
def test_nothing_is_verified(limits: dict[str, Any], reply: PullRequestAnalysis) -> None:
    assert HANDLER.verification_variables(gather(TWO, limits=limits), reply) is None


CALL_HUNK = "@@ -1,2 +1,6 @@\n first()\n+run(\n+    user,\n+    shell=True,\n+)\n last()"
CALL = file("run.py", CALL_HUNK, additions=4, deletions=0)
OTHER = file("other.py", "@@ -1,1 +1,2 @@\n first()\n+second()", additions=1, deletions=0)
CORRECTED = file("run.py", CALL_HUNK.replace("user,", "quote(user),"), additions=4, deletions=0)
IN_CALL = finding(path="run.py", start_line=2, line=5, quote="run(\n    user,\n    shell=True,\n)", title="Shell")
REPEATED = IN_CALL.model_copy(update={"quote": "run(\n    quote(user),\n    shell=True,\n)", "title": "Shell again"})


@pytest.mark.parametrize(
    ("decided", "state", "conclusion", "replies"),
    [
        (verdicts(1), "fixed", "success", ["Fixed as of 0123456789: some of these lines were changed."]),
        (
            FindingVerdicts(worth_saying=False, verdicts=[FindingVerdict(number=1, is_refuted=False)]),
            "open",
            "failure",
            [],
        ),
        (verdicts(7), "open", "failure", []),
        (issue_response(), "open", "failure", []),
    ],
    ids=["corrected", "still there", "no verdict", "no usable reply"],
)
def test_claude_decides_whether_a_changed_call_still_has_its_finding(
    decided: Reply, state: str, conclusion: str, replies: list[str]
) -> None:
    gathered = gather(CORRECTED, record=review(gather(CALL), IN_CALL))
    facts = replace(gathered, review=Review(fail_on="high"))
    assert facts.known_findings == ()  # Claude may report it at another line
    variables = HANDLER.verification_variables(facts, pull_request_analysis())
    assert variables is not None
    (candidate,) = cast(tuple[Candidate, ...], variables["candidates"])
    assert (candidate.is_earlier, candidate.body, "quote(user)" in candidate.code) == (True, IN_CALL.body, True)
    facts = HANDLER.apply_verification(facts, pull_request_analysis(), decided)
    planned = HANDLER.plan(event(pull_request()), facts, analysis(pull_request_analysis()))
    assert [one.conclusion for one in planned if is_check(one)] == [conclusion]
    assert [one.body for one in planned if isinstance(one, EnsureReply)] == replies
    record = review(facts)
    is_undecided = len(replies) == 0 and not facts.upheld
    assert [(one.state, one.is_quote_changed) for one in record.ledger] == [(state, is_undecided or state == "fixed")]
    sentence = (
        "Lines of 1 open finding have changed, and it is not decided whether that corrects it: `/review full` asks"
    )
    assert [sentence in one.summary for one in planned if is_check(one)] == [is_undecided]
    assert HANDLER.comment_variables(facts, pull_request_analysis())["undecided"] == is_undecided
    later = gather(CORRECTED, OTHER, record=record, threads=())
    asked = HANDLER.verification_variables(later, pull_request_analysis())
    assert (asked is not None) == is_undecided


def test_at_most_ten_earlier_findings_are_verified_in_one_review() -> None:
    calls = [f"+run_{n}(\n+    user_{n},\n+)" for n in range(12)]
    hunk = "\n".join(["@@ -0,0 +1,36 @@", *calls])
    found = [
        finding(path="run.py", start_line=3 * n + 1, line=3 * n + 3, quote=f"run_{n}(\n    user_{n},\n)")
        for n in range(12)
    ]
    record = review(gather(file("run.py", hunk, status="added", additions=36, deletions=0)), *found)
    corrected = file("run.py", hunk.replace("    user_", "    quoted_"), status="added", additions=36, deletions=0)
    numbers = []
    for _ in range(3):
        facts = gather(corrected, record=record)
        variables = HANDLER.verification_variables(facts, pull_request_analysis())
        numbers.append(len(cast(tuple[Candidate, ...], variables["candidates"])) if variables else 0)
        record = review(HANDLER.apply_verification(facts, pull_request_analysis(), verdicts(*range(1, 11))))
    assert (numbers, {one.state for one in record.ledger}) == ([10, 2, 0], {"fixed"})


def test_earlier_finding_whose_lines_are_too_long_is_not_verified() -> None:
    long = file("run.py", CALL_HUNK.replace("user,", f"quote({'x' * 1_001}),"), additions=4, deletions=0)
    facts = gather(long, record=review(gather(CALL), IN_CALL))
    assert HANDLER.verification_variables(facts, pull_request_analysis()) is None
    assert [one.state for one in review(facts).ledger] == ["open"]


def test_finding_that_takes_the_lines_of_a_wider_one_is_compared_from_then_on() -> None:
    one = IN_CALL.model_copy(update={"start_line": None, "line": 3, "quote": "    user,"})
    record = review(gather(CALL), one)
    full = gather(CALL, record=replace(record, rounds=0, reviewed={}))
    wider = review(full, IN_CALL)
    assert (record.quoted, [*wider.quoted], [one.quoted_lines for one in wider.ledger]) == (
        {},
        ["run.py"],
        [range(2, 6)],
    )
    followed = gather(CORRECTED, record=replace(wider, rounds=2)).record.ledger
    assert [(one.state, one.is_quote_changed) for one in followed] == [("open", True)]


def test_finding_on_a_line_that_an_open_one_takes_in_the_same_review_is_new() -> None:
    old = "@@ -1,2 +1,3 @@\n first()\n+run_the_input(user)\n last()"
    known = finding(path="a.py", line=2, quote="run_the_input(user)", title="Unchecked")
    record = review(gather(file("a.py", old, additions=1, deletions=0)), known)
    longer = old.replace("+1,3", "+1,5").replace(" first()\n", " first()\n+load_the_input(user)\n+log()\n")
    facts = gather(file("a.py", longer, additions=3, deletions=0), record=record)
    quote = "load_the_input(user)\nlog()\nrun_the_input(user)"
    wider = finding(path="a.py", start_line=2, line=4, quote=quote, title="In other words")
    new = finding(path="a.py", line=2, quote="load_the_input(user)", title="Unchecked")
    assert raised(facts, wider, new) == ["Unchecked"]
    assert [[*one.quoted_lines] for one in review(facts, wider, new).ledger] == [[2, 3, 4], [2]]


def test_moved_line_is_reviewed_as_new_while_the_finding_stays_with_the_others() -> None:
    after = "+log_the_whole_request_of_that(user)\n+finish_the_whole_request_of_that(user)"
    hunk = f"@@ -1,2 +1,5 @@\n first()\n+DEFECT(user)\n{after}\n last()"
    found = finding(path="a.py", start_line=2, line=4, quote=f"DEFECT(user)\n{after.replace('+', '')}")
    record = review(gather(file("a.py", hunk, additions=3, deletions=0)), found)
    stays = file("a.py", "@@ -1,2 +1,3 @@\n first()\n+DEFECT(user)\n last()", additions=1, deletions=0)
    moved = f"@@ -1,2 +1,4 @@\n begin()\n{after}\n end()"
    facts = gather(stays, file("b.py", moved, additions=2, deletions=0), record=record)
    variables = HANDLER.verification_variables(facts, pull_request_analysis())
    assert variables is not None
    (candidate,) = cast(tuple[Candidate, ...], variables["candidates"])
    assert ("DEFECT(user)" in candidate.code, "finish_the_whole_request" in candidate.code) == (True, False)
    assert ([one.path for one in facts.files], facts.known_findings) == (["a.py", "b.py"], ())


def test_without_verification_a_review_that_does_not_repeat_a_finding_decides() -> None:
    facts = gather(CORRECTED, record=review(gather(CALL), IN_CALL), limits={"review": Review(verify=False)})
    assert facts.known_findings == ()
    assert [one.state for one in review(facts).ledger] == ["fixed"]
    for found in (REPEATED, IN_CALL):  # the quote of the second one is that of before
        assert [one.state for one in review(facts, found).ledger] == ["open"]
        assert raised(facts, found) == []


def test_finding_that_the_review_repeats_in_its_changed_call_is_not_verified() -> None:
    facts = gather(CORRECTED, record=review(gather(CALL), IN_CALL))
    assert HANDLER.verification_variables(facts, pull_request_analysis(findings=[REPEATED])) is None
    assert [one.state for one in review(facts, REPEATED).ledger] == ["open"]


def test_earlier_findings_are_verified_after_the_new_ones() -> None:
    both = file("run.py", f"{CORRECTED.patch}\n+again(user)", additions=5, deletions=0)
    reply = pull_request_analysis(findings=[finding(path="run.py", line=7, quote="again(user)", title="Again")])
    facts = gather(both, record=review(gather(CALL), IN_CALL))
    variables = HANDLER.verification_variables(facts, reply)
    assert variables is not None
    candidates = cast(tuple[Candidate, ...], variables["candidates"])
    assert [(one.number, one.title, one.is_earlier) for one in candidates] == [(1, "Again", False), (2, "Shell", True)]
    decided = HANDLER.apply_verification(facts, reply, verdicts(1, 2))
    assert raised(decided, *reply.findings) == []
    assert [(one.title, one.state) for one in review(decided, *reply.findings).ledger] == [("Shell", "fixed")]


def test_refuted_finding_about_a_changed_line_does_not_change_a_dismissed_one_at_its_last_line() -> None:
    hunk = "@@ -1,2 +1,4 @@\n first()\n+begin(user)\n+run(user)\n last()"
    low = finding(path="run.py", line=3, quote="run(user)", severity="low", title="Slow")
    record = review(gather(file("run.py", hunk, additions=2, deletions=0)), low)
    threads = (thread(record.ledger[0].key, thumbs_down=("zoe",)),)
    now = file("run.py", hunk.replace("begin(", "open("), additions=2, deletions=0)
    facts = gather(now, record=record, threads=threads)
    both = finding(path="run.py", start_line=2, line=3, quote="open(user)\nrun(user)", severity="high", title="Shell")
    assert raised(facts, both) == ["Shell"]
    refuted = HANDLER.apply_verification(facts, pull_request_analysis(findings=[both]), verdicts(1))
    assert [(one.title, one.severity) for one in review(refuted, both).ledger] == [("Slow", "low")]


def test_range_within_which_a_line_was_removed_is_raised_later() -> None:
    hunk = "@@ -1,4 +1,5 @@\n first()\n check(user)\n+log(user)\n run(user)\n last()"
    record = review(gather(file("run.py", hunk, additions=1, deletions=0)))
    removed = hunk.replace(" check(user)", "-check(user)").replace("+1,5", "+1,4")
    facts = gather(file("run.py", removed, additions=1, deletions=1), record=replace(record, rounds=2))
    unguarded = finding(path="run.py", start_line=1, line=3, quote="first()\nlog(user)\nrun(user)", title="Unguarded")
    assert raised(facts, unguarded) == ["Unguarded"]
    beside = finding(path="run.py", start_line=3, line=4, quote="run(user)\nlast()", title="Beside")
    assert raised(facts, beside) == []


# Review comments


def test_most_severe_findings_get_a_review_comment() -> None:
    facts = gather(TWO, limits={"review": Review(max_inline=1)})
    inline = HANDLER.inline_findings(facts, TWO_FINDINGS)
    assert [cast(ShownFinding, one["finding"]).title for one in inline.values()] == ["Overflows"]
    variables = HANDLER.comment_variables(facts, TWO_FINDINGS)
    shown = cast(tuple[ShownFinding, ...], variables["findings"])
    assert [(one.title, one.is_inline) for one in shown] == [("Overflows", True), ("Wrong", False)]
    record = review(facts, *TWO_FINDINGS.findings)
    assert [(entry.title, entry.comment_id) for entry in record.ledger] == [("Overflows", 901), ("Wrong", None)]
    later = HANDLER.comment_variables(gather(TWO, record=record), pull_request_analysis())
    earlier = cast(tuple[ShownFinding, ...], later["unrepeated"])
    assert [(one.title, one.body) for one in earlier] == [("Overflows", ""), ("Wrong", TWO_FINDINGS.findings[0].body)]
    assert HANDLER.inline_findings(gather(TWO, limits={"review": Review(max_inline=0)}), TWO_FINDINGS) == {}


def test_rejected_review_comment_moves_to_the_comment() -> None:
    facts = gather(TWO)
    first, second = HANDLER.inline_findings(facts, TWO_FINDINGS)
    given = analysis(TWO_FINDINGS)
    after, record = HANDLER.after_review(facts, given, comment_ids={second: 902}, rejected=[first])
    assert record is not None
    assert [entry.comment_id for entry in record.ledger] == [None, 902]
    assert list(HANDLER.inline_findings(after, TWO_FINDINGS)) == [second]
    shown = cast(tuple[ShownFinding, ...], HANDLER.comment_variables(after, TWO_FINDINGS)["findings"])
    assert [(one.title, one.is_inline) for one in shown] == [("Overflows", False), ("Wrong", True)]


# Prompts that review nothing


def test_prompt_that_reviews_nothing_stores_nothing_and_has_one_call() -> None:
    long = "@@ -0,0 +1 @@\n" + "\n".join(["+" + "x" * 25] * 60)
    files = [file("a.py", long, additions=60, deletions=0), file("b.py", long, additions=60, deletions=0)]
    record = review(gather(*files))
    facts = gather(*files, tokens=800, record=record, limits={"is_review": False})
    assert (facts.record, len(facts.selection.calls), len(HANDLER.split(facts))) == (NO_REVIEW, 1, 1)
    reply = pull_request_analysis(findings=[finding(path="a.py", line=1, quote="x" * 25)])
    assert HANDLER.inline_findings(facts, reply) == {}
    assert HANDLER.after_review(facts, analysis(reply), comment_ids={}, rejected=()) == (facts, None)


def test_closing_event_reviews_nothing() -> None:
    closed = replace(event(pull_request()), action="closed")
    now = pull_request(state="closed", merged=True)
    history = EmptyHistory(reviewed=review(gather(file())))
    facts = HANDLER.gather(closed, FakeReader(now, (file(),)), history, PromptLimits(10_000, is_review=True))
    assert (facts.is_review, facts.record, len(facts.selection.calls)) == (False, NO_REVIEW, 1)
    actions = HANDLER.plan(closed, facts, analysis(pull_request_analysis(findings=[finding()])))
    assert [type(action) for action in actions] == [EnsureLabels, EnsureComment]


def test_follow_up_reply_of_another_type_does_not_hide_the_findings() -> None:
    reply = pull_request_analysis(findings=[finding()])
    facts = gather(TWO)
    (key,) = HANDLER.inline_findings(facts, reply)
    chain = replace(analysis(reply, issue_response()), comment_index=1, inline={key: "It is wrong."})
    assert [type(action) for action in plan(facts, chain)] == [EnsureLabels, EnsureReview, EnsureComment]
    record = HANDLER.after_review(facts, chain, comment_ids={key: 901}, rejected=())[1]
    assert record is not None
    assert (record.rounds, [entry.title for entry in record.ledger]) == (1, ["Wrong"])


def test_new_finding_is_raised_beside_a_dismissed_one_that_is_reported_again_at_its_line() -> None:
    """They end at one line and have one category, so they would be merged, and dismissed together."""
    first = finding(path="a.py", line=2, quote="execute(query + name)", title="SQL injection")
    record = review(gather(file("a.py", "@@ -1,2 +1,3 @@\n first()\n+execute(query + name)\n last()")), first)
    (entry,) = record.ledger
    now = "@@ -1,2 +1,4 @@\n first()\n+remove(root + path)\n+execute(query + name)\n last()"
    facts = gather(
        file("a.py", now), record=record, threads=(thread(entry.key, thumbs_down=("mona",)),), writers=("mona",)
    )
    assert [one.state for one in facts.record.ledger] == ["dismissed"]
    again = first.model_copy(update={"line": 3, "severity": "critical"})
    quote = "remove(root + path)\nexecute(query + name)"
    other = finding(path="a.py", start_line=2, line=3, quote=quote, title="Any file is removed")
    for reported in ((again, other), (other, again)):
        assert raised(facts, *reported) == ["Any file is removed"]


def test_text_of_a_new_finding_is_kept_beside_an_open_one_that_is_reported_again_at_its_line() -> None:
    """Merged, the long text of the repetition would be cut before that of the new one."""
    first = finding(path="a.py", line=2, quote="execute(query + name)", title="SQL injection", body="It fails. " * 45)
    record = review(gather(file("a.py", "@@ -1,2 +1,3 @@\n first()\n+execute(query + name)\n last()")), first)
    now = "@@ -1,2 +1,4 @@\n first()\n+remove(root + path)\n+execute(query + name)\n last()"
    facts = gather(file("a.py", now), record=record)
    quote = "remove(root + path)\nexecute(query + name)"
    other = finding(path="a.py", start_line=2, line=3, quote=quote, title="Any file is removed", body="For ../../etc.")
    for reported in ((first, other), (other, first)):
        (entry,) = review(facts, *(one.model_copy(update={"line": 3}) for one in reported)).ledger
        assert "Any file is removed" in entry.body


def test_earlier_finding_in_a_file_with_an_invisible_character_in_its_name_is_not_fixed_while_it_is_reported() -> None:
    patch = "@@ -1,1 +1,4 @@\n import os\n+q = request.args.get('q')\n+cmd = build(q, True)\n+os.system(cmd, 'abc')"
    quote = "q = request.args.get('q')\ncmd = build(q, True)\nos.system(cmd, 'abc')"
    unverified = Review(verify=False)
    first = finding(path="src/ab.py", start_line=2, line=4, quote=quote, title="Command injection")
    record = review(replace(gather(file("src/a\u200bb.py", patch)), review=unverified), first)
    facts = replace(gather(file("src/a\u200bb.py", patch.replace("True", "False")), record=record), review=unverified)
    now = {"start_line": None, "line": 3, "quote": "cmd = build(q, False)", "title": "Shell gets a parameter"}
    ledger = review(facts, first.model_copy(update=now)).ledger
    assert (ledger[0].title, ledger[0].state) == ("Command injection", "open")


def test_new_finding_is_not_merged_with_the_repetition_of_a_dismissed_one_because_of_its_title() -> None:
    before = "@@ -1,2 +1,4 @@\n first()\n+back(page)\n+send(user, name)\n+remove(root + path)\n last()"
    removed = finding(
        path="a.py", line=4, quote="remove(root + path)", title="Any file is removed", category="security"
    )
    sent = finding(
        path="a.py",
        start_line=3,
        line=4,
        quote="send(user, name)\nremove(root + path)",
        title="No check",
        severity="low",
    )
    record = review(gather(file("a.py", before)), removed, sent)
    threads = [thread(one.key, thumbs_down=("mona",) if one.title == removed.title else ()) for one in record.ledger]
    now = before.replace("+remove", "+execute(query + name)\n+remove")
    facts = gather(file("a.py", now), record=record, threads=tuple(threads), writers=("mona",))
    again = removed.model_copy(update={"line": 5, "title": "A request removes files", "severity": "critical"})
    quote = "execute(query + name)\nremove(root + path)"
    new = finding(
        path="a.py", start_line=4, line=5, quote=quote, title="No check", category="security", body="By name."
    )
    for reported in ((again, new), (new, again)):
        ledger = review(facts, *reported).ledger
        assert [(one.title, one.state) for one in ledger if "By name." in one.body] == [("No check", "open")]


def test_new_finding_beside_a_dismissed_one_is_raised_also_if_a_third_one_has_its_title() -> None:
    before = "@@ -1,4 +1,6 @@\n first()\n+load(user, path)\n second()\n third()\n+execute(query + name)\n last()"
    first = finding(path="a.py", line=2, quote="load(user, path)", title="Missing check")
    other = finding(path="a.py", line=5, quote="execute(query + name)", title="SQL injection")
    record = review(gather(file("a.py", before)), first, other)
    threads = tuple(thread(one.key, thumbs_down=("mona",)) for one in record.ledger)
    now = before.replace("+execute", "+remove(root + path)\n+execute")
    facts = gather(file("a.py", now), record=record, threads=threads, writers=("mona",))
    quote = "remove(root + path)\nexecute(query + name)"
    new = finding(path="a.py", start_line=5, line=6, quote=quote, title="Missing check")
    assert raised(facts, new) == ["Missing check"]
    assert raised(facts, other.model_copy(update={"line": 6}), new) == ["Missing check"]


def test_most_severe_new_finding_comes_first_also_if_it_has_the_title_of_an_earlier_one() -> None:
    before = "@@ -1,4 +1,5 @@\n first()\n+load(user, path)\n second()\n third()\n last()"
    earlier = finding(path="a.py", line=2, quote="load(user, path)", title="Missing check")
    record = review(gather(file("a.py", before)), earlier)
    now = before.replace("4 +1,5", "4 +1,7").replace(" last()", "+remove(root + path)\n+send(user, name)\n last()")
    facts = gather(file("a.py", now), record=record)
    minor = finding(path="a.py", line=6, quote="send(user, name)", title="Unclear name", severity="low")
    severe = earlier.model_copy(update={"line": 5, "quote": "remove(root + path)", "severity": "critical"})
    assert raised(facts, minor, severe) == ["Missing check", "Unclear name"]


def test_two_new_findings_are_not_merged_into_a_repetition_of_dismissed_ones() -> None:
    """Their lines changed; merged, they have the title of one earlier finding and quote the line of it."""
    before = "@@ -1,2 +1,8 @@\n first()\n+a(1, 1)\n+b(2, 2)\n+c(3, 3)\n+d(4, 4)\n+e(5, 5)\n+f(6, 6)\n last()"
    wide = finding(path="a.py", start_line=3, line=5, quote="b(2, 2)\nc(3, 3)\nd(4, 4)", title="T")
    inner = finding(path="a.py", line=4, quote="c(3, 3)", title="V")
    record = review(gather(file("a.py", before)), wide, inner)
    threads = tuple(thread(one.key, thumbs_down=("mona",)) for one in record.ledger)
    now = before.replace("+a(1, 1)", "+a(1, 2)").replace("+e(5, 5)", "+e(5, 6)").replace("+f(6, 6)", "+f(6, 7)")
    facts = gather(file("a.py", now), record=record, threads=threads, writers=("mona",))
    one = wide.model_copy(update={"start_line": None, "line": 7, "quote": "f(6, 7)", "body": "Of f."})
    other = inner.model_copy(update={"start_line": 5, "line": 7, "quote": "d(4, 4)\ne(5, 6)\nf(6, 7)", "body": "Of e."})
    assert raised(facts, one) == ["T"]
    assert raised(facts, other) == ["V"]
    assert sorted(raised(facts, one, other)) == ["T", "V"]


def test_dismissed_finding_is_not_raised_again_with_its_title_and_a_line_above_it_that_changed() -> None:
    before = "@@ -1,2 +1,5 @@\n first()\n+load(user, path)\n+remove(root + path)\n+execute(query + name)\n last()"
    first = finding(path="a.py", line=3, quote="remove(root + path)", title="Missing check", category="bugs")
    other = finding(path="a.py", line=4, quote="execute(query + name)", title="SQL injection", category="security")
    record = review(gather(file("a.py", before)), first, other)
    threads = tuple(thread(one.key, thumbs_down=("mona",)) for one in record.ledger)
    now = before.replace("+load(user, path)", "+load(user, name)")
    facts = gather(file("a.py", now), record=record, threads=threads, writers=("mona",))
    quote = "load(user, name)\nremove(root + path)\nexecute(query + name)"
    again = other.model_copy(update={"start_line": 2, "quote": quote, "title": "Missing check"})
    assert raised(facts, again) == []
    assert raised(facts, again.model_copy(update={"title": "Another title"})) == ["Another title"]
