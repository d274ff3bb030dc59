"""Golden-file tests of the shipped prompts and comments, for recorded events and sample replies.

Every change of wording shows in these files.
`HLS_WRITE_GOLDEN=1 pytest tests/prompting/test_golden.py` rewrites them, and fails so that the
rewriting run is not mistaken for a passed test.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hls_handler.analysis import REPLY_TYPES, ChosenTest, PullRequestAnalysis, is_worth_saying
from hls_handler.claude.reply_parsing import parse_reply
from hls_handler.github.values import MergeState
from hls_handler.handlers.cherry_picks import CherryPick, ConflictHunk
from hls_handler.handlers.comments import AskedFinding
from hls_handler.handlers.handler import DocumentSection
from hls_handler.handlers.issues import SimilarIssue
from hls_handler.handlers.oracle import Choice
from hls_handler.prompting.library import load_library
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import RuleView, render, render_comment, render_footer
from hls_handler.prompting.variables import sample_values
from hls_handler.review.patches import parse_numbered
from hls_handler.review.positions import locate
from hls_handler.review.variables import EarlierFinding
from hls_handler.settings.sections import EffectiveLabels
from tests.prompting.samples import (
    ANALYSIS,
    CORRECTIONS,
    FAMILIES,
    FRONT,
    KEY,
    SENTENCES,
    SHIPPED,
    issue_variables,
    push_variables,
    recorded,
    review_comment,
    shipped,
    write,
)

GOLDEN = Path(__file__).parent / "golden"
TELL = (
    f"{FRONT.replace('issues.opened', 'push').replace('issue_analysis', 'generic_analysis')}{{%"
    " extends 'generic.j2' %}\n{% block question %}\nDoes anybody have to deploy?\n{% endblock"
    " %}\n"
)
RULE = RuleView(event="pull_request.opened", prompt="pull_requests/analyze", dry_run=False)
TABLE = replace(
    RULE,
    layout="table",
    post_to=12,
    source="push",
    source_url="https://github.com/octo/shop/compare/1f0c...2d3e",
)
ALL_OPTIONS = replace(
    RULE,
    categories=("bugs", "security", "style"),
    labels=EffectiveLabels(assess=("issues", "pull_requests")),
)


CONFLICT = "def a():\n<<<<<<< branch\n    return 1\n=======\n    return 2\n>>>>>>> change\n"
PICKED = {"pick": CherryPick("release/1.2", "", "-m 1 1f0c")}
ORACLE = {"changed_paths": "shop/cart.py\nsetup.py", "test_paths": "tests/test_cart.py"}
CHOICE = Choice((ChosenTest(path="a.py", why="Tests *a*."),), True, False, 1, "the folder is full")
SECTION = DocumentSection(
    "docs/import.md", "Import > Large files", "Import large files in parts.", "https://a.example/b"
)
FINDING = AskedFinding(
    thread=3000000007,
    path="shop/cart.py",
    line=12,
    title="Division by zero",
    body="`total` is 0 for an empty cart.",
    code=(
        "@@ -10,2 +10,3 @@ def share(part, total):\n     part = round(part)\n+    return part /"
        " total"
    ),
)
OLDER = SimilarIssue(3, "Import is slow", "It takes an hour.", "https://a.example/c")


def of(event: str, sample: str, **changes: object) -> Mapping[str, object]:
    return {**recorded(event)[sample], **changes}


PROMPTS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "workflows.analyze": ("workflows/analyze", of("workflow_run", "demo/tests-failed")),
    "releases.announce": ("releases/announce", of("release", "demo/release")),
    "cherry_picks.resolve": (
        "cherry_picks/resolve",
        of("cherry_pick", "issue_comment.created", hunks=(ConflictHunk(1, "a.py", CONFLICT),)),
    ),
    "test_oracle.choose": (
        "test_oracle/choose",
        of("test_oracle", "issue_comment.created", **ORACLE),
    ),
    "comments.reply": ("comments/reply", of("issue_comment", "demo/first-contribution")),
    "comments.reply.finding": (
        "comments/reply",
        of("issue_comment", "demo/mention", finding=FINDING),
    ),
    "issues.analyze": ("issues/analyze", issue_variables()),
    "issues.analyze.edited": (
        "issues/analyze",
        of("issues", "demo/bug-edited", corrections=CORRECTIONS, similar=(OLDER,)),
    ),
    "issues.respond": (
        "issues/respond",
        of("issues", "demo/question", analysis=ANALYSIS, documents=(SECTION,)),
    ),
    "pull_requests.analyze": ("pull_requests/analyze", of("pull_request", "demo/feature")),
    "pull_requests.analyze.later": (
        "pull_requests/analyze",
        of(
            "pull_request",
            "demo/feature-push",
            rule=ALL_OPTIONS,
            summarized_files=1,
            title_types="feat, fix",
        ),
    ),
    "pull_requests.verify": (
        "pull_requests/verify",
        of(
            "pull_request",
            "demo/feature",
            candidates=sample_values(FAMILIES["pull_request"].variables["candidates"])[0],
        ),
    ),
    "pull_requests.changelog": (
        "pull_requests/changelog",
        of("pull_request", "pull_request.closed"),
    ),
    "push.tell": ("push/tell", push_variables()),
    "reviews.analyze": ("reviews/analyze", of("pull_request_review", "demo/review")),
}

COMMENTS: Mapping[str, tuple[str, str, str, Mapping[str, object]]] = {
    "workflows.analyze": (
        "workflow_run",
        "workflows/analyze",
        "demo/tests-failed",
        {"passed": False},
    ),
    "workflows.analyze.passed": ("workflow_run", "workflows/analyze", "demo/tests-failed", {}),
    "releases.announce": ("release", "releases/announce", "demo/release", {}),
    "cherry_picks.resolve": (
        "cherry_pick",
        "cherry_picks/resolve",
        "issue_comment.created",
        PICKED,
    ),
    "test_oracle.choose": (
        "test_oracle",
        "test_oracle/choose",
        "issue_comment.created",
        {"choice": CHOICE},
    ),
    "comments.reply": ("issue_comment", "comments/reply", "demo/mention", {}),
    "comments.reply.finding": (
        "issue_comment",
        "comments/reply",
        "demo/mention",
        {"finding": FINDING},
    ),
    "issues.analyze": ("issues", "issues/analyze", "demo/bug", {}),
    "issues.respond": ("issues", "issues/respond", "demo/question", {}),
    "pull_requests.analyze": (
        "pull_request",
        "pull_requests/analyze",
        "demo/feature",
        {"sentences": SENTENCES},
    ),
    "pull_requests.analyze.table": (
        "pull_request",
        "pull_requests/analyze",
        "demo/feature",
        {"rule": TABLE, "sentences": SENTENCES},
    ),
    "pull_requests.changelog": (
        "pull_request",
        "pull_requests/changelog",
        "pull_request.closed",
        {},
    ),
    "push.tell": ("push", "push/tell", "demo/push", {}),
    "reviews.analyze": ("pull_request_review", "reviews/analyze", "demo/review", {}),
}
"""Event, prompt, recorded event and variables of each comment, which is rendered with full and with
minimal values.
"""


@pytest.fixture(scope="module")
def tell(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A library with a prompt for pushes that uses `generic.j2` and its comment."""
    own = write(tmp_path_factory.mktemp("golden"), {"push/tell.j2": TELL})
    return load_library(own, families=FAMILIES, shipped=SHIPPED)


