"""Handler for pull requests: facts, labels, the comment and its variables."""

from __future__ import annotations

import re
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
from hls_handler.github.values import MergeState
from hls_handler.handlers import pull_requests
from hls_handler.handlers.job import FactSource, PromptLimits, join_replies
from hls_handler.handlers.pull_requests import PullRequestHandler, make_record, plan_review_check
from hls_handler.handlers.reader import EmptyHistory
from hls_handler.prompting.front_matter import FieldKeys, FrontMatter
from hls_handler.prompting.reply_fields import build_reply_model, with_optional_fields
from hls_handler.review.facts import PullRequestFacts, list_parts
from hls_handler.review.record import ReviewRecord
from hls_handler.review.second_look import Candidate
from hls_handler.review.variables import (
    list_comment_variables,
    list_inline,
    verification_variables,
)
from hls_handler.settings.sections import ReviewSettings
from hls_handler.settings.yaml_parser import Sources
from tests.handlers.conftest import OpenHome
from tests.handlers.conversation import HEAD, REPOSITORY, Home, Talk, changed_file
from tests.handlers.world import (
    PATCH,
    analysis,
    event,
    file,
    finding,
    gather_review,
    issue_response,
    open_github,
    pull_request,
    pull_request_analysis,
)

HANDLER = PullRequestHandler()


def review(facts: PullRequestFacts, *findings: Finding) -> ReviewRecord:
    """Return what is stored after a review that found `findings`, each with a review comment."""
    reply = pull_request_analysis(findings=list(findings))
    return make_record(facts, analysis(reply), dict.fromkeys(inline_of(facts, reply), 901))


def inline_of(facts: PullRequestFacts, reply: ReplyFields) -> Mapping[str, Mapping[str, object]]:
    return list_inline(facts.with_reply(reply))


# Conversations

OPENED = "done: added size/small, type/bug-fix"
BLOB = f"https://github.com/octo/hello/blob/{HEAD}"
IMAGE = changed_file("logo.png", patch=None, additions=0, deletions=0)
NO_LOOK = {"verify": False}


def test_findings_become_labels_comments_on_lines_a_summary_and_the_check(opened: OpenHome) -> None:
    home = opened(review={"max_inline": 1, **NO_LOOK}, findings={"min_confidence": 0.5})
    moved = changed_file(previous_filename="old (name).py", status="renamed")
    pull = home.open_pull_request(files=[moved, changed_file("uv.lock")])
    found = [
        finding(title="Severe", start_line=1, severity="critical"),
        finding(title="Removed", side="LEFT", quote="    return side * 2"),
        finding(title="Doubtful", confidence=0.4),
        finding(title="Ugly", category="style"),
    ]
    home.says(pull_request_analysis(findings=found))
    assert pull.act("opened").startswith(f"{OPENED}; posted 1 comment on lines; commented; set ")
    assert pull.on_lines == ["area.py:2 **Severe** (finding 1, critical, bugs, 90 % sure)"]
    old = f"https://github.com/octo/hello/blob/{'b' * 40}/old%20%28name%29.py#L2"
    assert pull.shown() == (
        "size/small type/bug-fix\n"
        "--\n"
        "Squares.\n"
        "**2 findings** in"
        f" [`0123456789`](https://github.com/octo/hello/commit/{HEAD}), the most severe first:\n"
        f"- **Severe** (finding 1, critical, bugs): [`area.py`, lines 1–2]({BLOB}/area.py#L1-L2)\n"
        f"**Removed** (finding 2, high, bugs, 90 % sure): [`area.py`, removed line 2]({old})\n"
        "It is wrong.\n"
        "*The author or a maintainer can dismiss it: `/dismiss 2`.*\n"
        "Left out: 2 findings that the settings do not ask for, by category, severity or"
        " certainty.\n"
        "Other places of the repository were not read: the test has no such commit.\n"
        "<details><summary>1 file needs no review</summary>\n"
        "`uv.lock` (lock file)\n"
        "</details>"
    )
    assert pull.check == "success: 2 open findings, 1 critical; 1 of 1 file reviewed"


