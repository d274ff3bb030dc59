"""The stored findings of reviews: read back as a record, and counted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hls_handler.review.blocks import Block
from hls_handler.review.record import LedgerEntry, ReviewRecord, dump_record, parse_record
from hls_handler.store.conversations import ConversationRef
from hls_handler.store.review_records import ReviewChange
from hls_handler.store.storage import Storage
from tests.queue.builders import accept, begin, finish, ignored

BOT = "hls[bot]"
PROMPT = "pull_requests/analyze@111111"
OPEN = LedgerEntry(
    "a" * 16,
    "area.py",
    "RIGHT",
    "log(total)",
    "high",
    "bugs",
    "Logs it",
    "open",
    PROMPT,
    number=1,
    raised=1,
)
FIXED = replace(OPEN, key="b" * 16, number=2, state="fixed", is_accepted=True, comment_id=71)
STYLE = replace(
    OPEN, key="c" * 16, number=3, category="style", state="dismissed", dismissed_by="mona"
)
BLOCK = Block(("+" + "0" * 16,), ("^",), ("^",), round=1)
RECORD = ReviewRecord(
    2,
    {"area.py": (BLOCK,)},
    kind="feature",
    summary="Squares it.",
    ledger=(OPEN, FIXED, STYLE),
    next_number=4,
)


def save(store: Storage, record: ReviewRecord, *, number: int = 7, guid: str = "g1") -> None:
    """Store the record of the pull request `number` in the transaction of a delivery."""
    lease = begin(store, guid, event="pull_request", number=number)
    assert lease.repository_id is not None
    ref = ConversationRef(lease.repository_id, BOT, number)
    store.checkpoints.save(lease, ReviewChange(ref, record))
    finish(store, lease)


def read(store: Storage, number: int = 7) -> ReviewRecord:
    lease = begin(store, f"read {number}", number=99)
    finish(store, lease)
    return store.repositories.history(lease.repository_id, BOT).review(number)


def test_record_of_a_review_is_read_back(store: Storage) -> None:
    save(store, RECORD)
    assert read(store) == RECORD
    assert read(store, 8) == ReviewRecord()


def test_record_that_an_earlier_version_stored_is_read_completely() -> None:
    stored = '{"rounds":2,"kind":"feature","next_number":4,"asked_for":"1ac2d4c"}'
    record = parse_record(stored, [])
    assert record == ReviewRecord(rounds=2, kind="feature", next_number=4, asked_for="1ac2d4c")
    assert '"asked_for":"1ac2d4c"' in dump_record(record)


def test_open_findings_of_a_closed_pull_request_are_ignored(store: Storage) -> None:
    save(store, RECORD)
    save(store, replace(RECORD, ledger=(replace(OPEN, key="e" * 16),)), number=8, guid="g2")
    for guid, action, number in (("c1", "closed", 7), ("c2", "closed", 8), ("c3", "reopened", 8)):
        accept(store, ignored(guid, event="pull_request", action=action, number=number))
    store.retention.mark_ignored_findings()
    now = store.now()
    report = store.statistics.report(now - timedelta(hours=1), now + timedelta(hours=1))
    assert (report.total.findings.raised, report.total.findings.ignored) == (4, 1)
    # a review of the reopened pull request continues with it
    assert read(store).ledger[0].state == "open"


def test_dismissal_by_a_command_survives_a_review_that_runs_meanwhile(store: Storage) -> None:
    save(store, RECORD)
    lease = begin(store, "command-guid", number=7)
    store.reviews.dismiss(lease, BOT, OPEN.key, by="mona")
    finish(store, lease)
    save(store, RECORD, guid="g2")
    assert [entry.dismissals for entry in read(store).ledger] == [
        ("command command- by mona",),
        (),
        (),
    ]


def test_last_command_about_a_finding_counts(store: Storage) -> None:
    save(store, RECORD)
    first = begin(store, "command-guid", number=7)
    store.reviews.dismiss(first, BOT, OPEN.key, by="mona")
    finish(store, first)
    second = begin(store, "other-guid", number=7)
    store.reviews.dismiss(second, BOT, OPEN.key, by="mona", how="undismissed ")
    finish(store, second)
    assert read(store).ledger[0].dismissals == ("undismissed other-gu by mona",)


def test_void_dismissal_by_a_command_does_not_return(store: Storage) -> None:
    void = replace(RECORD, ledger=(replace(OPEN, void_dismissals=("command command- by mona",)),))
    save(store, void)
    lease = begin(store, "command-guid", number=7)
    store.reviews.dismiss(lease, BOT, OPEN.key, by="mona")
    finish(store, lease)
    assert read(store) == void
