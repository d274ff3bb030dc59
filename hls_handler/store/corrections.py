"""What people made of our labels on one thread: noted once, whichever way it is noticed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, func, or_, select

from hls_handler.deliveries import Lease
from hls_handler.handlers.corrections import COUNTED_DAYS, Word, judge
from hls_handler.store.clock import HOUR_MS, to_ms
from hls_handler.store.counters import CORRECTION_WITHDRAWN, LABEL_CORRECTED, of_field
from hls_handler.store.database import Database
from hls_handler.store.part import Part, Shared
from hls_handler.store.tables import corrections, deliveries, labels
from hls_handler.untrusted.cleaning import clean
from hls_handler.untrusted.redaction import redact

COUNTED_MS = COUNTED_DAYS * 24 * HOUR_MS
LONGEST_TITLE, LONGEST_LABEL = 120, 50
"""Characters that are kept: of a title its beginning, of a label all that GitHub lets it have."""

BY_A_BOT = "other bot"
"""What changes of labels by bots are counted under when they are ignored."""

_d, _l, _c = deliveries.c, labels.c, corrections.c


def _here(table: Table) -> ColumnElement[bool]:
    """The rows of one thread and one identity."""
    return and_(*(table.c[name] == bindparam(name) for name in ("repository_id", "identity", "number")))


_SET_BY_US = select(_l.name, _l.field, _l.prompt_id, _l.set_at).where(
    _here(labels),
    _l.state != "intended",
    _l.prompt_id.is_not(None),
    _l.set_at > bindparam("since"),
    _l.set_at <= bindparam("until"),
)
_NOTED = select(corrections).where(_here(corrections), _c.set_at > bindparam("since"), _c.set_at <= bindparam("until"))
_LAST_BY_A_BOT = select(func.max(_d.received_at)).where(
    _d.thread_key == bindparam("of_thread"),
    or_(_d.action == "labeled", _d.action == "unlabeled"),
    _d.reason_kind == BY_A_BOT,
)
_OURS = select(_l.name).where(_here(labels), _l.state != "gone")
_WITHDRAW = corrections.delete().where(_here(corrections), _c.said == bindparam("of_label"))


@dataclass(frozen=True, slots=True)
class _Known:
    word: Word
    set_at: int


@dataclass(frozen=True, slots=True)
class Noted:
    """What a look at a thread came to."""

    words: int  # labels of ours that could be judged
    changed: tuple[Word, ...]  # those of which people think otherwise than before


class ThreadFeedback(Part):
    """Our labels on the lease's thread, as people see them. What is noted raises `LeaseLost` when the lease has ended.

    A label is no word of ours, and not judged, if it was set over a month ago, or before we kept whose word it was.
    """

    def __init__(self, database: Database, shared: Shared, lease: Lease, identity: str) -> None:
        super().__init__(database, shared)
        self._lease = lease
        self._thread: dict[str, object] = {
            "repository_id": lease.repository_id,
            "identity": identity,
            "number": lease.number,
        }

    def heard(
        self,
        field: str,
        shown: Iterable[str],
        *,
        at: datetime,
        title: str,
        pull_request: bool,
        fields: Mapping[str, str],
    ) -> Noted:
        """Note a person's change of a field's labels, `shown` being those that the thread had after it.

        Labels that we set after `at`, when the event was received, are not what it is about.
        """
        with self._database.writing(durable=False) as connection:
            self._fenced(connection, self._lease)
            words = self._words(connection, until=to_ms(at))
            own = {said: known for said, known in words.items() if known.word.field == field}
            return self._note(connection, own, shown, title, pull_request=pull_request, fields=fields)

    def seen(self, shown: Iterable[str], *, title: str, pull_request: bool, fields: Mapping[str, str]) -> Noted:
        """Note what people changed, by the labels that the thread has now.

        It cannot be seen who changed them: where a bot did something about our labels, they are left alone. Where none
        of ours could be judged, as on most threads, that is seen by reading alone.
        """
        with self._database.reading() as connection:
            if not self._words(connection):
                return Noted(0, ())
        with self._database.writing(durable=False) as connection:
            self._fenced(connection, self._lease)
            words = self._words(connection)
            bots = self._changed_by_bots_at(connection)
            people = {said: known for said, known in words.items() if known.set_at > bots}
            return self._note(connection, people, shown, title, pull_request=pull_request, fields=fields)

    def _words(self, connection: Connection, *, until: int | None = None) -> dict[str, _Known]:
        """By label. One that we have taken away since is a word of ours only if people spoke of it."""
        now = self._database.now_in(connection)
        since, until = now - COUNTED_MS, now if until is None else until
        terms = {**self._thread, "since": since, "until": until}
        found = {
            row.name: _Known(Word(row.field, row.name, row.prompt_id, None), row.set_at)
            for row in connection.execute(_SET_BY_US, terms)
        }
        for row in connection.execute(_NOTED, terms):
            found[row.said] = _Known(Word(row.field, row.said, row.prompt_id, row.became), row.set_at)
        return found

    def _changed_by_bots_at(self, connection: Connection) -> int:
        """When a bot last did something about labels of this thread; 0 if none ever did."""
        return connection.execute(_LAST_BY_A_BOT, {"of_thread": self._lease.thread_key}).scalar() or 0

    def _note(
        self,
        connection: Connection,
        known: Mapping[str, _Known],
        shown: Iterable[str],
        title: str,
        *,
        pull_request: bool,
        fields: Mapping[str, str],
    ) -> Noted:
        changed = judge(
            [one.word for one in known.values()],
            shown,
            ours=connection.execute(_OURS, self._thread).scalars().all(),
            field_of=fields,
        )
        counts: Counter[tuple[str, str]] = Counter()
        for word in changed:
            label = of_field(word.prompt_id, word.field)
            if word.became is None:
                connection.execute(_WITHDRAW, {**self._thread, "of_label": word.said})
                counts[CORRECTION_WITHDRAWN, label] += 1
                continue
            if known[word.said].word.became is None:
                counts[LABEL_CORRECTED, label] += 1
            told = {
                "became": redact(word.became)[:LONGEST_LABEL],
                "title": redact(clean(title))[:LONGEST_TITLE],
                "noted_at": self._database.now,
            }
            new = self._database.insert(corrections).values(
                self._thread
                | {"said": word.said, "field": word.field, "prompt_id": word.prompt_id}
                | {"is_pull_request": pull_request, "set_at": known[word.said].set_at}
                | told
            )
            keys = ["repository_id", "identity", "number", "said"]
            connection.execute(new.on_conflict_do_update(index_elements=keys, set_=told))
        self._count(connection, counts)
        return Noted(len(known), changed)


class Correcting(Part):
    """What people made of our labels, for those who work on a thread."""

    def feedback(self, lease: Lease, identity: str) -> ThreadFeedback:
        """Of the lease's thread, as `identity` (our login)."""
        return ThreadFeedback(self._database, self._shared, lease, identity)
