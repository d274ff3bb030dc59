"""However much strangers write, a shipped prompt stays within the budget of patches and a bounded rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from hls_handler.events import Account, Label, Repository
from hls_handler.handlers import HANDLERS
from hls_handler.handlers.handler import Budget
from hls_handler.handlers.reader import ReviewComment
from hls_handler.handlers.record import NOTHING_KNOWN
from hls_handler.prompting.render import render
from hls_handler.prompting.tokens import estimate_tokens
from tests.handlers.world import FakeReader, event, file, issue, pull_request, review, reviewed
from tests.prompting.samples import KEY, common, shipped

BUDGET = Budget(input_tokens=5_000)
REST = 22_000
"""Tokens of all that no budget counts; docs/prompts.md says so. Of text in which each character is one."""

LONG = "\u5b57" * 65_536
NAME = "\u5b57" * 256
SOMEBODY = Account("x" * 39, 5, "User")
LABELS = tuple(Label("\u5b57" * 50) for _ in range(100))
ABOUT: Mapping[str, object] = {
    **common(),
    "repository": Repository(1, f"{'o' * 39}/{'r' * 100}", False, "\u5b57" * 350, "main", "Python"),
}
PULL_REQUEST = pull_request(title=NAME, body=LONG, labels=LABELS, head_ref="h" * 250, base_ref="b" * 250, user=SOMEBODY)
FILES = tuple(
    file(f"{n}{'x' * 4_000}.py", "@@ -0,0 +1,900 @@\n" + "\n".join("+" + "y" * 100 for _ in range(900)))
    for n in range(300)
)
COMMENTS = tuple(ReviewComment("p" * 4_000, "RIGHT", 9, "@@ -0,0 +1 @@\n+x", LONG, is_reply=False) for _ in range(99))


def of_an_issue() -> Mapping[str, object]:
    handler, about = HANDLERS["issues"], issue(title=NAME, body=LONG, labels=LABELS, user=SOMEBODY)
    happened = event(about)
    return handler.variables(happened, handler.gather(happened, FakeReader(about), NOTHING_KNOWN, BUDGET))


def of_a_pull_request() -> Mapping[str, object]:
    handler, about = HANDLERS["pull_request"], replace(PULL_REQUEST, changed_files=3_000)
    happened = event(about)
    return handler.variables(happened, handler.gather(happened, FakeReader(about, FILES), NOTHING_KNOWN, BUDGET))


def of_a_review() -> Mapping[str, object]:
    handler, one = HANDLERS["pull_request_review"], review(body=LONG, user=SOMEBODY)
    happened = reviewed(one, PULL_REQUEST)
    reader = FakeReader(PULL_REQUEST, reviews=(one,), review_comments=COMMENTS)
    return handler.variables(happened, handler.gather(happened, reader, NOTHING_KNOWN, BUDGET))


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("issues/analyze", of_an_issue()),
        ("issues/respond", of_an_issue()),
        ("pull_requests/analyze", of_a_pull_request()),
        ("reviews/analyze", of_a_review()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_prompt_is_bounded_whatever_strangers_write(name: str, facts: Mapping[str, object]) -> None:
    rendered = render(shipped(), name, {**ABOUT, **facts}, key=KEY)
    tokens = estimate_tokens(rendered.system + rendered.task)
    assert tokens <= BUDGET.input_tokens + REST
    assert rendered.missing != ()
