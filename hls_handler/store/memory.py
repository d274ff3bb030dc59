"""What we did on a thread, as one identity: labels and comments, so that what a person changed stays changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, select
from sqlalchemy.sql.dml import ReturningInsert

from hls_handler.deliveries import Lease
from hls_handler.events import Account
from hls_handler.handlers.labelling import NO_ORIGINS, LabelState, Origin
from hls_handler.store.counters import LABEL_SET, of_field
from hls_handler.store.database import Database
from hls_handler.store.part import Counts, Part, Shared
from hls_handler.store.steps import Keepable, Write
from hls_handler.store.tables import comments, identities, labels

_NO_ORIGIN: Mapping[str, str | None] = {"field": None, "prompt_id": None}
_OF_THREAD = ("repository_id", "identity", "number")
_ITS_LABELS = and_(*(labels.c[name] == bindparam(name) for name in _OF_THREAD))
_LABELS = select(labels.c.name, labels.c.state).where(_ITS_LABELS)
_SAID_FIRST = select(labels.c.name, labels.c.prompt_id, labels.c.field).where(
    _ITS_LABELS, labels.c.set_at.is_(None), labels.c.prompt_id.is_not(None)
)
_COMMENT = select(comments.c.comment_id, comments.c.body_digest).where(
    *(comments.c[name] == bindparam(name) for name in (*_OF_THREAD, "family"))
)


@dataclass(frozen=True, slots=True)
class KnownComment:
    """A comment of ours, as it was last written."""

    comment_id: int
    body_digest: str  # as given to `remember_comment`


@dataclass(frozen=True, slots=True)
class ThreadWrite:
    """A write to the memory of a thread that waits for its transaction, and what is read of it until then."""

    run: Write
    labels: Mapping[str, LabelState | None] = field(default_factory=dict)  # None: forgotten
    comments: Mapping[str, KnownComment] = field(default_factory=dict)  # by prompt family

    def __call__(self, connection: Connection) -> Counts:
        return self.run(connection)


@dataclass(frozen=True, slots=True)
class ThreadKnowledge:
    """All that is remembered of one thread, for whoever only looks."""

    labels: Mapping[str, LabelState]
    comments: Mapping[str, KnownComment]  # by prompt family


class ThreadMemory(Part):
    """Our labels and comments on the lease's thread. What writes raises `LeaseLost` when the lease has ended."""

    def __init__(
        self, database: Database, shared: Shared, lease: Lease, identity: str, pending: list[Keepable] | None
    ) -> None:
        super().__init__(database, shared)
        self._pending = pending
        if lease.repository_id is None or lease.number is None:
            raise ValueError(f"delivery {lease.guid} is about no issue or pull request: there is no thread to remember")
        self._lease = lease
        self._thread: dict[str, object] = {
            "repository_id": lease.repository_id,
            "identity": identity,
            "number": lease.number,
        }

    def labels(self) -> dict[str, LabelState]:
        """Labels that we meant to add ("intended"), added ("ours"), or that a person took away from us ("gone")."""
        with self._database.reading() as connection:
            known: dict[str, LabelState] = {row.name: row.state for row in connection.execute(_LABELS, self._thread)}
        for name, state in chain.from_iterable(write.labels.items() for write in self._waiting()):
            known.pop(name, None)
            if state is not None:
                known[name] = state
        return known

    def intend_labels(self, names: Iterable[str], origins: Mapping[str, Origin] = NO_ORIGINS) -> None:
        """We are about to write these: should the answer be lost, they are ours if the thread has them then.

        `origins` are those of labels that are added, as far as they have one.
        """
        kept: dict[str, Mapping[str, str | None]] = {
            name: {"field": origin.field, "prompt_id": origin.prompt_id} for name, origin in origins.items()
        }
        wanted = sorted(set(names))

        def intend(connection: Connection) -> Counts:
            self._set_labels(connection, self._shared.label_with_origin, "intended", wanted, kept)
            return {}

        self._write(ThreadWrite(intend, dict.fromkeys(wanted, "intended")), durable=False)

    def confirm_labels(self, names: Iterable[str]) -> None:
        """We added these. One that came from a reply is counted as set."""
        added = sorted(set(names))

        def confirm(connection: Connection) -> Counts:
            said_first = [row for row in connection.execute(_SAID_FIRST, self._thread) if row.name in added]
            self._set_labels(connection, self._shared.label_that_is_set, "ours", added)
            return Counter((LABEL_SET, of_field(row.prompt_id, row.field)) for row in said_first)

        self._write(ThreadWrite(confirm, dict.fromkeys(added, "ours")), durable=True)

    def labels_gone(self, names: Iterable[str]) -> None:
        """These were ours, and a person took them away: they do not come back."""
        gone = sorted(set(names))

        def note_that_they_are_gone(connection: Connection) -> Counts:
            self._set_labels(connection, self._shared.label, "gone", gone)
            return {}

        self._write(ThreadWrite(note_that_they_are_gone, dict.fromkeys(gone, "gone")), durable=False)

    def forget_labels(self, names: Iterable[str]) -> None:
        """These are no longer ours, because we took them away."""
        forgotten = list(names)

        def forget(connection: Connection) -> Counts:
            connection.execute(labels.delete().where(self._here(labels), labels.c.name.in_(forgotten)))
            return {}

        self._write(ThreadWrite(forget, dict.fromkeys(forgotten)), durable=False)

    def comment(self, family: str) -> KnownComment | None:
        """The comment that we made for a prompt family, whether or not it is still there."""
        for write in reversed(self._waiting()):
            if family in write.comments:
                return write.comments[family]
        with self._database.reading() as connection:
            row = connection.execute(_COMMENT, {**self._thread, "family": family}).first()
        return None if row is None else KnownComment(row.comment_id, row.body_digest)

    def remember_comment(self, family: str, comment_id: int, body_digest: str) -> None:
        """This is our comment of the family, and what it says."""
        row = {**self._thread, "family": family, "comment_id": comment_id, "body_digest": body_digest}

        def keep(connection: Connection) -> Counts:
            connection.execute(self._shared.comment, row)
            return {}

        self._write(ThreadWrite(keep, comments={family: KnownComment(comment_id, body_digest)}), durable=True)

    def _write(self, write: ThreadWrite, *, durable: bool) -> None:
        """Now, or with the delivery's next transaction."""
        if self._pending is not None:
            self._pending.append(write)
            return
        with self._database.writing(durable=durable) as connection:
            self._fenced(connection, self._lease)
            self._count(connection, write(connection))

    def _waiting(self) -> Sequence[ThreadWrite]:
        """What was written and has no transaction yet, oldest first."""
        return [write for write in self._pending or () if isinstance(write, ThreadWrite)]

    def _set_labels(
        self,
        connection: Connection,
        upsert: ReturningInsert[Any],
        state: LabelState,
        names: Sequence[str],
        origins: Mapping[str, Mapping[str, str | None]] | None = None,
    ) -> None:
        """`names` are sorted: in one order, no two wait for each other's. `origins` where the statement keeps them."""
        rows = [
            {**self._thread, "name": name, "state": state, **({} if origins is None else origins.get(name, _NO_ORIGIN))}
            for name in names
        ]
        if rows:
            connection.execute(upsert, rows)

    def _here(self, table: Table) -> ColumnElement[bool]:
        return _at(table, self._thread)


