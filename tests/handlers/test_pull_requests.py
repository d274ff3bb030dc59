"""Handler for pull requests: facts, labels, the comment and its variables."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.actions import Action, EnsureComment, EnsureLabels, RequestedLabel
from hls_handler.analysis import Analysis
from hls_handler.handlers.files import SkippedFile
from hls_handler.handlers.handler import PromptLimits, SkipReason
from hls_handler.handlers.labelling import SHIPPED_LABELS
from hls_handler.handlers.pull_requests import PullRequestFacts, PullRequestHandler
from hls_handler.handlers.reader import ChangedFile
from hls_handler.handlers.record import EMPTY_HISTORY
from hls_handler.settings.globs import PathFilter
from hls_handler.settings.model import Findings
from tests.handlers.world import (
    FakeReader,
    analysis,
    event,
    file,
    finding,
    issue_response,
    pull_request,
    pull_request_analysis,
    rule,
)

HANDLER = PullRequestHandler()
LOGO = file("logo.png", None, additions=0, deletions=0)


def gather(*files: ChangedFile, tokens: int = 10_000, **known: Any) -> PullRequestFacts:
    now = pull_request(**{"changed_files": len(files), **known})
    return HANDLER.gather(event(pull_request()), FakeReader(now, files), EMPTY_HISTORY, PromptLimits(tokens))


def plan(facts: PullRequestFacts, given: Analysis) -> tuple[Action, ...]:
    return HANDLER.plan(event(pull_request()), facts, given, rule("pull_requests/analyze"))


def test_the_current_pull_request_and_its_patches_are_read() -> None:
    facts = gather(file(), LOGO, title="Cube it", head_sha="f" * 40)
    variables = HANDLER.variables(event(pull_request()), facts)
    assert variables["pull_request"] == pull_request(title="Cube it", head_sha="f" * 40, changed_files=2)
    assert [f.path for f in facts.files] == ["area.py"]
    assert variables["files"] == facts.files
    assert variables["skipped"] == (SkippedFile("logo.png", "binary or empty"),)
    assert variables["size"] == "small"
    assert variables["unlisted"] == 0
    assert HANDLER.skip_reason(facts) is None


def test_patches_are_limited_by_the_budget() -> None:
    facts = gather(file(), tokens=100)
    assert (facts.files, facts.skipped) == ((), (SkippedFile("area.py", "over the token budget"),))


DOCS = PathFilter(("docs/**",), "config/settings.yaml:14 (repositories[0].paths.ignore)")


def leaving_out_docs(*files: ChangedFile) -> PullRequestFacts:
    now = pull_request(changed_files=len(files))
    return HANDLER.gather(
        event(pull_request()), FakeReader(now, files), EMPTY_HISTORY, PromptLimits(10_000, ignored_paths=DOCS)
    )


def test_files_left_out_by_settings_are_not_shown_but_count_in_the_size() -> None:
    facts = leaving_out_docs(file("docs/guide.md", additions=60), file())
    assert [f.path for f in facts.files] == ["area.py"]
    assert facts.skipped == (SkippedFile("docs/guide.md", "left out by settings"),)
    assert facts.size == "medium"


def test_claude_is_not_asked_if_settings_leave_out_all_files() -> None:
    assert HANDLER.skip_reason(leaving_out_docs(file("docs/guide.md"), file("docs/uv.lock"))) == SkipReason(
        "none of the changed files has a patch to read (2 left out by settings; see "
        "config/settings.yaml:14 (repositories[0].paths.ignore)), so Claude was not asked"
    )


def test_omissions_are_described() -> None:
    long = "@@ -0,0 +1,900 @@\n" + "\n".join(f"+line {number}" for number in range(900))
    facts = gather(file("a.py", long), file("uv.lock"), LOGO, tokens=2_000, changed_files=4)
    assert HANDLER.describe_omissions(facts) == (
        "3 of 4 files were not shown: 1 lock file, 1 binary or empty, 1 beyond those that GitHub lists; 1 patch was cut"
    )
    assert HANDLER.describe_omissions(gather(file(), LOGO)) == "1 of 2 files was not shown: 1 binary or empty"
    assert HANDLER.describe_omissions(gather(file())) is None


def test_files_that_github_does_not_list_are_counted() -> None:
    assert gather(file(), changed_files=3_141).unlisted == 3_140
    assert gather(file(), changed_files=0).unlisted == 0


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


def test_an_analysis_becomes_labels_and_a_comment() -> None:
    assert plan(gather(file(additions=60)), analysis(pull_request_analysis(), comment="Squares.")) == (
        EnsureLabels((RequestedLabel("size/medium", "size"), RequestedLabel("type/bug-fix", "type")), ("size", "type")),
        EnsureComment("pull_requests", "Squares.", create=True),
    )


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


def test_comment_variables_have_the_commit_and_the_anchored_findings() -> None:
    facts = gather(file(), head_sha="0123456789abcdef0123456789abcdef01234567")
    lost, moved = finding(quote="never written"), finding(line=7, title="Moved")
    variables = HANDLER.comment_variables(event(pull_request()), facts, pull_request_analysis(findings=[lost, moved]))
    assert variables["commit"] == "0123456789"
    assert variables["findings"] == (finding(line=2, title="Moved"),)
    assert variables["dropped"] == 1


def test_the_comment_names_the_commit_that_was_read_not_that_of_the_event() -> None:
    facts = gather(file(), head_sha="f" * 40)
    variables = HANDLER.comment_variables(event(pull_request(head_sha="e" * 40)), facts, pull_request_analysis())
    assert variables["commit"] == "ffffffffff"


def test_findings_about_files_that_were_not_shown_are_dropped() -> None:
    variables = HANDLER.comment_variables(
        event(pull_request()),
        gather(file(), file("uv.lock")),
        pull_request_analysis(findings=[finding(path="uv.lock")]),
    )
    assert (variables["findings"], variables["dropped"]) == ((), 1)


def test_a_reply_of_another_type_has_no_findings() -> None:
    variables = HANDLER.comment_variables(event(pull_request()), gather(file()), issue_response())
    assert (variables["findings"], variables["dropped"]) == ((), 0)


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
    variables = HANDLER.comment_variables(event(pull_request()), facts, pull_request_analysis(findings=found))
    assert [f.title for f in variables["findings"]] == titles  # type: ignore[attr-defined]
    assert (variables["held_back"], variables["dropped"]) == (3 - len(titles), 0)
