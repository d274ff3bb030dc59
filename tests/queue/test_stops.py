"""Stops of pull requests, and the order of commands in the queue."""

from __future__ import annotations

from hls_handler.store.storage import Storage
from tests.queue.builders import accept, begin, claim, finish, nothing_is_due, push, queued


def test_first_stop_of_a_pull_request_is_kept_until_it_ends(store: Storage) -> None:
    lease = begin(store, "stop", number=7)
    store.interruptions.stop(lease, 7, by="mona")
    store.interruptions.stop(lease, 7, by="zoe")
    found = store.interruptions.find_stop(1, 7)
    assert found is not None
    assert found.by == "mona"
    assert "mona stopped HLS" in str(found)
    assert (store.interruptions.find_stop(1, 8), store.interruptions.find_stop(2, 7)) == (
        None,
        None,
    )
    for _ in range(2):
        store.interruptions.resume(lease, 7)
    assert store.interruptions.find_stop(1, 7) is None


def test_command_does_not_wait_for_running_and_queued_deliveries_of_its_conversation(
    store: Storage,
) -> None:
    running = begin(store, "running", number=7)
    accept(store, queued("queued", number=7), queued("command", number=7, is_command=True))
    assert running.guid == "running"
    assert claim(store).guid == "command"
    assert nothing_is_due(store)


def test_commands_of_a_conversation_run_in_their_order(store: Storage) -> None:
    accept(store, queued("1", number=7, is_command=True), queued("2", number=7, is_command=True))
    first = claim(store)
    assert (first.guid, nothing_is_due(store)) == ("1", True)
    finish(store, first)
    assert claim(store).guid == "2"


def test_requested_review_is_not_counted_as_an_event_of_github(store: Storage) -> None:
    for _ in range(2):  # the command is repeated after a crash
        accept(store, push("review", "aaa", supersedes="pushes", request_id="requested:1"))
    assert store.statistics.counters() == {("stored", ""): 1}


def test_newest_pull_request_with_a_commit_is_found(store: Storage) -> None:
    accept(
        store,
        push("old", "aaa", number=7),
        push("new", "aaa", number=9),
        push("other", "bbb", number=10),
    )
    accept(
        store, queued("run", event="workflow_run", action="completed", number=11, head_sha="aaa")
    )
    assert store.repositories.history(1, "hls").find_pull_request("octo/widgets", "aaa") == 9
    assert store.repositories.history(1, "hls").find_pull_request("octo/widgets", "ccc") is None
    assert store.repositories.history(1, "hls").find_pull_request("octo/gadgets", "aaa") is None
