"""`hls forget`: what is stored about a person is found and removed, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from hls_handler.analysis import UnusableReply, Usage
from hls_handler.db.database import Database
from hls_handler.db.tables import (
    calls,
    checkpoints,
    comments,
    corrections,
    deliveries,
    texts,
)
from hls_handler.deliveries import Checkpoint, End
from hls_handler.store.call_rows import NO_REPLIES, CacheKey, StoredReply
from hls_handler.store.calls import QuestionTexts
from hls_handler.store.storage import Storage
from hls_handler.store.texts import NewText, document_scope, issue_scope
from tests.queue.builders import (
    accept,
    add_analyses,
    begin,
    dead_letter,
    ignored,
    queued,
    replies_to,
    row_of,
    start_call,
)
from tests.store.test_findings import BOT, FIXED, OPEN, RECORD, STYLE, read, save
from tests.store.test_limits import begin_call, with_budgets


def body(text: str = "It crashes.", **fields: object) -> bytes:
    """Return an event in a repository of mona's, about an issue of lisa's."""
    issue = {"title": "Crash", "body": text, "user": {"login": "lisa"}}
    owner = {"owner": {"login": "mona"}, "full_name": "mona/widgets"}
    return json.dumps({"issue": issue, "repository": owner, **fields}).encode()


OPENED = body(issue={"title": "Crash", "user": {"login": "Mona"}})


def counts(store: Storage) -> Mapping[str, int]:
    return store.forgetting.forget(store.forgetting.find("mona"), dry_run=True)


def forget(store: Storage, login: str = "mona") -> Mapping[str, int]:
    return store.forgetting.forget(store.forgetting.find(login), dry_run=False)


def rows(database: Database, *columns: Any) -> list[tuple[Any, ...]]:
    with database.reading() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(columns[0]))]


def finish(store: Storage, guid: str, **fields: Any) -> None:
    store.queue.finish(begin(store, guid, **fields), End("done", "mona asked"), took_s=0)


def test_deliveries_about_a_person_lose_their_content_and_are_still_duplicates(
    store: Storage,
) -> None:
    add_analyses(store, "opened", number=7, sender="Mona", title="Crash", body=OPENED)
    # on mona's issue
    finish(store, "labeled", number=7, sender="lisa", action="labeled", body=b"{}")
    finish(
        store,
        "mentioned",
        number=8,
        sender="lisa",
        author="lisa",
        title="Hi",
        body=body("Thanks, @MONA!"),
    )
    finish(
        store,
        "assigned",
        number=9,
        sender="lisa",
        action="assigned",
        body=body(assignees=[{"login": "mona"}]),
    )
    accept(store, ignored("ignored", number=10, sender="mona", action="edited"))
    finish(
        store, "titled", number=13, sender="lisa", action="edited", title="For @mona", body=b"{  }"
    )
    finish(
        store,
        "other",
        number=11,
        sender="monalisa",
        title="Hi",
        body=body("@monalisa a@mona.example @mona-b"),
    )
    with_facts = begin(store, "facts", number=12, sender="lisa", action="edited")
    store.checkpoints.save(
        with_facts, Checkpoint("gather", 0, 1, '{"comments": [{"author": "mona"}]}')
    )
    store.queue.finish(with_facts, End("dead", "issue is locked"))
    before = store.statistics.counters()
    expected = {"calls": 1, "checkpoints": 1, "deliveries": 7}
    assert counts(store) == expected
    assert forget(store) == expected
    assert counts(store) == {}
    columns = (
        deliveries.c.guid,
        deliveries.c.sender,
        deliveries.c.author,
        deliveries.c.title,
        deliveries.c.reason,
    )
    gone = "`hls forget` deleted what was stored of it"
    assert rows(store.database, *columns) == [
        ("assigned", "lisa", None, None, gone),
        ("facts", "lisa", None, None, gone),
        ("ignored", None, None, None, gone),
        ("labeled", "lisa", None, None, gone),
        ("mentioned", "lisa", "lisa", None, gone),
        ("opened", None, None, None, gone),
        ("other", "monalisa", None, "Hi", "mona asked"),
        ("titled", "lisa", None, None, gone),
    ]
    assert [
        guid for guid, kept in rows(store.database, deliveries.c.guid, deliveries.c.body) if kept
    ] == ["other"]
    assert store.statistics.counters() == before
    assert rows(store.database, calls.c.reply, calls.c.reply_type) == [(None, None)]
    assert rows(store.database, checkpoints.c.value) == []
    accepted = accept(store, queued("opened", body=OPENED), queued("again", number=7, body=OPENED))
    assert [one.outcome for one in accepted] == ["duplicate", "replay"]
    assert row_of(store, "opened").state == "dead"


def test_questions_and_replies_go_and_are_not_used_again(store: Storage) -> None:
    question = QuestionTexts(b"1", "You review.", "{}", "Thanks, @mona!")
    key = CacheKey(1, b"a question")
    lease = begin(store, "paid", number=7, sender="lisa")
    call = start_call(store, lease, question=question)
    reply = StoredReply("p@1", "issue_response", '{"answer": "Yes, @mona."}', Usage("m"))
    store.calls.end(lease, call, outcome="ok", usage=None, error=None, reply=reply, cache_key=key)
    unusable = UnusableReply("p@1", "refused", "no", "Not for @lisa-b.", Usage("m"))
    refused = start_call(store, lease, index=1, question=question)
    store.calls.end(lease, refused, outcome="refused", usage=None, error="no", reply=unusable)
    store.queue.finish(lease, End("dead", "locked"))
    cached = store.reply_cache.find(key, ttl_h=1)
    assert cached is not None
    hit = begin(store, "hit", number=8, sender="paul")
    store.calls.save_cached(hit, cached, index=0, prompt_id="p@1")
    store.queue.finish(hit, End("dead", "locked"))
    assert len(store.forgetting.find("mona").ids) == 2  # the hit shows what was paid for
    assert forget(store, "paul") == {"calls": 2, "deliveries": 1}  # the hit, and the cache's key
    assert store.replies.of("hit") == NO_REPLIES
    assert store.reply_cache.find(key, ttl_h=1) is None
    assert store.questions.find("paid", b"1") is not None
    assert [one.reply for one in replies_to(store, "paid")] == ['{"answer": "Yes, @mona."}']
    assert forget(store) == {"calls": 2, "questions": 1, "deliveries": 1}
    assert (store.questions.find("paid", b"1"), store.replies.of("paid")) == (None, NO_REPLIES)
    assert counts(store) == {}
    assert [call.error for call in store.calls.calls_of("paid")] == [None, None]


def test_texts_of_issues_that_mention_the_person_are_deleted(store: Storage) -> None:
    kept = [
        NewText("8", "Crash", "It crashes."),
        NewText("9", "Hi", "a@mona.example @monalisa @mona-b"),
    ]
    named = [NewText("7", "Crash", "Ask @Mona."), NewText("10", "For @mona", "")]
    store.texts.replace(issue_scope(1), (), [*kept, *named])
    store.texts.replace(document_scope(1), (), [NewText("README.md", "Hi", "@mona wrote it.")])
    assert forget(store) == {"texts": 2}
    assert counts(store) == {}
    assert rows(store.database, texts.c.name) == [("8",), ("9",), ("README.md",)]


def test_reasons_lose_the_login_of_the_person_who_stopped_a_pull_request(store: Storage) -> None:
    lease = begin(store, "g1", number=7)
    store.interruptions.stop(lease, 7, by="Mona")
    stop = store.interruptions.find_stop(1, 7)
    store.queue.finish(lease, End("ignored", f"no review was requested: {stop}"), took_s=0)
    finish(store, "g2", number=8)
    others = begin(store, "g3", number=9)
    store.queue.finish(others, End("ignored", str(stop).replace("Mona", "a-mona")), took_s=0)
    assert forget(store) == {"stops": 1, "deliveries": 1}
    assert counts(store) == {}
    assert "no review was requested: ghost stopped HLS on this pull request" in (
        row_of(store, "g1").reason or ""
    )
    assert [row_of(store, guid).reason for guid in ("g2", "g3")] == [
        "mona asked",
        str(stop).replace("Mona", "a-mona"),
    ]


def test_texts_about_issues_that_the_person_opened_are_deleted(store: Storage) -> None:
    for guid, number, sender in (("g1", 7, "mona"), ("g2", 8, "lisa")):
        finish(store, guid, number=number, sender=sender)
        store.texts.replace(issue_scope(1), (), [NewText(str(number), "Crash", "It crashes.")])
        row = {"repository_id": 1, "bot_login": "hls", "number": number}
        comment = {"family": "issues", "comment_id": number, "body_digest": "", "state": "{}"}
        corrected = {
            "label": "bug",
            "field": "kind",
            "corrected_to": "",
            "title": "Crash",
            "prompt_id": "p",
        }
        times = {"is_pull_request": False, "set_at": 1, "recorded_at": 1}
        with store.database.writing() as connection:
            connection.execute(comments.insert().values(**row, **comment))
            connection.execute(corrections.insert().values(**row, **corrected, **times))
    assert forget(store) == {"deliveries": 1, "corrections": 1, "comments": 1, "texts": 1}
    assert rows(store.database, corrections.c.number) == [(8,)]
    assert rows(store.database, comments.c.comment_id, comments.c.state) == [(7, None), (8, "{}")]
    assert rows(store.database, texts.c.name) == [("8",)]
    assert counts(store) == {}


def test_logins_in_other_rows_are_replaced(store: Storage) -> None:
    lease = begin(store, "g1", number=7, author="Mona")
    store.interruptions.stop(lease, 7, by="Mona")
    begin_call(store, lease, with_budgets(outsiders={"day_usd": 1}), outsider="mona")
    store.queue.finish(lease, End("done", "so"), took_s=0)
    # total and hour of the outsider's budget; the author's end
    assert forget(store) == {"deliveries": 1, "stops": 1, "counters": 3}
    assert counts(store) == {}
    stop = store.interruptions.find_stop(1, 7)
    assert stop is not None
    assert stop.by == "ghost"


def test_dismissals_stay_without_the_login_and_what_had_lost_its_effect_does_not_count_again(
    store: Storage,
) -> None:
    dismissed = replace(
        STYLE, dismissed_by="Mona", dismissals=("reply 1 by Mona", "thumbs down by monalisa")
    )
    void = replace(OPEN, void_dismissals=("thumbs down by mona",), body="mona")
    save(store, replace(RECORD, ledger=(void, FIXED, dismissed)))
    lease = begin(store, "a-command", event="issue_comment", number=7)
    store.reviews.dismiss(lease, BOT, FIXED.key, by="mona")
    store.queue.finish(lease, End("done", "so"), took_s=0)
    assert forget(store) == {"findings": 2}
    assert counts(store) == {}
    found = {entry.key: entry for entry in read(store).ledger}
    assert found[OPEN.key] == void
    assert found[FIXED.key] == replace(FIXED, dismissals=("command a-comman by ghost",))
    kept = ("reply 1 by ghost", "thumbs down by monalisa")
    assert found[STYLE.key] == replace(dismissed, dismissed_by="ghost", dismissals=kept)


def test_open_deliveries_on_the_same_conversations_are_named(store: Storage) -> None:
    finish(store, "mentioned", number=8, sender="lisa", body=body("@mona"))
    accept(
        store,
        queued("elsewhere", number=9, sender="lisa"),
        queued("waits", number=8, sender="lisa", body=b"{}"),
    )
    begin_command = queued("command", number=8, sender="lisa", body=b"{ }", is_command=True)
    accept(store, begin_command, queued("own", number=10, sender="mona"))
    assert store.forgetting.find("mona").open_guids == ["waits", "command", "own"]


def test_a_delivery_that_runs_again_meanwhile_keeps_its_content(store: Storage) -> None:
    dead_letter(store, "g1")
    finish(store, "mentioned", number=8, sender="lisa", body=body("@mona"))
    with store.database.writing() as connection:
        connection.execute(
            deliveries.update().where(deliveries.c.guid == "g1").values(sender="mona")
        )
    traces = store.forgetting.find("mona")
    store.queue.retry("g1")
    assert store.forgetting.forget(traces, dry_run=False) == {"deliveries": 1}
    assert (row_of(store, "g1").sender, store.deliveries.body("g1")) == (
        "mona",
        b'{"delivery": "g1"}',
    )