def compare(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.md"
    if os.environ.get("HLS_WRITE_GOLDEN") == "1":
        path.write_text(text + "\n", encoding="utf-8")
        pytest.fail(
            f"{path.name} was written; look at the difference, and run the tests without"
            " HLS_WRITE_GOLDEN"
        )
    assert text + "\n" == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PROMPTS)
def test_rendered_prompt_equals_golden_file(tell: Library, name: str) -> None:
    prompt, variables = PROMPTS[name]
    rendered = render(tell if prompt == "push/tell" else shipped(), prompt, variables, key=KEY)
    is_first = name == prompt.replace("/", ".")  # the system message is the same for all events
    compare(
        name,
        (
            f"<!-- system -->\n\n{rendered.system}\n\n<!-- task -->\n\n{rendered.task}"
            if is_first
            else rendered.task
        ),
    )


@pytest.mark.parametrize("name", COMMENTS)
def test_rendered_comment_equals_golden_file(tell: Library, name: str) -> None:
    event, prompt, sample, changes = COMMENTS[name]
    library = tell if prompt == "push/tell" else shipped()
    hints = {**FAMILIES[event].comment_variables, "analysis": library.prompts[prompt].reply_model}
    shown = []
    for kind in (0, 1):
        variables = {
            key: sample_values(hint)[kind] for key, hint in hints.items() if key not in changes
        }
        shown.append(
            render_comment(library, prompt, of(event, sample, **variables, **changes), key=KEY)
            or ""
        )
    text = "\n\n<!-- with minimal values -->\n\n".join(shown)
    compare(f"{name}.comment", text.replace(library.prompts[prompt].id, f"{prompt}@VERSION"))


@pytest.mark.parametrize(
    ("is_draft", "conflicts", "missing", "line"),
    [
        (False, False, "", "nothing prevents it."),
        (True, False, "", "It is a draft."),
        (False, None, "", "Whether it can be merged was undecided."),
        (False, False, "ab", "Required checks without success: `a`, `b`."),
        (
            False,
            False,
            "a" * 21,
            f"Required checks without success: {', '.join(['`a`'] * 20)} and 1 more.",
        ),
    ],
)
def test_line_of_the_merge_has_what_github_said(
    is_draft: bool, conflicts: bool | None, missing: str, line: str
) -> None:
    merge = MergeState(conflicts, tuple(missing), decision="", is_behind=False, is_blocked=False)
    pull: Any = recorded("pull_request")["demo/feature"]["pull_request"]
    comment = review_comment(merge=merge, rule=RULE, pull_request=replace(pull, draft=is_draft))
    assert f"\nMerge, as GitHub said before this review, apart from its check: {line}\n" in comment