class Identities(Part):
    """Who we are on GitHub, and what we did there."""

    def memory(self, lease: Lease, identity: str, *, pending: list[Keepable] | None = None) -> ThreadMemory:
        """Our memory of the lease's thread, as `identity` (our login).

        With `pending`, what is written goes there, for the delivery's next transaction, and is read from there; whoever
        gives it sees to it that there is one before GitHub or Claude is asked for anything more.
        """
        return ThreadMemory(self._database, self._shared, lease, identity, pending)

    def known_of_thread(self, repository_id: int, number: int, identity: str) -> ThreadKnowledge:
        """What `identity` did on a thread, read without a lease and without writing."""
        here = {"repository_id": repository_id, "number": number, "identity": identity}
        with self._database.reading() as connection:
            of_labels = connection.execute(_LABELS, here).all()
            of_comments = connection.execute(select(comments).where(_at(comments, here))).all()
        return ThreadKnowledge(
            labels={row.name: row.state for row in of_labels},
            comments={row.family: KnownComment(row.comment_id, row.body_digest) for row in of_comments},
        )

    def identity(self, fingerprint: str) -> Account | None:
        """The account behind a credential, by the credential's fingerprint, if GitHub was asked before."""
        known = select(identities).where(identities.c.fingerprint == fingerprint)
        with self._database.reading() as connection:
            row = connection.execute(known).first()
        return None if row is None else Account(login=row.login, id=row.account_id, type=row.account_type)

    def remember_identity(self, fingerprint: str, account: Account) -> None:
        """Keep the account behind a credential."""
        kept = {
            "login": account.login,
            "account_id": account.id,
            "account_type": account.type,
            "seen_at": self._database.now,
        }
        new = self._database.insert(identities).values(fingerprint=fingerprint, **kept)
        with self._database.writing() as connection:
            connection.execute(new.on_conflict_do_update(index_elements=["fingerprint"], set_=kept))


def _at(table: Table, thread: Mapping[str, object]) -> ColumnElement[bool]:
    """The rows of one thread and one identity."""
    return and_(*(table.c[name] == value for name, value in thread.items()))
