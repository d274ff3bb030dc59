"""The audit: changes of deliveries and pauses are recorded with them, and only if something
changed.
"""

from __future__ import annotations

from hls_handler.storage import Storage
from tests.queue.builders import accept, begin, dead_letter, queued


def test_only_what_changed_something_is_recorded(store: Storage) -> None:
    before = store.now()
    dead_letter(store, "dead")
    begin(store, "running")
    accept(store, queued("waiting", number=8))
    for guid in ("dead", "running", "waiting", "unknown"):
        store.queue.retry(guid, by="mona")
    store.pauses.resume("octo/widgets", by="mona")
    store.pauses.pause("Octo/Widgets", reason="noise", by="lisa")
    store.pauses.pause("octo/widgets", reason="still noise", by="mona")
    store.pauses.resume("octo/widgets", by="lisa")
    found = store.audit.find(most=9)
    assert [(change.person, change.action, change.object, change.cost_usd) for change in found] == [
        ("lisa", "resume", "octo/widgets", None),
        ("mona", "pause", "octo/widgets", None),
        ("lisa", "pause", "Octo/Widgets", None),
        ("mona", "retry", "waiting", None),
        ("mona", "retry", "dead", None),
    ]
    assert before <= found[-1].changed_at <= found[0].changed_at <= store.now()


def test_people_are_found_by_a_part_of_their_name_in_any_case(store: Storage) -> None:
    for person in ("Mona", "command line (mona on build_1)", "lisa"):
        store.audit.record(person, "pause", "")
    newest, oldest = store.audit.find(person="MONA", most=9)
    assert (newest.person, oldest.person) == ("command line (mona on build_1)", "Mona")
    assert [change.person for change in store.audit.find(person="d_1", most=9)] == [newest.person]
    assert store.audit.find(person="l_sa", most=9) == []
    assert store.audit.find(before=newest.id, most=1) == [oldest]


def test_cost_of_a_trial_is_added_at_its_end(store: Storage) -> None:
    change, other = (
        store.audit.record("mona", "trial", "issues/a@1"),
        store.audit.record("mona", "trial", "issues/b@1"),
    )
    store.audit.set_cost(change, 0.0123456)
    store.audit.set_cost(other, None)
    assert [found.cost_usd for found in store.audit.find(most=9)] == [None, 0.012346]
