"""Label corrections: labels of ours that people changed, recorded once however the change is noticed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, func, or_, select

from hls_handler.db.database import Database
from hls_handler.db.tables import corrections, deliveries, labels
from hls_handler.db.values import HOUR_MS, to_ms
from hls_handler.deliveries import Lease
from hls_handler.handlers.labels import CORRECTION_WINDOW_DAYS, AppliedLabel, find_changed_corrections
from hls_handler.queue.changes import LABEL_SET, DeliveryWriter, field_label
from hls_handler.untrusted.cleaning import clean
from hls_handler.untrusted.redaction import redact

COUNTED_MS = CORRECTION_WINDOW_DAYS * 24 * HOUR_MS
MAX_TITLE_CHARACTERS, MAX_LABEL_CHARACTERS = 120, 50

LABEL_CORRECTED, CORRECTION_WITHDRAWN = "label_corrected", "label_correction_withdrawn"
"""Counters by prompt and field. They never decrease: withdrawals are counted separately."""

CHANGED_BY_BOT = "other bot"
"""The kind of reason that label changes by bots are ignored for."""

_d, _l, _c = deliveries.c, labels.c, corrections.c


def _of(table: Table) -> ColumnElement[bool]:
    """The rows of one conversation and one account."""
    return and_(*(table.c[name] == bindparam(name) for name in ("repository_id", "bot_login", "number")))


_SET_BY_US = select(_l.name, _l.field, _l.prompt_id, _l.set_at).where(
    _of(labels),
    _l.state != "intended",
    _l.prompt_id.is_not(None),
    _l.set_at > bindparam("since"),
    _l.set_at <= bindparam("until"),
)
_RECORDED = select(corrections).where(_of(corrections), _c.set_at > bindparam("since"), _c.set_at <= bindparam("until"))
_LAST_CHANGE_BY_BOT = select(func.max(_d.received_at)).where(
    _d.conversation_key == bindparam("of_conversation"),
    or_(_d.action == "labeled", _d.action == "unlabeled"),
    _d.reason_kind == CHANGED_BY_BOT,
)
_OURS = select(_l.name).where(_of(labels), _l.state != "gone")
_WITHDRAW = corrections.delete().where(_of(corrections), _c.label == bindparam("of_label"))


@dataclass(frozen=True, slots=True)
class _Applied:
    word: AppliedLabel
    set_at: int


@dataclass(frozen=True, slots=True)
class CorrectionResult:
    """The result of comparing a conversation's labels with ours."""

    words: int  # labels of ours that were compared
    changed: tuple[AppliedLabel, ...]  # those whose correction is new or withdrawn


@dataclass(frozen=True, slots=True)
class FieldFeedback:
    """Feedback on one field of one prompt's replies."""

    set: int  # labels that we set
    corrected: int  # of those, labels that people changed within a month and did not change back

    @property
    def share(self) -> float:
        return self.corrected / self.set if self.set else 0.0


def feedback_in(counted: Mapping[tuple[str, str], int]) -> dict[str, dict[str, FieldFeedback]]:
    """Return the feedback by prompt id and field, from all counters."""
    found: dict[str, dict[str, FieldFeedback]] = {}
    for name, label in sorted(counted):
        if name == LABEL_SET:
            prompt_id, _, field = label.rpartition(":")
            corrected = counted.get((LABEL_CORRECTED, label), 0) - counted.get((CORRECTION_WITHDRAWN, label), 0)
            found.setdefault(prompt_id, {})[field] = FieldFeedback(counted[name, label], corrected)
    return found


