"""Claude's stored replies."""

from __future__ import annotations

from hls_handler.analysis import IssueResponse, Reply, Usage
from hls_handler.store.analyses import AnalysisSearch
from hls_handler.store.call_rows import CachedReply
from hls_handler.store.storage import Storage
from tests.queue.builders import (
    add_analyses,
    begin,
    record_reply,
    start_call,
)

ANSWER = IssueResponse(worth_saying=True, sources=[], answer="Use --force.", certain=False)


def test_analyses_of_a_pull_request_include_those_of_other_events_that_commented_on_it(
    store: Storage,
) -> None:
    add_analyses(store, "g1", number=7)
    add_analyses(store, "g2", event="workflow_run", action="completed", number=None, posted_on=7)
    add_analyses(store, "g3", number=8)
    page = store.analyses.find(AnalysisSearch(repository="octo/widgets", number=7))
    assert [(row.guid, row.number, row.kind) for row in page.rows] == [
        ("g2", 7, "workflow"),
        ("g1", 7, "issue"),
    ]
    assert [row.guid for row in store.analyses.find(AnalysisSearch(number=7)).rows] == ["g2", "g1"]
    add_analyses(store, "g4", repository="octo/gadgets", repository_id=2)
    assert [
        row.guid for row in store.analyses.find(AnalysisSearch(repository="octo/gadgets")).rows
    ] == ["g4"]


def test_cost_of_an_analysis_is_that_of_all_calls_of_its_step(store: Storage) -> None:
    lease = begin(store, "g1")
    for outcome, spent in (("invalid", 0.5), ("unavailable", None)):
        call = start_call(store, lease, "b@2", index=1)
        usage = None if spent is None else Usage("m", input_tokens=10, cost_usd=spent)
        store.calls.end(lease, call, outcome=outcome, usage=usage, error="no JSON")
    usage = Usage(
        "m",
        input_tokens=20,
        output_tokens=3,
        cache_write_tokens=4,
        cache_read_tokens=5,
        cost_usd=0.25,
    )
    for index, one in ((1, usage), (2, Usage("m", input_tokens=9))):
        record_reply(store, lease, Reply("b@2", "issue_response", ANSWER, one), index=index)
    first, second = store.analyses.get("g1", 1), store.analyses.get("g1", 2)
    assert first is not None
    assert second is not None
    tokens = (
        first.input_tokens,
        first.output_tokens,
        first.cache_write_tokens,
        first.cache_read_tokens,
    )
    assert (tokens, first.cost_usd) == ((30, 3, 4, 5), 0.75)
    assert (second.input_tokens, second.cost_usd) == (9, None)


def test_reply_from_the_cache_cost_nothing(store: Storage) -> None:
    lease = begin(store, "g1")
    cached = CachedReply(0, "issue_response", "m", ANSWER.model_dump_json(), 900, store.now())
    store.calls.save_cached(lease, cached, index=0, prompt_id="b@2")
    found = store.analyses.get("g1", 0)
    assert found is not None
    assert (found.input_tokens, found.output_tokens, found.cost_usd) == (0, 0, 0.0)
