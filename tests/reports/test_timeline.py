"""The steps of a delivery: which were reached, which failed, and what they took."""

from __future__ import annotations

import json

from hls_handler.deliveries import Checkpoint, End, Lease
from hls_handler.engine.codecs import OUTCOME
from hls_handler.queue.checkpoints import ANALYSED, StatusChange
from hls_handler.reports.delivery_report import load_report
from hls_handler.store.call_rows import CachedReply
from hls_handler.store.storage import Storage
from tests.queue.builders import accept, begin, claim, ignored, queued, row_of, start_call
from tests.store.test_calls import REPLY, USAGE

RULE = Checkpoint("route", 0, 1, '"issues.opened is enabled"')
GATHER = Checkpoint("gather", 0, 1, "{}", took_s=0.25, github_requests=3)


def steps(store: Storage, guid: str = "g1") -> list[tuple[str, str, str | None]]:
    """Return name, status and detail of each step."""
    return [
        (step.name, step.status, step.detail)
        for step in load_report(store, row_of(store, guid)).steps
    ]


def call(store: Storage, lease: Lease) -> None:
    opened = start_call(store, lease, "issues/analyze@3f9c2a")
    store.calls.end(lease, opened, outcome="ok", usage=USAGE, error=None, changes=[REPLY, ANALYSED])


def test_ignored_and_new_deliveries_reached_only_the_first_step(store: Storage) -> None:
    accept(store, ignored("g1"), queued("g2"))
    rest = [
        ("gather", "not reached", None),
        ("ask", "not reached", None),
        ("post", "not reached", None),
    ]
    assert steps(store) == [("route", "done", "ignored: not enabled in settings.yaml:3"), *rest]
    assert steps(store, "g2") == [("route", "done", None), *rest]


def test_dead_delivery_failed_at_the_first_step_without_a_result(store: Storage) -> None:
    store.queue.finish(begin(store, "g1"), End("dead", "the body is damaged"))
    assert steps(store)[:2] == [
        ("route", "failed", "the body is damaged"),
        ("gather", "not reached", None),
    ]
    lease = begin(store, "g2")
    store.checkpoints.save(lease, RULE)
    store.checkpoints.save(
        lease, StatusChange({"analysis_status": "failed", "analysis_error": "GitHub: 404"})
    )
    store.queue.finish(lease, End("dead", "GitHub: 404"))
    assert steps(store, "g2")[:3] == [
        ("route", "done", "issues.opened is enabled"),
        ("gather", "failed", "GitHub: 404"),
        ("ask", "not reached", None),
    ]


def test_error_after_the_calls_is_at_the_question(store: Storage) -> None:
    lease = begin(store, "g1")
    store.checkpoints.save(lease, RULE, GATHER)
    call(store, lease)
    store.checkpoints.save(
        lease, StatusChange({"analysis_status": "failed", "analysis_error": "no budget"})
    )
    store.queue.finish(lease, End("dead", "no budget"))
    assert steps(store)[2:] == [
        ("ask", "done", None),
        ("ask", "failed", "no budget"),
        ("post", "not reached", None),
    ]
    report = load_report(store, row_of(store, "g1"))
    assert (report.cost_usd, report.output_tokens, len(report.steps)) == (0.012346, 20, 5)


def test_running_delivery_shows_the_step_that_it_is_at(store: Storage) -> None:
    posted = json.dumps(
        {"action": "labels", "kind": "changed", "detail": "labels bug", "added": ["bug"]}
    )
    lease = begin(store, "g1")
    assert steps(store)[1:3] == [("gather", "running", None), ("ask", "not reached", None)]
    store.checkpoints.save(lease, RULE, GATHER)
    assert steps(store)[1:3] == [("gather", "done", None), ("ask", "running", None)]
    opened = start_call(store, lease, "issues/analyze@3f9c2a")
    assert steps(store)[2:] == [("ask", "running", None), ("post", "not reached", None)]
    store.calls.end(lease, opened, outcome="ok", usage=USAGE, error=None, changes=[REPLY, ANALYSED])
    assert steps(store)[2:] == [("ask", "done", None), ("post", "running", None)]
    store.checkpoints.save(lease, Checkpoint("post", 0, OUTCOME.version, posted))
    store.checkpoints.save(
        lease, StatusChange({"posting_status": "failed", "posting_error": "GitHub: 502"})
    )
    store.queue.reschedule(lease, at=store.now(), reason="GitHub: 502", failed=True, counts=True)
    assert steps(store)[3:] == [("post", "done", "labels bug"), ("post", "failed", "GitHub: 502")]
    claim(store)
    assert steps(store)[4] == ("post", "running", "after an error: GitHub: 502")


def test_reply_from_the_cache_is_a_step_without_a_call(store: Storage) -> None:
    lease = begin(store, "g1")
    store.checkpoints.save(lease, RULE, GATHER)
    call(store, lease)
    cached = CachedReply(0, "issue_response", "m", "{}", 900, store.now())
    store.calls.save_cached(lease, cached, index=1, prompt_id="issues/respond@2")
    assert steps(store)[2:4] == [
        ("ask", "done", None),
        ("ask 2", "done", "from the cache of replies"),
    ]
