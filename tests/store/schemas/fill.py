"""Fills an empty database with a row of every kind, by whichever version of the code is on Python's path.

It is run with the code of every version that landed, so it uses only what all of them know; what only some have is
written through their own tables.
"""

from __future__ import annotations

import hashlib
import sys
from datetime import timedelta
from typing import Any

from sqlalchemy import insert

from hls_handler.analysis import Answered, Finding, IssueAnalysis, PullRequestAnalysis, Usage
from hls_handler.deliveries import Lease, NewDelivery, Remembered
from hls_handler.errors import Wait
from hls_handler.store import Store
from hls_handler.store.tables import metadata
from hls_handler.work.memory import keep_answer

PROMPT = "issues/analyze@3f9c2a"
USAGE = Usage("claude-haiku-5-5", input_tokens=1200, output_tokens=80, cost_usd=0.00016, took_s=1.5)
ISSUE = IssueAnalysis(
    worth_saying=True,
    kind="bug",
    priority="high",
    difficulty="easy",
    component="backend",
    summary="Saving a widget twice loses the first one: Grüße \U0001f600",
    missing=["the version"],
    recommended_response="Which version is it?",
)
FINDING = Finding(
    path="area.py",
    side="RIGHT",
    start_line=None,
    line=2,
    quote="return side ** 2",
    severity="high",
    category="bugs",
    confidence=0.8,
    title="Squares only",
    body="A rectangle has two sides.",
    suggestion=None,
)
ROWS: dict[str, dict[str, Any]] = {
    "reviews": {"number": 7, "head_sha": "bbb", "family": "pull_requests", "review_id": 5, "changed_at": 1},
    "checks": {"head_sha": "bbb", "name": "HLS", "check_id": None, "conclusion": "success", "changed_at": 1},
    "step_failures": {"run_id": 3, "attempt": 1, "job": "tests", "step": "pytest", "workflow_id": 9, "branch": "main"}
    | {"head_sha": "bbb", "noted_at": 1},
    "run_ends": {"run_id": 3, "attempt": 1, "workflow_id": 9, "event": "push", "branch": "main", "run_number": 4}
    | {"passed": False, "head_sha": "bbb", "noted_at": 1},
    "corrections": {"number": 1, "said": "bug", "field": "kind", "became": "question", "title": "It is broken"}
    | {"prompt_id": PROMPT, "is_pull_request": False, "set_at": 1, "noted_at": 2},
    "repository_files": {"repository": "octo/widgets", "read_at": 1, "version": "abc", "text": "enabled: true\n"},
    "repository_file_tellings": {"version": "abc", "guid": "done", "told_at": 1},
    "pauses": {"name": "octo/gadgets", "repository": "octo/Gadgets", "reason": "an incident", "paused_at": 1},
    "forgotten_calls": {"prompt_id": PROMPT, "answers": 3, "cost_micro_usd": 480, "calls_of_unknown_cost": 1}
    | {"last_error": "Claude: refused", "last_error_at": 1},
}
"""Of what not every version keeps."""


def new(guid: str, number: int, **other: Any) -> NewDelivery:
    body = b'{"delivery": "%s"}' % guid.encode()
    fields: dict[str, Any] = {
        "event": "issues",
        "action": "opened",
        "request_id": f"request-{guid}",
        "state": "queued",
        "repository_id": 1,
        "repository": "octo/widgets",
        "sender": "mona",
        "digest": hashlib.sha256(body).digest(),
        "body": body,
    }
    return NewDelivery(guid=guid, number=number, **(fields | other))


def push(guid: str, sha: str) -> NewDelivery:
    kind = {"event": "pull_request", "action": "synchronize", "head_sha": sha, "supersedes": "older_commits"}
    return new(guid, 7, **kind)


