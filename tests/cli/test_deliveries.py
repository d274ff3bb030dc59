"""`hls deliveries`: lists and their queries, the steps of a delivery, and discarded ones."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from hls_handler.analysis import Usage
from hls_handler.db.counters import CounterWriter
from hls_handler.deliveries import Checkpoint, End
from hls_handler.store.storage import Storage
from tests.cli.conftest import Hls, find_operator_lines
from tests.queue.builders import accept, begin, dead_letter, queued, start_call
from tests.store.test_calls import ESTIMATE

USAGE = Usage("claude-haiku-5-5", 100, 20, 30, 40, cost_usd=0.0123456, took_s=1.5)


def test_show_lists_each_step_with_its_cost_in_order(hls: Hls, store: Storage) -> None:
    lease = begin(store, "g1")
    store.checkpoints.save(lease, Checkpoint("gather", 0, 1, "{}", took_s=0.25))
    ended = {"request_id": "req_011"}
    ok = {"outcome": "invalid", "error": "no kind", "usage": USAGE, **ended}
    for index, end in ((0, ok), (0, None), (1, ok)):
        call = start_call(store, lease, model="claude-haiku-5-5", index=index, estimate=ESTIMATE)
        if end is not None:
            store.calls.end(lease, call, **end)  # type: ignore[arg-type]
    steps = [("ask", 1, 1.5), ("post", 1, 0.5), ("post", 0, 0.75), ("ask", 0, 1.5)]
    store.checkpoints.save(
        lease, *(Checkpoint(name, index, 1, "{}", took_s) for name, index, took_s in steps)
    )
    store.queue.finish(lease, End("done", "labels bug"), took_s=2.5, github_requests=4)
    shown = hls("deliveries", "show", "request-g1")
    failed = (
        "failed: no kind (1.5 s, 170 tokens in, 20 out, $0.012, claude-haiku-5-5, request req_011)"
    )
    assert shown.stdout.splitlines()[1:] == [
        "  Read from GitHub (0.25 s)",
        f"  Ask Claude: {failed}",
        (
            "  Ask Claude: failed: the end of the call was not stored (at most 9,000"
            " tokens in, 4,000 out, $0.050, claude-haiku-5-5)"
        ),
        f"  Ask Claude 2: {failed}",
        "  Post (0.75 s)",
        "  Post 2 (0.50 s)",
        "  Done: labels bug.",
        "  Duration: 3.0 s of work, 2.5 s from the receipt",
        "  Cost: 3 calls to Claude, 9,340 tokens in, 4,040 out, $0.075",
        "  Requests: 4 to GitHub",
    ]


def test_list_as_json_has_times_cost_and_requests(hls: Hls, store: Storage) -> None:
    lease = begin(store, "g1")
    call = start_call(store, lease, model="claude-haiku-5-5", estimate=ESTIMATE)
    store.calls.end(lease, call, outcome="ok", error=None, usage=USAGE)
    store.queue.finish(lease, End("done", "labels bug"), took_s=2.5, github_requests=4)
    accept(store, queued("g2"))
    waiting, done = json.loads(hls("deliveries", "list", "--json").output)["deliveries"]
    keys = ("success", "took_s", "cost_usd", "github_requests")
    assert [done[key] for key in keys] == [True, 2.5, 0.012346, 4]
    assert [waiting[key] for key in keys] == [None, None, 0.0, None]


def test_list_names_deliveries_so_that_other_commands_find_them(hls: Hls, store: Storage) -> None:
    names = ["batch-1-7", "batch-1-7-undo", "batch-1-70", "batch-12-7"]
    accept(store, *(queued(name, number=7) for name in names))
    shown = [line.split()[2] for line in hls("deliveries", "list").output.splitlines()]
    assert sorted(shown) == names
    assert hls("deliveries", "show", "batch-1-7").exit_code == 0


def test_list_takes_the_words_of_the_console_and_names_a_wrong_one(
    hls: Hls, store: Storage
) -> None:
    dead_letter(store, "d1")
    accept(store, queued("g1"), queued("g2", repository="octo/other"))

    def listed(*words: str) -> list[str]:
        documents = json.loads(hls("deliveries", "list", *words, "--json").output)
        return [one["delivery"] for one in documents["deliveries"]]

    assert listed("is:dead") == listed("is:dead", "since:1d") == listed("locked") == ["d1"]
    assert listed("is:waiting", "repo:octo/other") == ["g2"]
    assert listed("is:waiting", "--state", "dead") == ["d1"]
    wrong = hls("deliveries", "list", "is:lost")
    assert wrong.exit_code == 2
    assert "is:lost: expected one of waiting," in wrong.output


def test_dead_deliveries_are_discarded_with_a_reason_and_taken_back(
    hls: Hls, store: Storage
) -> None:
    for guid in ("d1", "d2", "d3"):
        dead_letter(store, guid)
    accept(store, queued("g1"))
    for wrong in (("d1",), ("--why", "x"), ("is:waiting", "--why", "x", "--yes")):
        assert hls("deliveries", "discard", *wrong).exit_code == 2
    assert hls("deliveries", "discard", "g1", "--why", "x").exit_code == 1
    one = hls("deliveries", "discard", "d1", "--why", "a test")
    assert one.stdout == "1 delivery is discarded\n"
    both = hls("deliveries", "discard", "is:dead", "locked", "--why", "a test", "--yes")
    assert both.stdout == "2 deliveries match\n2 deliveries are discarded\n"
    assert hls("deliveries", "list", "is:dead").output == "no deliveries\n"
    lines = find_operator_lines(one, both)
    assert [(line["act"], line["number"], line["reason"]) for line in lines] == [
        ("discard", 1, "a test"),
        ("discard", 2, "a test"),
    ]
    again = hls("deliveries", "retry", "is:discarded", "--yes").stdout.splitlines()
    assert again[:2] == ["3 deliveries match", "3 deliveries are queued"]
    query = again[2].split("`")[1].removeprefix("hls deliveries list ")
    results = hls("deliveries", "list", query).stdout.splitlines()
    assert results[0] == "3 to go."


def test_why_of_an_event_that_was_not_received_names_unverified_requests_and_commands(
    hls: Hls, store: Storage, folder: Path
) -> None:
    def reject(store: Storage, *statuses: int) -> None:
        """Count rejected requests of the present hour."""
        with store.database.writing() as connection:
            for status in statuses:
                counts = {("rejected", str(status)): 1}
                CounterWriter(store.database).add(connection, counts)

    reject(store, 401, 401, 400)
    result = hls("why", "octo/widgets#7")
    assert (result.exit_code, result.stdout) == (1, "")
    nothing, requests, missed, look = result.stderr.splitlines()
    assert nothing == "nothing was received for octo/widgets#7 in 90 days"
    since = f"{store.now() - timedelta(days=3):%Y-%m-%d %H}:00"
    assert requests == (
        f"2 requests to the webhook path got 401 since {since} UTC, of any repository"
    )
    assert missed.startswith(
        "`hls catch-up` reads webhooks that GitHub could not deliver; `hls listen --since 2h` "
    )
    assert look.startswith(
        "the webhook's Recent Deliveries on GitHub show whether an event was sent"
    )


def test_unverified_requests_are_counted_since_the_last_webhook_of_the_repository(
    hls: Hls, store: Storage
) -> None:
    accept(store, queued("g1", repository="octo/widgets", number=6))
    last = store.statistics.last_webhooks()["octo/widgets"]
    requests = hls("why", "octo/widgets#7").stderr.splitlines()[1]
    assert requests == f"the last webhook of octo/widgets came at {last:%Y-%m-%d %H:%M} UTC"
