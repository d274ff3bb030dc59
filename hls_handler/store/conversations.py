"""Labels and comments that the bot wrote on conversations, and the bot accounts that wrote them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Executable,
    Table,
    Text,
    and_,
    bindparam,
    func,
    literal_column,
    select,
    union,
    union_all,
)

from hls_handler.actions import StoredComment, field_of
from hls_handler.db.counters import Counts
from hls_handler.db.database import Database, Insert
from hls_handler.db.tables import bot_accounts, comments, deliveries, labels
from hls_handler.deliveries import Lease
from hls_handler.events import Account
from hls_handler.github.labels import NO_ORIGINS, LabelOrigin, LabelState
from hls_handler.queue.checkpoints import PendingChanges

LABEL_SET = "label_set"
"""Counter of the labels that the bot set because a reply asked for them. `field_label` returns the
counter's label.
"""

ONCE = ""
"""Name of the row of an issue that got a type, or of a pull request that got reviewers, beside the
rows of its labels, whose names are never empty.
"""

_d = deliveries.c


@dataclass(frozen=True, slots=True)
class ConversationRef:
    repository_id: int
    bot_login: str
    number: int

    @property
    def columns(self) -> dict[str, object]:
        return asdict(self)


def is_of_conversation(table: Table) -> ColumnElement[bool]:
    """Return the SQL condition for the rows of one conversation. The bind parameters are
    `ConversationRef.columns`.
    """
    return and_(*(table.c[name] == bindparam(name) for name in ConversationRef.__annotations__))


_NO_TEXT = literal_column("NULL", Text)
_NO_NUMBER = literal_column("NULL", BigInteger)
_STATE = union_all(
    select(
        labels.c.name,
        labels.c.state,
        labels.c.field,
        labels.c.prompt_id,
        labels.c.set_at,
        _NO_NUMBER,
    ).where(is_of_conversation(labels)),
    select(
        comments.c.family,
        comments.c.state,
        comments.c.body_digest,
        _NO_TEXT,
        _NO_NUMBER,
        comments.c.comment_id,
    ).where(is_of_conversation(comments)),
)
_DELETE_LABELS = labels.delete().where(
    is_of_conversation(labels), labels.c.name.in_(bindparam("names", expanding=True))
)


@dataclass(frozen=True, slots=True)
class LabelUpdate:
    """Store `state` for labels of a conversation. If `state` is None, delete the rows of these
    labels.
    """

    conversation: ConversationRef
    names: tuple[str, ...]  # sorted, because different orders could cause a deadlock
    state: LabelState | None
    origins: Mapping[str, LabelOrigin] = field(default_factory=lambda: NO_ORIGINS)
    """Of "intended" labels that a reply asked for; of "set" labels those that are counted in
    `label_set` now.
    """

    def write(self, database: Database, connection: Connection, _delivery_id: int) -> Counts:
        columns = self.conversation.columns
        if self.state is None:
            connection.execute(_DELETE_LABELS, {**columns, "names": self.names})
            return {}
        columns |= {
            "state": self.state,
            "set_at": database.now_in(connection) if self.state == "set" else None,
        }
        origins = self.origins if self.state == "intended" else NO_ORIGINS
        rows = [
            {**columns, "name": name, **_origin_columns(origins.get(name))} for name in self.names
        ]
        connection.execute(database.statement(_upsert_labels), rows)
        if self.state != "set":
            return {}
        return Counter(
            (LABEL_SET, field_label(origin.prompt_id, origin.group))
            for origin in self.origins.values()
        )


def _origin_columns(origin: LabelOrigin | None) -> dict[str, object]:
    return {"field": origin and origin.group, "prompt_id": origin and origin.prompt_id}


def _upsert_labels(database: Database) -> Executable:
    """Return the statement that stores labels. Columns without a new value keep theirs; `set_at` is
    the first time.
    """
    new = database.insert(labels)
    old = labels.c
    replaced = {
        "state": new.excluded["state"],
        "field": func.coalesce(new.excluded["field"], old.field),
        "prompt_id": func.coalesce(new.excluded["prompt_id"], old.prompt_id),
        "set_at": func.coalesce(old.set_at, new.excluded["set_at"]),
    }
    return database.make_rows_insert(
        new.on_conflict_do_update(index_elements=list(labels.primary_key), set_=replaced)
    )


@dataclass(frozen=True, slots=True)
class CommentChange:
    """Store the bot's comment on a conversation as it was written."""

    conversation: ConversationRef
    family: str  # of `EnsureComment`: "issues"; a conversation has one comment of each
    comment: StoredComment

    def write(self, database: Database, connection: Connection, _delivery_id: int) -> Counts:
        row = {**self.conversation.columns, "family": self.family, **asdict(self.comment)}
        connection.execute(database.statement(_upsert_comment), row)
        return {}


def _upsert_comment(database: Database) -> Insert:
    return database.upsert(comments, "comment_id", "body_digest", "state")


@dataclass(frozen=True, slots=True)
class ConversationState:
    labels: dict[str, LabelState]
    comments: dict[str, StoredComment]  # by `EnsureComment.family`
    # labels that GitHub confirmed once
    confirmed: set[str] = field(default_factory=set, compare=False)
    unconfirmed: dict[str, LabelOrigin] = field(default_factory=dict, compare=False)
    """Labels that a reply asked for and that GitHub has not confirmed yet."""