def test_every_golden_file_belongs_to_a_test() -> None:
    names = [*PROMPTS, *(f"{name}.comment" for name in COMMENTS)]
    assert sorted(path.stem for path in GOLDEN.iterdir()) == sorted(names)


def test_generic_prompt_shows_the_upper_levels_of_a_deeply_nested_payload(tell: Library) -> None:
    value: object = "the end"
    for _ in range(500):
        value = {"in": [value]}
    variables = {**push_variables(), "event": {"ref": "refs/heads/main", "deep": value}}
    task = render(tell, "push/tell", variables, key=KEY).task
    assert "refs/heads/main" in task
    assert "the end" not in task
    assert task.count("in:") + task.count("[") < 10


# --- the examples that the prompts give
# -----------------------------------------------------------------------------

EVERYTHING = {
    name: value
    for family in FAMILIES.values()
    for name, value in next(iter(family.samples()))[1].items()
}
EVERYTHING |= {**recorded("pull_request")["demo/feature"], "analysis": ANALYSIS, "rule": RULE}
EVERYTHING["earlier_findings"] = (
    EarlierFinding(7, "a.py", 2, "high", "bugs", "Wrong", "", "", "", is_changed=True),
)


def examples(name: str) -> list[dict[str, Any]]:
    """Return the replies that are examples in the system message."""
    parts = re.split(r"\n(?=\{\")", render(shipped(), name, EVERYTHING, key=KEY).system)[1:]
    return [json.loads(part.split("\n", 1)[0]) for part in parts]


def test_each_prompt_explains_its_fields_and_has_valid_examples_with_and_without_a_comment() -> (
    None
):
    for name, prompt in shipped().prompts.items():
        rendered = render(shipped(), name, EVERYTHING, key=KEY)
        text = f"{rendered.system}\n{rendered.task}"
        assert [
            field for field in REPLY_TYPES[prompt.reply].model_fields if f"`{field}`" not in text
        ] == [], name
        if name != "pull_requests/verify":  # its reply has no text that people read
            replies = [
                parse_reply(json.dumps(reply), prompt.reply_model).reply for reply in examples(name)
            ]
            always = name in ("cherry_picks/resolve", "test_oracle/choose")  # has a comment
            assert {is_worth_saying(reply) for reply in replies} == (
                {False} if always else {True, False}
            ), name
            fields = [
                field
                for field in prompt.reply_model.model_fields
                if field not in ("earlier", "suggested_labels")  # only with what the task shows
            ]
            assert [[*reply] for reply in examples(name)] == [fields] * len(replies), name


def test_example_finding_is_anchored_in_its_patch() -> None:
    shown_patches = re.findall(
        r"<untrusted CODE>\n(\S+) \(modified\)\n(.*?)\n</untrusted CODE>",
        render(shipped(), "pull_requests/analyze", EVERYTHING, key=KEY).system,
        re.DOTALL,
    )
    patches = {path: parse_numbered(patch) for path, patch in shown_patches}
    replies = [
        parse_reply(json.dumps(reply), PullRequestAnalysis).reply
        for reply in examples("pull_requests/analyze")
    ]
    findings = [finding for reply in replies for finding in reply.findings]
    assert [locate(finding, patches).finding for finding in findings] == findings
    assert [finding.look_up for finding in findings] == [[], ["db.all"]]


def test_every_prompt_passes_on_language_tone_and_length_of_the_settings() -> None:
    def asked(name: str, **wording: Any) -> list[str]:
        rendered = render(
            shipped(), name, {**EVERYTHING, "rule": replace(RULE, **wording)}, key=KEY
        )
        return [rendered.system, *rendered.task.split("\n")]

    for name in shipped().prompts.keys() - {"pull_requests/verify"}:
        plain = asked(name)
        german = asked(name, language="Brazilian Portuguese", tone="friendly", length="short")
        assert [line for line in german if line not in plain] == [
            (
                "Write all text of your reply in this language: Brazilian Portuguese. If that names"
                " no language, keep to that of the thread."
            ),
            (
                "Be friendly: address the person, explain what a newcomer may not know, "
                "and put a request as an invitation."
            ),
            (
                "Be shorter than the limits above: only what somebody needs to act on, without"
                " reasons that are plain."
            ),
        ]
        assert german[-2].startswith("Be shorter than the limits above")
    formal = "\n".join(asked("issues/analyze", tone="formal", length="detailed"))
    assert "\nBe formal: whole sentences" in formal
    assert "\nBe detailed, within the limits above: give the reason" in formal


def test_footer_names_only_what_everybody_may_do() -> None:
    footer = render_footer(shipped(), "workflows/analyze", {"rule": RULE}, key=KEY)
    assert footer.endswith(
        " If it is, say so in a comment. To stop it here, write `[skip hls]` in the title.*"
    )
    assert "label" not in footer
