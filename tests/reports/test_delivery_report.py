"""Sentences of `hls why`: what a delivery waits for, what failed, and Claude's replies."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from hls_handler.actions import Outcome
from hls_handler.analysis import REPLY_TYPES, Reply, Usage
from hls_handler.deliveries import End
from hls_handler.engine.codecs import (
    CONTEXT,
    OMISSIONS,
    OUTCOME,
    PROBLEMS_REPORTED,
    RULE,
    UNVERIFIED,
)
from hls_handler.prompting.reply_fields import permissive_reply_model
from hls_handler.queue.checkpoints import StatusChange
from hls_handler.reports.delivery_report import (
    describe_reply,
    format_history,
    format_report,
    load_report,
    load_reports,
)
from hls_handler.store.call_rows import CachedReply
from hls_handler.store.storage import Storage
from tests.handlers.world import issue_analysis, request, review_analysis
from tests.queue.builders import accept, begin, claim, ignored, queued, row_of

REPLIES: list[tuple[str, dict[str, Any], str]] = [
    (
        "issue_analysis",
        issue_analysis(
            missing=["The version", "The log"],
            recommended_response="Try\n\n2.1.",
            suggested_labels=[
                {"name": "area/cart", "confidence": 0.9},
                {"name": "v2", "confidence": 0.35},
            ],
        ).model_dump()
        | {
            "affected_version": "x" * 400,
            "areas": ["api", "docs"],
            "regression": True,
            "owner": "",
            "field_confidence": {"kind": 0.9, "priority": 0.6, "difficulty": 1, "component": 0.25},
        },
        (
            "kind: bug; priority: high; difficulty: easy; component: backend;"
            " field_confidence: kind 0.9, priority 0.6, difficulty 1, component 0.25; summary: It"
            " crashes; missing: The version, The log; recommended_response: Try 2.1;"
            f" suggested_labels: area/cart 0.9, v2 0.35; affected_version: {'x' * 299}…; areas: api, docs;"
            " regression: true."
        ),
    ),
    (
        "review_analysis",
        review_analysis(
            request("a"), request("b", blocking=False), worth_saying=False
        ).model_dump(),
        "worth_saying: false; summary: Square it; requests: 2.",
    ),
    (
        "workflow_analysis",
        {
            "cause": "A test fails.",
            "quote": "E assert 1 == 2",
            "where": [
                {"path": "a.py", "line": 3, "why": "x"},
                {"path": "b.py", "line": None, "why": "y"},
            ],
            "advice": "",
        },
        "cause: A test fails; quote: E assert 1 == 2; where: a.py 3 x, b.py y.",
    ),
    ("comment_reply", {"answer": "", "certain": True}, "certain: true."),
]


@pytest.mark.parametrize(
    ("kind", "fields", "sentence"), REPLIES, ids=[kind for kind, _, _ in REPLIES]
)
def test_reply_is_one_sentence_with_the_fields_that_are_not_empty(
    kind: str, fields: dict[str, Any], sentence: str
) -> None:
    reply = permissive_reply_model(REPLY_TYPES[kind]).model_validate(
        {"worth_saying": True, **fields}
    )
    assert describe_reply(Reply("p@1", kind, reply, Usage("claude"))) == sentence


def why(store: Storage) -> list[str]:
    return list(format_report(load_report(store, row_of(store, "g1"))))


def test_queued_delivery_says_what_failed_and_until_when_it_waits(store: Storage) -> None:
    accept(store, queued("g1"))
    _, waits = why(store)
    assert waits.endswith(" UTC: queued, not started yet.")
    lease = claim(store)
    failures = {
        "analysis_status": "failed",
        "analysis_error": "no reply",
        "posting_status": "failed",
    }
    store.checkpoints.save(lease, StatusChange(failures | {"posting_error": "403"}))
    at = datetime(2026, 11, 20, 12, 5, tzinfo=UTC)
    store.queue.reschedule(lease, at=at, reason="GitHub asked to wait.", failed=False, counts=False)
    assert why(store)[1:] == [
        "  Post: failed: 403",
        "  Waiting until 12:05:00 UTC: GitHub asked to wait.",
    ]


def test_queued_delivery_says_which_one_of_its_conversation_it_waits_for(store: Storage) -> None:
    accept(store, queued("g0", number=7), queued("g1", number=7), queued("g2", number=7))
    waits = "  Waiting: deliveries of a conversation run one after the other, and g0 has not ended."
    assert why(store)[1:] == [waits]
    claim(store)
    assert why(store)[1:] == [waits]


def test_delivery_waits_for_no_command_and_no_dead_letter_of_its_conversation(
    store: Storage,
) -> None:
    accept(store, queued("g0", number=7), queued("command", number=7, is_command=True))
    store.queue.finish(claim(store), End("dead", "Claude refused"))
    accept(store, queued("g1", number=7))
    _, waits = why(store)
    assert waits.endswith(" UTC: queued, not started yet.")


def test_delivery_that_an_operator_runs_again_waits_for_a_newer_one_that_runs(
    store: Storage,
) -> None:
    accept(store, queued("g1", number=7))
    store.queue.finish(claim(store), End("dead", "Claude refused"))
    accept(store, queued("g2", number=7))
    claim(store)
    store.queue.retry("g1")
    (waits,) = why(store)[1:]
    assert waits.endswith("g2 has not ended.")


def test_each_part_of_a_report_is_a_line(store: Storage) -> None:
    lease = begin(store, "g1", number=7, title="It crashes", sender="mona")
    comment = Outcome("comment", "created", "commented", url="https://x/1", body="It crashes.")
    check = replace(
        comment, action="check", detail="set the check", url=None, body="# a.py\n\n| | |"
    )
    store.checkpoints.save(
        lease,
        RULE.encode("settings.yaml:3 enables it"),
        CONTEXT.encode("AGENTS.md"),
        OMISSIONS.encode("a.py"),
        OMISSIONS.encode("b.py", index=1),
        UNVERIFIED.encode("no reply"),
        OUTCOME.encode(comment),
        OUTCOME.encode(check, index=1),
        PROBLEMS_REPORTED.encode(replace(comment, url=None)),
    )
    cached = CachedReply(0, "comment_reply", "m", "{}", 900, datetime(2026, 11, 20, tzinfo=UTC))
    store.calls.save_cached(lease, cached, index=0, prompt_id="c@1")
    store.queue.finish(lease, End("done", "no patch; commented; set the check"), took_s=2.5)
    report = load_report(store, row_of(store, "g1"))
    assert report.comment == "It crashes."
    lines = format_report(report, has_comments=True)
    first, *others = [re.sub(r"\(\S+ \S+ UTC\)", "(TIME UTC)", line) for line in lines]
    assert first.endswith(" UTC: issues.opened by mona: It crashes (octo/widgets#7, delivery g1)")
    assert others == [
        "  Accepted: settings.yaml:3 enables it",
        "  Context: AGENTS.md.",
        "  Not shown to Claude: a.py; b.py.",
        "  Ask Claude: from the cache of replies",
        "  Comment: commented (0.00 s) https://x/1",
        "  The findings were not verified: no reply",
        "  Comment about problems in the repository settings: commented.",
        "  Check: set the check (0.00 s)",
        ("  Reply to c@1, from the cache (TIME UTC): worth_saying: false; certain: false."),
        "  Done: no patch.",
        "  Duration: 0.00 s of work, 2.5 s from the receipt",
        "  Cost: no call to Claude: the same question was answered before (claude.cache_ttl_h)",
        "  Comment as written:",
        "    It crashes.",
        "  Check as written:",
        "    # a.py",
    ]


def test_history_is_newest_first_with_one_line_for_what_wrote_nothing(store: Storage) -> None:
    comment = Outcome("comment", "created", "commented", body="It crashes.")
    check = Outcome("check", "changed", "set the check", body="### No review needed")
    unchanged = replace(comment, kind="unchanged", detail="our comment is up to date")
    for guid, outcome in (("g1", comment), ("g2", unchanged), ("g3", unchanged), ("g4", comment)):
        lease = begin(store, guid, number=7)
        store.checkpoints.save(lease, OUTCOME.encode(outcome), OUTCOME.encode(check, index=1))
        store.queue.finish(lease, End("done", f"{outcome.detail}; set the check"))
    accept(store, ignored("g5", number=7))
    reports = load_reports(store, [row_of(store, f"g{number}") for number in range(1, 6)])
    lines = [
        re.sub(r".*\(octo/widgets#7, delivery (\w+)\)", r"\1", line)
        for line in format_history(reports)
    ]
    heads = [line for line in lines if line.startswith("g")]
    quiet = "done: our comment is up to date; set the check"
    assert heads == ["g5", "g4", f"g3: {quiet}", f"g2: {quiet}", "g1"]
    assert lines.count("    ### No review needed") == 1
    newer_is_quiet = [*format_history([*reports[:3], reports[4]])]
    assert newer_is_quiet.count("    ### No review needed") == 1
    assert "delivery g2" in "".join(
        newer_is_quiet[newer_is_quiet.index("    ### No review needed") :]
    )
    everything = [*format_history(reports, has_all=True)]
    assert everything.count("    ### No review needed") == 4