class ConversationHistory:
    """The bot's labels and comments on one conversation: what is stored, and changes on top of it.

    The stored ones are read at the first use. Changes are added to `pending`, which the delivery's
    next transaction stores.
    """

    def __init__(
        self,
        conversation: ConversationRef,
        pending: PendingChanges,
        read: Callable[[], ConversationState],
    ) -> None:
        self._conversation = conversation
        self._pending = pending
        self._read = read
        self._known: ConversationState | None = None

    def labels(self) -> dict[str, LabelState]:
        """Return {label: state}: "intended" before the bot's write, "set" after it, "removed" by a
        person.
        """
        return {name: state for name, state in self._state.labels.items() if name != ONCE}

    def was_done_once(self) -> bool:
        """Return True if the issue got a type, or the pull request got reviewers. The bot does not
        set them again.
        """
        return ONCE in self._state.labels

    def record_done_once(self) -> None:
        self.change_labels((ONCE,), "set")

    def forget_done_once(self) -> None:
        self.change_labels((ONCE,), None)

    def change_labels(
        self,
        names: Iterable[str],
        state: LabelState | None,
        origins: Mapping[str, LabelOrigin] = NO_ORIGINS,
    ) -> None:
        """Record the state of labels.

        "intended" is recorded before the bot adds or removes them: else a retry could attribute the
        change to a person. `origins` are those of the labels that a reply asked for; "set" counts
        them in `label_set`. "removed" labels are not added again. None deletes the state of labels
        that the bot removed, or whose addition had no effect.
        """
        changed = tuple(sorted(set(names)))
        stored = self._state
        for name in changed:
            stored.labels.pop(name, None)
            if state is not None:
                stored.labels[name] = state
        if state is None:
            stored.confirmed.difference_update(changed)
        elif state == "intended":
            new = {name: origin for name, origin in origins.items() if name not in stored.confirmed}
            stored.unconfirmed.update(new)
        elif state == "set":
            origins = {
                name: stored.unconfirmed.pop(name) for name in changed if name in stored.unconfirmed
            }
            stored.confirmed.update(changed)
        if changed:
            self._pending.add(LabelUpdate(self._conversation, changed, state, origins))

    def comment(self, family: str) -> StoredComment | None:
        """Return the bot's comment with this `EnsureComment.family`. On GitHub, it may be deleted
        by now.
        """
        return self._state.comments.get(family)

    def count_comments(self) -> int:
        return len(self._state.comments)

    def store_comment(self, family: str, comment: StoredComment) -> None:
        self._state.comments[family] = comment
        self._pending.add(CommentChange(self._conversation, family, comment))

    @property
    def _state(self) -> ConversationState:
        if self._known is None:  # no cached_property: its lock is that of all threads
            self._known = self._read()
        return self._known


class Conversations:
    def __init__(self, database: Database) -> None:
        self._database = database

    def history(
        self, lease: Lease, bot_login: str, *, pending: PendingChanges
    ) -> ConversationHistory:
        if lease.repository_id is None or lease.number is None:
            raise ValueError(
                f"delivery {lease.guid} has no issue or pull request whose labels could be stored"
            )
        conversation = ConversationRef(lease.repository_id, bot_login, lease.number)
        return ConversationHistory(
            conversation, pending, partial(read_conversation, self._database, conversation)
        )

    def find(self, repository_id: int, number: int, bot_login: str) -> ConversationState:
        return read_conversation(self._database, ConversationRef(repository_id, bot_login, number))

    def list_accounts_that_wrote(self, repository_id: int, number: int) -> frozenset[str]:
        """Return the logins of the accounts whose comments or labels are stored for a
        conversation.
        """
        queries = [
            select(table.c.bot_login).where(
                table.c.repository_id == repository_id, table.c.number == number
            )
            for table in (comments, labels)
        ]
        with self._database.reading() as connection:
            return frozenset(connection.execute(union(*queries)).scalars())

    def has_labels_by(self, bot_login: str) -> bool:
        """Return whether HLS has set labels with this account."""
        query = select(labels.c.bot_login).where(labels.c.bot_login == bot_login).limit(1)
        with self._database.reading() as connection:
            return connection.execute(query).first() is not None


def read_conversation(database: Database, conversation: ConversationRef) -> ConversationState:
    conversation_state = ConversationState({}, {})
    with database.reading() as connection:
        for name, state, field_or_digest, prompt_id, set_at, comment_id in connection.execute(
            _STATE, conversation.columns
        ):
            if comment_id is not None:
                conversation_state.comments[name] = StoredComment(
                    comment_id, field_or_digest, state
                )
                continue
            conversation_state.labels[name] = state
            if set_at is not None:
                conversation_state.confirmed.add(name)
            elif prompt_id is not None:
                conversation_state.unconfirmed[name] = LabelOrigin(field_or_digest, prompt_id)
    return conversation_state


class BotAccounts:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, fingerprint: str) -> Account | None:
        """Return the account of the token with this fingerprint; None if it is not stored."""
        query = select(bot_accounts).where(bot_accounts.c.fingerprint == fingerprint)
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return (
            None
            if row is None
            else Account(login=row.login, id=row.account_id, type=row.account_type)
        )

    def save(self, fingerprint: str, account: Account) -> None:
        columns = {"login": account.login, "account_id": account.id, "account_type": account.type}
        with self._database.writing() as connection:
            save = self._database.upsert(bot_accounts, *columns)
            connection.execute(save, {"fingerprint": fingerprint, **columns})


def field_label(prompt_id: str, group: str) -> str:
    """Return a counter's label, "issues/analyze@3f9c2a:areas": the prompt's id, and
    `field_of(group)`.
    """
    return f"{prompt_id}:{field_of(group)}"