def fill(store: Store) -> None:
    _done(store)
    _reviewed(store)
    ignored = {"state": "ignored", "reason": "not enabled", "reason_kind": "event not enabled", "body": b""}
    _accept(store, new("ignored", 2, **ignored, digest=None))
    lease = _begin(store, new("dead", 3))
    store.remember(lease, keep_answer(Answered(PROMPT, "issue_analysis", ISSUE, USAGE), index=0))
    store.bury(lease, reason="issue is locked", handler="IssueHandler")
    lease = _begin(store, new("postponed", 4))
    store.postpone(lease, at=store.now() + timedelta(days=1), reason="GitHub is down", failed=True, counts=True)
    lease = _begin(store, new("running", 5))
    store.remember(lease, Remembered("gather", 0, 1, '{"title": "It is broken"}', took_s=0.25))
    store.lock(lease, "1#5/issues", ttl_s=60)
    store.take_turn(lease, "github", interval_s=600)
    try:
        store.take_turn(lease, "github", interval_s=600)
    except Wait:
        pass
    else:
        raise AssertionError("two turns at once")
    _call(store, lease)  # never ended
    _accept(store, new("queued", 6))
    store.count({("outcome", "pong"): 1})
    store.secret("prompt-delimiters")
    with store._database.writing() as connection:
        for name, row in ROWS.items():
            if (table := metadata.tables.get(name)) is not None:
                keys = {"repository_id": 1, "identity": "hls-bot"}
                connection.execute(insert(table).values({k: v for k, v in (keys | row).items() if k in table.c}))
        identity = {"fingerprint": "f" * 64, "login": "hls-bot", "account_id": 2, "account_type": "User", "seen_at": 1}
        connection.execute(insert(metadata.tables["identities"]).values(identity))


def _done(store: Store) -> None:
    lease = _begin(store, new("done", 1))
    store.remember(lease, Remembered("route", 0, 1, '"settings.yaml:3 lets issues.opened in"'))
    answered = Answered(PROMPT, "issue_analysis", ISSUE, USAGE)
    store.remember(lease, keep_answer(answered, index=0))
    call = _call(store, lease)
    store.end_call(lease, call, outcome="ok", usage=USAGE, error=None, answered=answered, is_last=True)
    store.end_call(lease, _call(store, lease), outcome="invalid", usage=USAGE, error="the reply lacks kind")
    memory = store.memory(lease, "hls-bot")
    memory.intend_labels(["bug", "priority-high"])
    memory.confirm_labels(["bug"])
    memory.remember_comment("issues", 11, "digest")
    store.set_status(lease, posting="done")
    store.finish(lease, "done", reason="labels bug", handler="IssueHandler", took_s=2.5)


def _reviewed(store: Store) -> None:
    _accept(store, push("superseded", "aaa"))
    lease = _begin(store, push("reviewed", "bbb"))
    plain: dict[str, Any] = {"worth_saying": True, "type": "bug-fix", "summary": "Squares.", "files": []}
    reply = PullRequestAnalysis.model_validate({**plain, "findings": [FINDING.model_dump()]})
    answered = Answered("pull_requests/analyze@111111", "pull_request_analysis", reply, USAGE)
    store.end_call(lease, _call(store, lease), outcome="ok", usage=USAGE, error=None, answered=answered)
    store.finish(lease, "done", reason="a comment", handler="PullRequestHandler", took_s=3)


def _accept(store: Store, delivery: NewDelivery) -> None:
    (answer,) = store.accept([delivery], replay_window_h=72)
    assert answer.outcome == delivery.state


def _begin(store: Store, delivery: NewDelivery) -> Lease:
    _accept(store, delivery)
    lease = store.claim(worker="worker", lease_s=30, max_crashes=10)
    assert lease is not None
    assert lease.guid == delivery.guid
    return lease


def _call(store: Store, lease: Lease) -> int:
    return store.begin_call(
        lease,
        index=0,
        prompt_id=PROMPT,
        model="claude-haiku-5-5",
        sender="mona",
        requests_per_second=1_000_000,
        calls_per_hour=200,
    )


if __name__ == "__main__":
    filled = Store.open(sys.argv[1])
    fill(filled)
    filled.close()
