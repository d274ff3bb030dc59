"""The length of shipped prompts is limited: the budget of patches and a fixed maximum for
everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from hls_handler.analysis import estimate_tokens
from hls_handler.batches.recording_job import read_facts
from hls_handler.events import Account, Event, Label, Repository
from hls_handler.github.values import GUIDANCE_PATHS, ReviewComment
from hls_handler.handlers.job import FactSource, PromptLimits
from hls_handler.handlers.reader import EMPTY_HISTORY
from hls_handler.handlers.registry import HANDLERS
from hls_handler.prompting.render import render
from hls_handler.review.facts import MAX_GUIDANCE_CHARS, MAX_LINKED_ISSUE_CHARS, list_parts
from tests.engine.stand_in import StandIn
from tests.handlers.world import (
    event,
    file,
    issue,
    open_github,
    pull_request,
    review,
    review_event,
)
from tests.prompting.samples import KEY, common, shipped

BUDGET = PromptLimits(input_tokens=5_000)
PRIORITY_OTHER = 33_000
"""Maximum of tokens outside the budget, as in prompts-reference.md, measured with text of 1.5
tokens per character.
"""

LONG = "\u5b57" * 65_536
NAME = "\u5b57" * 256
SOMEBODY = Account("x" * 39, 5, "User")
LABELS = tuple(Label("\u5b57" * 50) for _ in range(100))
COMMON: Mapping[str, object] = {
    **common(),
    "repository": Repository(1, f"{'o' * 39}/{'r' * 100}", False, "\u5b57" * 350, "main", "Python"),
}
PULL_REQUEST = pull_request(
    title=NAME, body=LONG, labels=LABELS, head_ref="h" * 250, base_ref="b" * 250, user=SOMEBODY
)
FILES = tuple(
    file(
        f"{n}{'x' * 4_000}.py",
        "@@ -0,0 +1,100 @@\n" + "\n".join("+" + "y" * 100 for _ in range(100)),
    )
    for n in range(30)
)
COMMENTS = tuple(
    ReviewComment("p" * 4_000, "RIGHT", 9, "@@ -0,0 +1 @@\n+x", LONG, is_reply=False)
    for _ in range(99)
)


def variables_of(name: str, received: Event, github: StandIn) -> Mapping[str, object]:
    handler = HANDLERS[name]
    source = FactSource(received, github.reader("octo/hello"), EMPTY_HISTORY, BUDGET)
    return handler.variables(read_facts(handler, source))


def issue_facts() -> Mapping[str, object]:
    subject = issue(title=NAME, body=LONG, labels=LABELS, user=SOMEBODY)
    return variables_of("issues", event(subject), open_github(subject))


def pull_request_facts() -> Mapping[str, object]:
    subject = replace(PULL_REQUEST, changed_files=3_000)
    return variables_of("pull_request", event(subject), open_github(subject, FILES))


def review_facts() -> Mapping[str, object]:
    one, github = review(body=LONG, user=SOMEBODY), open_github(PULL_REQUEST)
    github.put_review(PULL_REQUEST.number, one, COMMENTS)
    return variables_of("pull_request_review", review_event(one, PULL_REQUEST), github)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("issues/analyze", issue_facts),
        ("issues/respond", issue_facts),
        ("pull_requests/analyze", pull_request_facts),
        ("reviews/analyze", review_facts),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_prompt_size_is_limited_for_any_event(
    name: str, facts: Callable[[], Mapping[str, object]]
) -> None:
    rendered = render(shipped(), name, {**COMMON, **facts()}, key=KEY)
    tokens = estimate_tokens(rendered.system + rendered.task)
    assert tokens <= BUDGET.input_tokens + PRIORITY_OTHER
    assert rendered.missing != ()


@pytest.mark.parametrize(
    ("input_tokens", "guidance", "issues"), [(90_000, 2, 3), (24_000, 1, 0), (2_000, 0, 0)]
)
def test_guidance_and_linked_issues_count_towards_the_budget(
    input_tokens: int, guidance: int, issues: int
) -> None:
    def facts_with_context(input_tokens: int) -> Mapping[str, Any]:
        handler, subject = HANDLERS["pull_request"], replace(PULL_REQUEST, changed_files=3_000)
        subject = replace(subject, body=f"Fixes #1, fixes #2, fixes #3. {LONG}")
        github = open_github(subject, FILES[:5], base_files=dict.fromkeys(GUIDANCE_PATHS, LONG))
        for number in (1, 2, 3):
            github.put_issue(issue(number=number, title=NAME, body=LONG))
        reader = github.reader("octo/hello")
        limits = PromptLimits(input_tokens, is_review=True)
        first, *_ = list_parts(
            read_facts(handler, FactSource(event(subject), reader, EMPTY_HISTORY, limits))
        )
        return handler.variables(first)

    facts = facts_with_context(input_tokens)
    assert (len(facts["guidance"]), len(facts["linked_issues"])) == (guidance, issues)
    without = {**facts, "guidance": (), "linked_issues": (), "files": ()}
    task, shorter = (
        render(shipped(), "pull_requests/analyze", {**COMMON, **one}, key=KEY).task
        for one in (facts, without)
    )
    added = estimate_tokens(task) - estimate_tokens(shorter)
    assert guidance * MAX_GUIDANCE_CHARS + issues * MAX_LINKED_ISSUE_CHARS < added <= input_tokens