class ConversationCorrections:
    """Corrections on the lease's conversation. Both methods raise `LeaseLost` if they have something to record.

    A label is not compared if it was set over a month ago or did not come from a reply.
    """

    def __init__(self, database: Database, writer: DeliveryWriter, lease: Lease, bot_login: str) -> None:
        self._database, self._writer, self._lease = database, writer, lease
        self._conversation: dict[str, object] = {
            "repository_id": lease.repository_id,
            "bot_login": bot_login,
            "number": lease.number,
        }

    def record_change(
        self,
        field: str,
        shown: Iterable[str],
        *,
        at: datetime,
        title: str,
        pull_request: bool,
        fields: Mapping[str, str],
    ) -> CorrectionResult:
        """Record a person's change of a field's labels; `shown` are the conversation's labels after it.

        Labels that we set after `at`, when the event was received, are not compared.
        """
        with self._database.writing(durable=False) as connection:
            self._writer.fence.require(connection, self._lease)
            applied = self._applied(connection, until=to_ms(at))
            of_field = {label: one for label, one in applied.items() if one.word.field == field}
            return self._record(connection, of_field, shown, title, pull_request=pull_request, fields=fields)

    def record_current(
        self, shown: Iterable[str], *, title: str, pull_request: bool, fields: Mapping[str, str]
    ) -> CorrectionResult:
        """Record what people changed, from the conversation's current labels.

        GitHub does not show who changed them, so labels set before a bot's last label change are not compared. If there
        is nothing to compare, as on most conversations, this only reads.
        """
        with self._database.reading() as connection:
            if not self._applied(connection):
                return CorrectionResult(0, ())
        with self._database.writing(durable=False) as connection:
            self._writer.fence.require(connection, self._lease)
            applied = self._applied(connection)
            terms = {"of_conversation": self._lease.conversation_key}
            bot_changed_at = connection.execute(_LAST_CHANGE_BY_BOT, terms).scalar() or 0
            since_then = {label: one for label, one in applied.items() if one.set_at > bot_changed_at}
            return self._record(connection, since_then, shown, title, pull_request=pull_request, fields=fields)

    def _applied(self, connection: Connection, *, until: int | None = None) -> dict[str, _Applied]:
        """Return our labels from replies, by name; one that we removed ourselves only if it was corrected."""
        now = self._database.now_in(connection)
        since, until = now - COUNTED_MS, now if until is None else until
        terms = {**self._conversation, "since": since, "until": until}
        found = {
            row.name: _Applied(AppliedLabel(row.field, row.name, row.prompt_id, None), row.set_at)
            for row in connection.execute(_SET_BY_US, terms)
        }
        for row in connection.execute(_RECORDED, terms):
            found[row.label] = _Applied(AppliedLabel(row.field, row.label, row.prompt_id, row.corrected_to), row.set_at)
        return found

    def _record(
        self,
        connection: Connection,
        applied: Mapping[str, _Applied],
        shown: Iterable[str],
        title: str,
        *,
        pull_request: bool,
        fields: Mapping[str, str],
    ) -> CorrectionResult:
        changed = find_changed_corrections(
            [one.word for one in applied.values()],
            shown,
            ours=connection.execute(_OURS, self._conversation).scalars(),
            field_of=fields,
        )
        counts: Counter[tuple[str, str]] = Counter()
        for word in changed:
            label = field_label(word.prompt_id, word.field)
            if word.became is None:
                connection.execute(_WITHDRAW, {**self._conversation, "of_label": word.said})
                counts[CORRECTION_WITHDRAWN, label] += 1
                continue
            if applied[word.said].word.became is None:
                counts[LABEL_CORRECTED, label] += 1
            replaced = {
                "corrected_to": redact(word.became)[:MAX_LABEL_CHARACTERS],
                "title": redact(clean(title))[:MAX_TITLE_CHARACTERS],
                "recorded_at": self._database.now,
            }
            new = self._database.insert(corrections).values(
                self._conversation
                | {"label": word.said, "field": word.field, "prompt_id": word.prompt_id}
                | {"is_pull_request": pull_request, "set_at": applied[word.said].set_at}
                | replaced
            )
            key = ["repository_id", "bot_login", "number", "label"]
            connection.execute(new.on_conflict_do_update(index_elements=key, set_=replaced))
        self._writer.counters.add(connection, counts)
        return CorrectionResult(len(applied), changed)


class Corrections:
    def __init__(self, database: Database, writer: DeliveryWriter) -> None:
        self._database, self._writer = database, writer

    def of(self, lease: Lease, bot_login: str) -> ConversationCorrections:
        return ConversationCorrections(self._database, self._writer, lease, bot_login)