def test_findings_without_comments_on_lines_are_annotations_of_the_check(opened: OpenHome) -> None:
    home = opened(review={"max_inline": 0, "fail_on": "high", **NO_LOOK})
    pull = home.review(finding())
    assert pull.on_lines == []
    assert pull.check == (
        "failure: 1 open finding, 1 high; 1 of 1 file reviewed\narea.py:2 Wrong (finding 1)"
    )


@pytest.mark.parametrize(
    ("settings", "titles"),
    [
        ({}, ["Severe", "Doubtful"]),
        ({"review": {"categories": ["bugs", "security", "style"]}}, ["Severe", "Doubtful", "Ugly"]),
        ({"findings": {"min_severity": "high", "min_confidence": 0.9}}, ["Severe"]),
    ],
)
def test_findings_below_thresholds_and_of_other_categories_are_not_shown(
    opened: OpenHome, settings: dict[str, Any], titles: list[str]
) -> None:
    def listed(pull: Talk) -> list[str]:
        """Return the titles of the findings that the summary lists."""
        return re.findall(r"^(?:- )?\*\*(\w+)\*\* \(finding", pull.shown(), re.MULTILINE)

    home = opened(**{**settings, "review": {**settings.get("review", {}), **NO_LOOK}})
    pull = home.review(
        finding(title="Severe", confidence=0.9),
        finding(title="Doubtful", severity="medium", confidence=0.4, category="security"),
        finding(title="Ugly", severity="low", confidence=0.9, category="style"),
    )
    assert listed(pull) == titles


def test_files_that_were_not_shown_as_a_whole_are_named(home: Home) -> None:
    long = f"@@ -0,0 +1 @@\n+{'x ' * 200_000}"
    files = [changed_file("a.py", patch=long), changed_file("b.py", additions=9), IMAGE]
    pull = home.review(files=files)
    reasons = "1 with a line too long for one call, 1 shown only in part, 1 binary or empty"
    assert f"Claude: 3 of 3 files were not shown as a whole: {reasons}.\n" in home.why
    assert pull.check == "neutral: 0 of 2 files reviewed"


PICTURE = f'      "image/png": "{"iVBORw0KGgo0" * 8_192}"'
TOKEN = "ghp_" + "aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5"


def changed_notebook(picture: str) -> dict[str, Any]:
    patch = f'@@ -1,3 +1,3 @@\n      "data": {{\n-{PICTURE}\n+{picture}\n      }},'
    return changed_file("plot.ipynb", patch=patch)


def test_data_in_a_long_line_is_cut_named_and_blocks_nothing(opened: OpenHome) -> None:
    home = opened(review={"incomplete": "failure", **NO_LOOK})
    notebook = changed_notebook(PICTURE.replace("iV", "iX"))
    pull = home.review(finding(severity="low"), files=[notebook, changed_file()])
    assert 'R    2 +       "image/png": [... 98,306 characters]\n' in home.question
    assert "0KGgo0" not in home.question
    assert pull.check == "success: 1 open finding, 1 low; 2 of 2 files reviewed"
    assert "Data in long lines was not read: `plot.ipynb` (196,612 characters)" in pull.shown()
    assert "Claude: 1 of 2 files was not shown as a whole: 1 with data in long lines." in home.why


@pytest.mark.parametrize("at", [0, 1_990, 50_000, 98_000])
def test_rule_10_a_long_line_is_searched_for_credentials_as_a_whole(
    opened: OpenHome, at: int
) -> None:
    home = opened(comments={"agent_prompt": True}, review=NO_LOOK)
    picture = f"{PICTURE[: at + 20]}/{TOKEN}/{PICTURE[at + 20 :]}"
    pull = home.review(files=[changed_notebook(picture)])
    assert prompted(pull) == ["1 A credential of the form github-token is committed: revoke it"]
    assert TOKEN[:20] not in home.question


