"""Labels and comments that the bot wrote on conversations, and the bot accounts that wrote them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, exists, func, or_, select, union

from hls_handler.actions import StoredComment
from hls_handler.db.counters import Counts
from hls_handler.db.database import Database
from hls_handler.db.tables import analyses, bot_accounts, comments, deliveries, labels
from hls_handler.db.values import is_caught_up, literal
from hls_handler.deliveries import Lease
from hls_handler.events import Account
from hls_handler.handlers.labels import NO_ORIGINS, LabelOrigin, LabelState
from hls_handler.queue.checkpoints import PendingChanges

LABEL_SET = "label_set"
"""Counter of the labels that the bot set because a reply asked for them. `field_label` returns the counter's label."""

_d = deliveries.c


@dataclass(frozen=True, slots=True)
class ConversationRef:
    repository_id: int
    bot_login: str
    number: int

    @property
    def columns(self) -> dict[str, object]:
        return asdict(self)


def of_conversation(table: Table) -> ColumnElement[bool]:
    """Return the SQL condition for the rows of one conversation. The bind parameters are `ConversationRef.columns`."""
    return and_(*(table.c[name] == bindparam(name) for name in ConversationRef.__annotations__))


_LABELS = select(labels.c.name, labels.c.state).where(of_conversation(labels))
_COMMENTS = select(comments).where(of_conversation(comments))
_DELETE_LABELS = labels.delete().where(of_conversation(labels), labels.c.name.in_(bindparam("names", expanding=True)))
_SET_FIRST = select(labels.c.name, labels.c.prompt_id, labels.c.field).where(
    of_conversation(labels), labels.c.set_at.is_(None), labels.c.prompt_id.is_not(None)
)


@dataclass(frozen=True, slots=True)
class LabelChange:
    """Store `state` for labels of a conversation. If `state` is None, delete the rows of these labels."""

    conversation: ConversationRef
    names: tuple[str, ...]  # sorted, because different orders could cause a deadlock
    state: LabelState | None
    origins: Mapping[str, LabelOrigin] = field(default_factory=lambda: NO_ORIGINS)  # of "intended" labels

    def write(self, database: Database, connection: Connection, _delivery_id: int) -> Counts:
        columns = self.conversation.columns
        if self.state is None:
            connection.execute(_DELETE_LABELS, {**columns, "names": self.names})
            return {}
        first_set = connection.execute(_SET_FIRST, columns).all() if self.state == "set" else []
        new = database.insert(labels)
        replaced: dict[str, ColumnElement[Any]] = {"state": new.excluded["state"]}
        rows: list[dict[str, object]] = [{**columns, "name": name, "state": self.state} for name in self.names]
        if self.state == "intended":
            for name, row in zip(self.names, rows, strict=True):
                origin = self.origins.get(name)
                row |= {"field": origin.group if origin else None, "prompt_id": origin.prompt_id if origin else None}
            kept = ("field", "prompt_id")
            replaced |= {column: func.coalesce(new.excluded[column], labels.c[column]) for column in kept}
        elif self.state == "set":
            replaced["set_at"] = func.coalesce(labels.c.set_at, new.excluded["set_at"])
            new = new.values(set_at=database.now)
        upsert = new.on_conflict_do_update(index_elements=list(labels.primary_key), set_=replaced)
        connection.execute(upsert.returning(labels.c.name), rows)
        return Counter(
            (LABEL_SET, field_label(row.prompt_id, row.field)) for row in first_set if row.name in self.names
        )


@dataclass(frozen=True, slots=True)
class CommentChange:
    """Store the bot's comment on a conversation as it was written."""

    conversation: ConversationRef
    family: str  # of `EnsureComment`: "issues"; a conversation has one comment of each
    comment: StoredComment

    def write(self, database: Database, connection: Connection, _delivery_id: int) -> Counts:
        row = {**self.conversation.columns, "family": self.family, **asdict(self.comment)}
        connection.execute(database.upsert(comments, "comment_id", "body_digest", "state"), row)
        return {}


@dataclass(frozen=True, slots=True)
class ConversationState:
    """The stored labels and comments of the bot on one conversation."""

    labels: dict[str, LabelState]
    comments: dict[str, StoredComment]  # by `EnsureComment.family`


