"""Claude's replies as rows."""

from __future__ import annotations

import json

from sqlalchemy import create_engine, text

from hls_handler.analysis import Answered, FileSummary, Finding, IssueResponse, PullRequestAnalysis, Usage
from hls_handler.store import Store
from tests.handlers.world import finding
from tests.store.builders import answered, begin

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


def review(*findings: Finding) -> Answered:
    reply = PullRequestAnalysis(
        worth_saying=True,
        type="feature",
        summary="Adds a parser.",
        files=[FileSummary(path="src/a.py", summary="A parser.")],
        findings=list(findings),
    )
    return Answered("pull_requests/analyze@aa", "pull_request_analysis", reply, Usage("claude-haiku-5-5"))


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return found


def test_a_reply_is_kept_with_its_prompt_and_model(store: Store) -> None:
    lease = begin(store, "g1")
    reply = IssueResponse(worth_saying=True, answer="Use --force.", certain=False)
    answered(store, lease, Answered("b@2", "issue_response", reply, Usage("m2")), index=1)
    answered(store, lease, review(), index=0)
    first, second = store.analyses("g1")
    assert (first.index, first.prompt_id, first.reply_type) == (0, "pull_requests/analyze@aa", "pull_request_analysis")
    assert (second.index, second.prompt_id, second.reply_type, second.model) == (1, "b@2", "issue_response", "m2")
    assert json.loads(second.reply) == {"worth_saying": True, "answer": "Use --force.", "certain": False}


def test_findings_are_rows_in_their_order(url: str, store: Store) -> None:
    low = FINDING.model_copy(update={"severity": "low", "start_line": 10, "suggestion": None, "body": "B"})
    answered(store, begin(store, "g1"), review(FINDING, low), index=0)
    columns = "position, path, side, start_line, line, quote, severity, category, confidence, title, body, suggestion"
    assert rows(url, f"SELECT {columns} FROM findings ORDER BY position") == [
        (
            0,
            "src/a.py",
            "RIGHT",
            None,
            12,
            "x = eval(y)",
            "critical",
            "security",
            0.75,
            "eval of input",
            "Parse it instead.\ufffd",
            "x = int(y)",
        ),
        (1, "src/a.py", "RIGHT", 10, 12, "x = eval(y)", "low", "security", 0.75, "eval of input", "B", None),
    ]


def test_findings_of_an_answer_that_another_took_the_place_of_are_gone(url: str, store: Store) -> None:
    lease = begin(store, "g1")
    answered(store, lease, review(FINDING))
    reply = IssueResponse(worth_saying=True, answer="Use --force.", certain=False)
    answered(store, lease, Answered("b@2", "issue_response", reply, Usage("m2")))
    assert rows(url, "SELECT count(*) FROM findings") == [(0,)]


def test_a_line_that_no_database_holds_does_not_undo_what_the_answer_has_cost(url: str, store: Store) -> None:
    lease = begin(store, "g1")
    answered(store, lease, review(FINDING.model_copy(update={"line": 10**20, "start_line": -(10**20)})))
    assert [call.outcome for call in store.calls("g1")] == ["ok"]
    assert rows(url, "SELECT line, start_line FROM findings") == [(2147483647, -2147483647)]


def test_an_answer_that_comes_again_takes_the_place_of_the_first(url: str, store: Store) -> None:
    lease = begin(store, "g1")
    answered(store, lease, review(FINDING, FINDING), index=0)
    answered(store, lease, review(FINDING), index=0)
    assert len(store.analyses("g1")) == 1
    assert rows(url, "SELECT count(*) FROM findings") == [(1,)]