@pytest.mark.parametrize(
    ("path", "additions", "deletions", "size"),
    [
        ("cube.py", 25, 25, "size/medium"),
        ("cube.py", 0, 200, "size/large"),
        ("uv.lock", 9_000, 0, "size/small"),  # which no review reads
        ("docs/guide.md", 60, 0, "size/small"),  # which settings leave out
    ],
)
def test_size_depends_on_changed_lines_of_files_to_review(
    opened: OpenHome, path: str, additions: int, deletions: int, size: str
) -> None:
    home = opened(paths={"ignore": ["docs/**"]})
    files = changed_file(path, additions=additions), changed_file(deletions=deletions)
    assert home.review(files=files).shown().split(" ")[0] == size


@pytest.mark.parametrize(
    ("files", "reason", "check"),
    [
        ([], "the pull request changes no files", "no file was changed"),
        (
            [IMAGE, changed_file("uv.lock")],
            "none of the changed files has a patch to read (1 binary or empty, 1 lock file)",
            "1 binary or empty, 1 lock file",
        ),
    ],
    ids=["no files", "nothing to read"],
)
def test_claude_is_not_asked_without_a_patch(
    home: Home, files: list[Any], reason: str, check: str
) -> None:
    pull = home.open_pull_request(files=files)
    ended = pull.act("opened")
    assert ended.startswith(f"done: {reason}, so Claude was not asked; set the check")
    assert pull.check == f"success: Nothing needs a review: {check}"


@pytest.mark.parametrize(
    ("settings", "title", "has_comment"),
    [
        ({}, "", False),
        ({"comments": {"summary": "always"}}, "", True),
        ({"pull_requests": {"title": "suggest"}}, "fix: square it", True),
        ({"pull_requests": {"title": "suggest"}}, "Square it again", False),
    ],
    ids=["nothing found", "always", "a title that fits", "another title"],
)
def test_comment_without_findings_is_posted_for_a_title_or_if_settings_ask(
    opened: OpenHome, settings: dict[str, Any], title: str, has_comment: bool
) -> None:
    home = opened(review={"check": False}, **settings)
    model = with_optional_fields(PullRequestAnalysis, ["suggested_title"])
    fields = pull_request_analysis().model_dump()
    home.says(model.model_validate({**fields, "suggested_title": title}))
    pull = home.open_pull_request()
    nothing = "nothing worth saying, and no existing comment to update"
    ended = "commented" if has_comment else nothing
    assert pull.act("opened") == f"{OPENED}; {ended}"  # without a check
    assert home.state.world.check_runs == {}


def test_suggested_labels_are_only_added_unless_everything_is_reviewed(opened: OpenHome) -> None:
    home = opened(labels={"suggest": True})
    for name in ("area/cart", "area/mail"):
        home.add_label(name)

    def suggest(*names: str, kind: str = "feature") -> None:
        suggested = [{"name": name, "confidence": 0.9} for name in names]
        home.says(pull_request_analysis(type=kind, suggested_labels=suggested))

    pull = home.open_pull_request()
    suggest("area/cart")
    pull.act("opened")
    suggest()
    pull.push("3" * 40, changed_file(patch=PATCH.replace("** 2", "** 3")))
    assert pull.shown() == "size/small area/cart type/feature"
    suggest("area/mail", kind="docs")
    pull.push("4" * 40, changed_file(patch=PATCH.replace("** 2", "** 4")))
    assert pull.shown() == "size/small area/cart area/mail type/docs"
    home.state.set_permission(REPOSITORY, "mona", "write")
    pull.comment("/review full")
    suggest("area/mail", kind="docs")
    home.process()
    assert pull.shown() == "size/small area/mail type/docs"