_own = deliveries.alias("own")
_NEWER = and_(  # no rows for a delivery without a conversation
    _d.conversation_key == bindparam("of_conversation"),
    _d.id > select(_own.c.id).where(_own.c.guid == bindparam("of_guid")).scalar_subquery(),
)
_HAS_NEWER = select(_d.id).where(_NEWER).limit(1)  # usually no row; a tenth of the cost of _SELECT_NEWER
# A delivery that catch-up read was stored later than it happened: it is newer only than others that catch-up read.
_LATER_EVENT = and_(
    _NEWER, or_(~is_caught_up(deliveries), exists().where(_own.c.guid == bindparam("of_guid"), is_caught_up(_own)))
)
_NEWEST_HEAD = (
    select(_d.head_sha)
    .where(
        _LATER_EVENT,
        _d.event == "pull_request",
        _d.state.in_([literal("queued"), literal("running"), literal("done")]),
        _d.head_sha.is_not(None),
    )
    .order_by(_d.id.desc())
    .limit(1)
)
_EARLIER_PULLS = (
    select(_d.guid, _d.state)
    .where(
        _d.conversation_key == bindparam("of_conversation"),
        _d.id < select(_own.c.id).where(_own.c.guid == bindparam("of_guid")).scalar_subquery(),
        _d.event == "pull_request",
        or_(_d.state == literal("superseded"), and_(_d.state == literal("done"), _d.analysis_status == "done")),
    )
    .order_by(_d.id.desc())
    .limit(20)
)
_LAST_CLOSING = (
    select(_d.action)
    .where(
        _LATER_EVENT,
        or_(_d.event == "issues", _d.event == "pull_request"),
        or_(*(_d.action == action for action in ("closed", "deleted", "transferred", "reopened"))),
    )
    .order_by(_d.id.desc())
    .limit(1)
)
_IS_ANSWERED = exists().where(
    _LATER_EVENT,
    _d.state == literal("done"),
    _d.posting_status == "done",
    analyses.c.delivery_id == _d.id,
    analyses.c.step_index == 0,
    func.substr(analyses.c.prompt_id, 1, bindparam("length")) == bindparam("up_to_its_hash"),
)
_SELECT_NEWER = select(
    _NEWEST_HEAD.scalar_subquery().label("head_sha"),
    _LAST_CLOSING.scalar_subquery().label("closing"),
    _IS_ANSWERED.label("is_answered"),
)


@dataclass(frozen=True, slots=True)
class NewerEvents:
    """Summary of the newer events on a delivery's conversation, which may supersede the delivery."""

    head_sha: str | None  # the newest head commit, if it differs from the delivery's or from the described one
    is_closed: bool  # closed, deleted or transferred, and not reopened after that
    is_answered: bool  # the same prompt answered a newer event, and the result was posted


class ConversationHistory:
    """The bot's labels and comments on one conversation: what is stored, and changes on top of it.

    The stored ones are read at the first use. Changes are added to `pending`, which the delivery's next transaction
    stores.
    """

    def __init__(self, database: Database, lease: Lease, bot_login: str, pending: PendingChanges) -> None:
        if lease.repository_id is None or lease.number is None:
            raise ValueError(f"delivery {lease.guid} has no issue or pull request whose labels could be stored")
        self._database, self._pending = database, pending
        self._conversation = ConversationRef(lease.repository_id, bot_login, lease.number)

    def labels(self) -> dict[str, LabelState]:
        """Return {label: state}: "intended" before the bot's write, "set" after it, "removed" by a person."""
        return dict(self._state.labels)

    def change_labels(
        self, names: Iterable[str], state: LabelState | None, origins: Mapping[str, LabelOrigin] = NO_ORIGINS
    ) -> None:
        """Record the state of labels.

        "intended" is recorded before the bot adds or removes them: else a retry could attribute the change to a person.
        `origins` are those of the labels that a reply asked for; "set" counts them in `label_set`. "removed" labels are
        not added again. None deletes the state of labels that the bot removed, or whose addition had no effect.
        """
        changed = tuple(sorted(set(names)))
        for name in changed:
            self._state.labels.pop(name, None)
            if state is not None:
                self._state.labels[name] = state
        if changed:
            self._pending.add(LabelChange(self._conversation, changed, state, origins))

    def comment(self, family: str) -> StoredComment | None:
        """Return the bot's comment with this `EnsureComment.family`. On GitHub, it may be deleted by now."""
        return self._state.comments.get(family)

    def count_comments(self) -> int:
        """Return the number of the bot's comments on the conversation."""
        return len(self._state.comments)

    def store_comment(self, family: str, comment: StoredComment) -> None:
        self._state.comments[family] = comment
        self._pending.add(CommentChange(self._conversation, family, comment))

    @cached_property
    def _state(self) -> ConversationState:
        return read_conversation(self._database, self._conversation)


