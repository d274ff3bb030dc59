"""Claude's stored replies."""

from __future__ import annotations

import json

from hls_handler.analysis import Finding, IssueResponse, PullRequestAnalysis, Usage, ValidReply
from hls_handler.storage import Storage
from tests.handlers.world import finding
from tests.queue.builders import analyses_of, begin, record_reply

FINDING = finding(
    path="src/a.py",
    line=12,
    quote="x = eval(y)",
    severity="critical",
    category="security",
    confidence=0.75,
    title="eval of input",
    body="Parse it instead.\x00",
    suggestion="x = int(y)",
)


def review(*findings: Finding) -> ValidReply:
    reply = PullRequestAnalysis(
        worth_saying=True,
        type="feature",
        summary="Adds a parser.",
        findings=list(findings),
        suggested_labels=[],
    )
    return ValidReply("pull_requests/analyze@aa", "pull_request_analysis", reply, Usage("claude-haiku-5-5"))


def test_reply_is_stored_with_its_prompt_and_model(store: Storage) -> None:
    lease = begin(store, "g1")
    reply = IssueResponse(worth_saying=True, answer="Use --force.", certain=False)
    record_reply(store, lease, ValidReply("b@2", "issue_response", reply, Usage("m2")), index=1)
    record_reply(store, lease, review(), index=0)
    first, second = analyses_of(store, "g1")
    assert (first.step_index, first.prompt_id) == (0, "pull_requests/analyze@aa")
    assert first.reply_type == "pull_request_analysis"
    assert (second.step_index, second.prompt_id, second.reply_type, second.model) == (1, "b@2", "issue_response", "m2")
    assert json.loads(second.reply) == {"worth_saying": True, "answer": "Use --force.", "certain": False}


def test_reply_recorded_again_replaces_the_first(store: Storage) -> None:
    lease = begin(store, "g1")
    record_reply(store, lease, review(FINDING, FINDING), index=0)
    record_reply(store, lease, review(FINDING), index=0)
    (stored,) = analyses_of(store, "g1")
    assert len(json.loads(stored.reply)["findings"]) == 1