def test_prompt_for_a_coding_agent_has_open_findings_until_they_end(opened: OpenHome) -> None:
    home = opened(comments={"agent_prompt": True}, review={"max_inline": 1, **NO_LOOK})
    secret = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"
    patch = PATCH.replace("** 2", f'** 2  # "{secret}"')
    pull = home.review(
        finding(title="Severe"),
        finding(title="Removed", side="LEFT", quote="    return side * 2"),
        files=[changed_file(patch=patch)],
    )
    revoke = "1 A credential of the form github-token is committed: revoke it"
    assert prompted(pull) == [revoke, "2 Removed", "3 Severe"]
    assert secret not in pull.shown()
    home.state.set_permission(REPOSITORY, "mona", "write")
    pull.comment("/dismiss 2")
    home.says(pull_request_analysis(findings=[finding(path="b.py", title="Other")]))
    pull.push("3" * 40, changed_file(patch=patch), changed_file("b.py"))
    assert prompted(pull) == ["4 Other", revoke, "3 Severe"]
    pull.push("4" * 40)
    assert "coding agent" not in pull.shown()
    assert "Of the earlier findings: 4 no longer in the diff." in pull.shown()
    assert prompted(pull) == []


def test_prompt_for_a_coding_agent_has_lines_side_and_fix_of_new_findings(opened: OpenHome) -> None:
    home = opened(comments={"agent_prompt": True}, review=NO_LOOK)
    fix = "def area(side):\n    return side * side"
    quote = "    return side ** 2"
    pull = home.review(
        finding(title="A fix", start_line=1, quote=quote, suggestion=fix),
        finding(title="Before", side="LEFT", quote="    return side * 2"),
    )
    shown = re.sub(r"</?untrusted \w+>", "", pull.shown())
    assert (
        f"Lines: 1 to 2\nFailure: A fix\nIt is wrong.\nWanted result: these lines become \n{fix}\n"
        in shown
    )
    assert "Lines: 2, removed (LEFT side; numbers of the base)\nFailure: Before" in shown


def prompted(pull: Talk) -> list[str]:
    """Return number and title of each finding in the prompt for a coding agent."""
    _, _, block = pull.shown().partition("<summary>Prompt for a coding agent</summary>")
    found = re.findall(r"^Finding (\d+) .*?^Failure: <.*?>(.*?)</", block, re.MULTILINE | re.DOTALL)
    return [f"{number} {title}" for number, title in found]


def test_closing_event_reviews_nothing(opened: OpenHome) -> None:
    home = opened(prompts={"use": {"pull_request.closed": "pull_requests/analyze"}})
    pull = home.review(finding())
    assert len(pull.on_lines) == 1
    home.says(pull_request_analysis(summary="Merged.", findings=[finding(title="Other")]))
    ended = pull.act("closed", state="closed", merged=True)
    assert ended == "done: the labels are as they should be; commented"
    assert len(pull.on_lines) == 1
    assert pull.shown().count("\n--\n") == 2  # a comment of its own


# Decisions


def test_files_that_github_does_not_list_are_counted() -> None:
    assert gather_review(file(), changed_files=3_141).unlisted == 3_140
    described = "1 of 2 files was not shown as a whole: 1 beyond those that GitHub lists"
    assert pull_requests.describe_omissions(gather_review(file(), changed_files=2)) == described
    # one is listed twice
    assert gather_review(file(), file(), additions=1, deletions=1).unlisted == 1
    assert gather_review(file(), changed_files=0).unlisted == 0
    # GitHub lists no more: a list of this length is not compared with the numbers of the pull
    # request
    removed = [
        file(f"{n}.py", None, status="removed", additions=0, deletions=1) for n in range(3_000)
    ]
    assert gather_review(*removed, changed_files=3_141, deletions=3_141).unlisted == 141


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


# What prevents the merge


def test_merge_state_is_read_only_if_settings_ask() -> None:
    record = review(gather_review(file()), finding())
    wanted = {"review": ReviewSettings(merge_state=True)}
    assert gather_review(file(), record=record).merge is None
    assert gather_review(file(), record=record, limits=wanted).merge == MergeState(
        False, (), "", False, False, 1
    )
    assert gather_review(file(), record=record, limits={**wanted, "is_review": False}).merge is None