class Conversations:
    def __init__(self, database: Database) -> None:
        self._database = database

    def history(self, lease: Lease, bot_login: str, *, pending: PendingChanges) -> ConversationHistory:
        return ConversationHistory(self._database, lease, bot_login, pending)

    def find(self, repository_id: int, number: int, bot_login: str) -> ConversationState:
        return read_conversation(self._database, ConversationRef(repository_id, bot_login, number))

    def find_writers(self, repository_id: int, number: int) -> frozenset[str]:
        """Return the logins of the accounts whose comments or labels are stored for a conversation."""
        own = [
            select(table.c.bot_login).where(table.c.repository_id == repository_id, table.c.number == number)
            for table in (comments, labels)
        ]
        with self._database.reading() as connection:
            return frozenset(connection.execute(union(*own)).scalars())

    def superseded_since_review(self, lease: Lease) -> list[str]:
        """Return the GUIDs of the pull request events superseded since the last analysis, the newest first."""
        terms = {"of_guid": lease.guid, "of_conversation": lease.conversation_key or ""}
        with self._database.reading() as connection:
            rows = connection.execute(_EARLIER_PULLS, terms).all()
        return [row.guid for row in takewhile(lambda row: row.state == "superseded", rows)]

    def find_newer(self, lease: Lease, prompt: str, *, described: str | None = None) -> NewerEvents:
        """Summarize the newer events on the conversation. `is_answered` is True if `prompt` answered a newer event.

        `described` is the head commit that was read from GitHub. It differs from that of the lease if a push came
        before it was read; a later push may lead back to the lease's commit.
        """
        own = f"{prompt}@"
        terms = {
            "of_guid": lease.guid,
            "of_conversation": lease.conversation_key or "",
            "up_to_its_hash": own,
            "length": len(own),
        }
        with self._database.reading() as connection:
            if connection.execute(_HAS_NEWER, terms).first() is None:
                return NewerEvents(head_sha=None, is_closed=False, is_answered=False)
            row = connection.execute(_SELECT_NEWER, terms).one()
        return NewerEvents(
            head_sha=None if {row.head_sha} == {lease.head_sha, described or lease.head_sha} else row.head_sha,
            is_closed=row.closing is not None and row.closing != "reopened",
            is_answered=bool(row.is_answered),
        )


def read_conversation(database: Database, conversation: ConversationRef) -> ConversationState:
    columns = conversation.columns
    with database.reading() as connection:
        label_rows = connection.execute(_LABELS, columns).all()
        comment_rows = connection.execute(_COMMENTS, columns).all()
    return ConversationState(
        labels={row.name: row.state for row in label_rows},
        comments={row.family: StoredComment(row.comment_id, row.body_digest, row.state) for row in comment_rows},
    )


class BotAccounts:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, fingerprint: str) -> Account | None:
        """Return the account of the token with this fingerprint; None if it is not stored."""
        query = select(bot_accounts).where(bot_accounts.c.fingerprint == fingerprint)
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else Account(login=row.login, id=row.account_id, type=row.account_type)

    def save(self, fingerprint: str, account: Account) -> None:
        columns = {"login": account.login, "account_id": account.id, "account_type": account.type}
        with self._database.writing() as connection:
            save = self._database.upsert(bot_accounts, *columns)
            connection.execute(save, {"fingerprint": fingerprint, **columns})


def field_label(prompt_id: str, group: str) -> str:
    """Return a counter's label, "issues/analyze@3f9c2a:areas": the prompt's id, and `field_of(group)`."""
    return f"{prompt_id}:{field_of(group)}"


def field_of(group: str) -> str:
    """Return the reply field to which a label group belongs: "areas" for the group "areas area/api"."""
    return group.partition(" ")[0]
