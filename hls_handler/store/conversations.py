"""Labels and comments that the bot wrote on conversations, and the bot accounts that wrote them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile

from sqlalchemy import and_, bindparam, exists, func, or_, select, union

from hls_handler.db.database import Database
from hls_handler.db.tables import analyses, bot_accounts, comments, deliveries, labels
from hls_handler.db.values import is_caught_up, literal
from hls_handler.deliveries import Lease
from hls_handler.events import Account
from hls_handler.handlers.labels import NO_ORIGINS, LabelOrigin, LabelState
from hls_handler.queue.changes import (
    CommentChange,
    ConversationRef,
    LabelChange,
    PendingChanges,
    of_conversation,
)

_d = deliveries.c
_LABELS = select(labels.c.name, labels.c.state).where(of_conversation(labels))
_COMMENTS = select(comments).where(of_conversation(comments))


@dataclass(frozen=True, slots=True)
class StoredComment:
    comment_id: int
    body_digest: str
    state: str | None = None


@dataclass(frozen=True, slots=True)
class ConversationState:
    """The stored labels and comments of the bot on one conversation."""

    labels: Mapping[str, LabelState]
    comments: Mapping[str, StoredComment]  # by `EnsureComment.family`


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
    """The bot's stored labels and comments on the conversation of a lease.

    Changes are added to `pending`, which the delivery's next transaction stores. Reads include `pending`.
    """

    def __init__(self, database: Database, lease: Lease, bot_login: str, pending: PendingChanges) -> None:
        if lease.repository_id is None or lease.number is None:
            raise ValueError(f"delivery {lease.guid} has no issue or pull request whose labels could be stored")
        self._database, self._pending = database, pending
        self._conversation = ConversationRef(lease.repository_id, bot_login, lease.number)

    def labels(self) -> dict[str, LabelState]:
        """Return {label: state}: "intended" before the bot's write, "set" after it, "removed" by a person."""
        with self._database.reading() as connection:
            rows = connection.execute(_LABELS, self._conversation.columns)
            states: dict[str, LabelState] = {row.name: row.state for row in rows}
        for change in self._pending:
            if not isinstance(change, LabelChange):
                continue
            for name in change.names:
                states.pop(name, None)
                if change.state is not None:
                    states[name] = change.state
        return states

    def record_label_intents(self, names: Iterable[str], origins: Mapping[str, LabelOrigin] = NO_ORIGINS) -> None:
        """Record labels that the bot is about to add or remove. Else a retry could attribute the change to a person."""
        self._change_labels(names, "intended", origins)

    def mark_labels_set(self, names: Iterable[str]) -> None:
        """Record that the bot added these labels. Labels that a reply asked for increment the counter `label_set`."""
        self._change_labels(names, "set")

    def mark_labels_removed(self, names: Iterable[str]) -> None:
        """Record that a person removed these labels of the bot, so that they are not added again."""
        self._change_labels(names, "removed")

    def delete_labels(self, names: Iterable[str]) -> None:
        """Delete the state of labels that the bot removed, or whose addition did not take effect on GitHub."""
        self._change_labels(names, None)

    def comment(self, family: str) -> StoredComment | None:
        """Return the bot's comment with this `EnsureComment.family`. On GitHub, it may be deleted by now."""
        for change in reversed(tuple(self._pending)):
            if isinstance(change, CommentChange) and change.family == family:
                return StoredComment(change.comment_id, change.body_digest, change.state)
        with self._database.reading() as connection:
            query = _COMMENTS.where(comments.c.family == family)
            row = connection.execute(query, self._conversation.columns).first()
        return None if row is None else StoredComment(row.comment_id, row.body_digest, row.state)

    def count_comments(self) -> int:
        """Return the number of the bot's stored comments on the conversation, without `pending`."""
        with self._database.reading() as connection:
            count = select(func.count()).select_from(comments).where(of_conversation(comments))
            return connection.execute(count, self._conversation.columns).scalar_one()

    def store_comment(self, family: str, comment_id: int, body_digest: str, state: str | None = None) -> None:
        self._pending.add(CommentChange(self._conversation, family, comment_id, body_digest, state))

    def _change_labels(
        self,
        names: Iterable[str],
        state: LabelState | None,
        origins: Mapping[str, LabelOrigin] = NO_ORIGINS,
    ) -> None:
        self._pending.add(LabelChange(self._conversation, tuple(sorted(set(names))), state, origins))


class Conversations:
    def __init__(self, database: Database) -> None:
        self._database = database

    def history(self, lease: Lease, bot_login: str, *, pending: PendingChanges) -> ConversationHistory:
        return ConversationHistory(self._database, lease, bot_login, pending)

    def find(self, repository_id: int, number: int, bot_login: str) -> ConversationState:
        columns = ConversationRef(repository_id, bot_login, number).columns
        with self._database.reading() as connection:
            label_rows = connection.execute(_LABELS, columns).all()
            comment_rows = connection.execute(_COMMENTS, columns).all()
        return ConversationState(
            labels={row.name: row.state for row in label_rows},
            comments={row.family: StoredComment(row.comment_id, row.body_digest, row.state) for row in comment_rows},
        )

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