def test_check_says_why_the_merge_state_was_not_read() -> None:
    github = open_github(pull_request(), [file()])
    github.fail(403, "POST /graphql", times=None)
    limits = PromptLimits(10_000, is_review=True, review=ReviewSettings(merge_state=True))
    reader = github.reader(REPOSITORY)
    facts = pull_requests.gather(FactSource(event(pull_request()), reader, EmptyHistory(), limits))
    assert facts.merge is None
    (check,) = plan_review_check(facts, NO_CALLS)
    assert "What prevents the merge was not read: " in check.summary


TWO_HUNKS = (
    f"{PATCH}\n@@ -20,2 +20,2 @@\n def volume(side):\n-    return side * 3\n+    return side ** 3"
)
TWO = file(patch=TWO_HUNKS, additions=2, deletions=2)


# Several calls


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


def test_scores_are_the_lowest_of_several_calls_and_stay_until_there_are_others() -> None:
    def scored(*scores: int, **fields: Any) -> ReplyFields:
        """A reply whose prompt asks for scores of tests and readability, in this order."""
        given = [
            {"dimension": name, "score": score}
            for name, score in zip(("tests", "readability"), scores, strict=False)
        ]
        assert SCORED is not None
        return SCORED.model_validate(
            {**pull_request_analysis(**fields).model_dump(), "scores": given}
        )

    facts = gather_review(TWO)
    merged = merge(scored(4, 2), scored(3, 5))
    lowest = (Score(dimension="tests", score=3), Score(dimension="readability", score=2))
    assert lowest_scores([merged]) == lowest
    assert list_comment_variables(facts, merged)["scores"] == lowest
    record = make_record(facts, analysis(merged), {})
    assert record.scores == lowest
    facts = gather_review(TWO, record=record)
    unchanged = pull_requests.find_skip_reason(facts)
    assert unchanged is not None
    assert unchanged.reply is not None
    assert list_comment_variables(facts, unchanged.reply)["scores"] == lowest


# Verification


FAILING = {"review": ReviewSettings(fail_on="high")}
SURE = finding(line=21, quote="    return side ** 3", severity="medium", title="Sure")


def test_only_findings_that_decide_get_a_second_look() -> None:
    unsure = finding(confidence=0.6, severity="low", title="Unsure")

    def candidates(facts: PullRequestFacts, *findings: Finding) -> tuple[Candidate, ...]:
        variables = verification_variables(facts, pull_request_analysis(findings=list(findings)))
        return () if variables is None else cast(tuple[Candidate, ...], variables["candidates"])

    facts = gather_review(TWO, limits=FAILING)
    severe = finding(
        line=21, quote="    return side ** 3", category="security", severity="high", title="Severe"
    )
    assert [one.title for one in candidates(facts, unsure, SURE, severe)] == ["Severe", "Unsure"]
    assert (
        candidates(
            gather_review(TWO, limits={"review": ReviewSettings(fail_on="high", verify=False)}),
            unsure,
            severe,
        )
        == ()
    )
    assert candidates(gather_review(TWO, limits={"is_review": False}), unsure, severe) == ()


# Prompts that review nothing


def test_follow_up_reply_of_another_type_does_not_hide_the_findings() -> None:
    def plan(facts: PullRequestFacts, given: Analysis) -> tuple[Action, ...]:
        """Return the planned actions without the check, which tests/handlers/test_check.py tests."""
        planned = pull_requests.plan(event(pull_request()), facts, given)
        return tuple(action for action in planned if not isinstance(action, EnsureCheck))

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


def test_dry_run_of_a_review_leaves_nothing_that_a_later_review_builds_on(opened: OpenHome) -> None:
    home = opened(features={"dry_run": True})
    home.says(pull_request_analysis(findings=[finding()]))
    pull = home.open_pull_request()
    assert "would have" in pull.act("opened")
    home.go_live()
    pull.act("reopened")
    assert len(pull.on_lines) == 1
