"""Label corrections: a person replaces or removes a label that the bot set. Each correction is
recorded once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, or_, select

from hls_handler.db.database import Database
from hls_handler.db.tables import calls, corrections, deliveries, labels
from hls_handler.db.values import HOUR_MS, from_ms, from_row, to_ms
from hls_handler.deliveries import Lease, conversation_key
from hls_handler.queue.checkpoints import Checkpoints
from hls_handler.store.call_rows import CACHED, SUCCESS
from hls_handler.store.conversations import LABEL_SET, field_label, is_of_conversation
from hls_handler.store.deliveries import DELIVERY_COLUMNS, DeliveryRow
from hls_handler.untrusted.cleaning import clean
from hls_handler.untrusted.redaction import redact

CORRECTION_WINDOW_DAYS = 30
"""Label changes up to this many days after HLS set a label are corrections. Later ones may have
other reasons.
"""

COUNTED_MS = CORRECTION_WINDOW_DAYS * 24 * HOUR_MS
MAX_TITLE_CHARACTERS = 120
MAX_LABEL_CHARACTERS = 50

LABEL_CORRECTED = "label_corrected"
CORRECTION_WITHDRAWN = "label_correction_withdrawn"
"""Counters by prompt and reply field. They never decrease: withdrawn corrections are counted
separately.
"""

CHANGED_BY_BOT = "other bot"
"""`reason_kind` of deliveries that were ignored because another bot caused the event."""

_d = deliveries.c
_l = labels.c
_c = corrections.c
_SET_FOR_REPLY = select(_l.name, _l.field, _l.prompt_id, _l.set_at).where(
    is_of_conversation(labels), _l.state != "intended", _l.prompt_id.is_not(None)
)
_SET_BY_BOT = select(_l.name).where(is_of_conversation(labels), _l.state != "removed")


@dataclass(frozen=True, slots=True)
class AppliedLabel:
    """A label that HLS set because a reply requested it, and the label that people set instead."""

    group: str  # "priority"; for a label of a list field: "areas area/api"
    name: str  # the label that HLS set: "priority-high"
    prompt_id: str  # the prompt whose reply requested the label: "issues/analyze@3f9c2a"
    # the label that people set instead, "" for none; None if not corrected
    corrected_to: str | None


@dataclass(frozen=True, slots=True)
class ShownLabels:
    """The current labels of a conversation, to be compared with the labels that the bot set."""

    names: tuple[str, ...]
    title: str  # of the conversation
    pull_request: bool  # whether it is one
    groups: Mapping[str, str]  # the label groups of the prompts, by label in lower case


@dataclass(frozen=True, slots=True)
class CorrectionResult:
    compared: int  # number of the bot's labels that were compared
    changed: tuple[AppliedLabel, ...]  # labels whose correction is new or withdrawn


@dataclass(frozen=True, slots=True)
class CorrectedDelivery:
    row: DeliveryRow
    labels: tuple[AppliedLabel, ...]  # with what people set instead
    corrected_at: datetime  # the latest time, aware UTC


@dataclass(frozen=True, slots=True)
class FieldFeedback:
    set: int  # labels that the bot set
    corrected: int  # of those, labels that people changed within a month and did not change back


def feedback_in(totals: Counter[tuple[str, str]]) -> dict[str, dict[str, FieldFeedback]]:
    """Return the numbers of set and corrected labels by prompt id and field. `totals` are those of
    counters: {("label_set", "issues/analyze@3f9c2a:kind"): 40}.
    """
    feedback: dict[str, dict[str, FieldFeedback]] = {}
    for (name, label), number in sorted(totals.items()):
        if name == LABEL_SET:
            prompt_id, _, field = label.rpartition(":")
            changed = totals[LABEL_CORRECTED, label] - totals[CORRECTION_WITHDRAWN, label]
            feedback.setdefault(prompt_id, {})[field] = FieldFeedback(number, changed)
    return feedback


class Corrections:
    """Compares the labels that the bot set with the current labels, and stores the differences as
    corrections.

    Only labels that a reply asked for are compared, for 30 days after they were set.
    """

    def __init__(self, database: Database, checkpoints: Checkpoints) -> None:
        self._database = database
        self._checkpoints = checkpoints
        save = database.upsert(corrections, "corrected_to", "title", "recorded_at")
        self._save = save.values(recorded_at=database.now)

    def newest_of_prompt(self, prompt: str, *, limit: int) -> list[CorrectedDelivery]:
        """Return the deliveries whose labels people corrected last, of all versions of a prompt,
        newest first.

        A label belongs to the delivery of its conversation with the last reply before GitHub
        confirmed the label. Only the newest corrections, four times `limit`, are read. Deleted
        deliveries are left out.
        """
        is_of_prompt = _c.prompt_id.startswith(f"{prompt}@", autoescape=True)
        query = (
            select(corrections).where(is_of_prompt).order_by(_c.recorded_at.desc()).limit(4 * limit)
        )
        corrected: dict[str, CorrectedDelivery] = {}
        with self._database.reading() as connection:
            for row in connection.execute(query):
                delivery = connection.execute(_find_setter(row)).first()
                if delivery is None:
                    continue
                label = AppliedLabel(row.field, row.label, row.prompt_id, row.corrected_to)
                earlier = corrected.get(delivery.guid)
                if earlier is None and len(corrected) == limit:
                    break
                if earlier is None:
                    delivery_row = from_row(DeliveryRow, delivery)
                    corrected[delivery.guid] = CorrectedDelivery(
                        delivery_row, (label,), from_ms(row.recorded_at)
                    )
                else:
                    corrected[delivery.guid] = replace(earlier, labels=(*earlier.labels, label))
        return list(corrected.values())

    def record_change(
        self, lease: Lease, bot_login: str, group: str, labels: ShownLabels, *, at: datetime
    ) -> CorrectionResult:
        """Record that a person changed a label of `group`. `shown` has the conversation's labels
        after the change.

        `at` is the time when the event was received. A label that the bot set after `at` does not
        count as corrected. Raises `LeaseLost`.
        """
        conversation = _conversation(lease, bot_login)
        with self._checkpoints.writing(lease, durable=False) as (connection, _):
            applied = self._read_set_at_ms(connection, conversation, until=to_ms(at))
            group_labels = {
                label: set_at for label, set_at in applied.items() if label.group == group
            }
            return self._record(connection, conversation, group_labels, labels)

    def record_current(self, lease: Lease, bot_login: str, labels: ShownLabels) -> CorrectionResult:
        """Compare stored with current labels, and record corrections whose events were missed.
        Raises `LeaseLost`.

        The current labels do not show whether a person or another bot changed them. Therefore a
        label is compared only if HLS set it after the last label change by another bot.
        """
        conversation = _conversation(lease, bot_login)
        with self._database.reading() as connection:
            if not self._read_set_at_ms(connection, conversation):
                return CorrectionResult(0, ())  # nothing is written, so the lease is not checked
        with self._checkpoints.writing(lease, durable=False) as (connection, _):
            applied = self._read_set_at_ms(connection, conversation)
            last_change_by_bot = select(func.max(_d.received_at)).where(
                _d.conversation_key == lease.conversation_key,
                or_(_d.action == "labeled", _d.action == "unlabeled"),
                or_(_d.reason_kind == CHANGED_BY_BOT, _d.sender.endswith("[bot]", autoescape=True)),
            )
            bot_changed_at = connection.execute(last_change_by_bot).scalar() or 0
            since_then = {
                label: set_at for label, set_at in applied.items() if set_at > bot_changed_at
            }
            return self._record(connection, conversation, since_then, labels)

    def _read_set_at_ms(
        self,
        connection: Connection,
        conversation: Mapping[str, object],
        *,
        until: int | None = None,
    ) -> dict[AppliedLabel, int]:
        now = self._database.now_in(connection)
        since = now - COUNTED_MS
        until = now if until is None else until
        set_for_reply = _SET_FOR_REPLY.where(_l.set_at > since, _l.set_at <= until)
        recorded = select(corrections).where(
            is_of_conversation(corrections), _c.set_at > since, _c.set_at <= until
        )
        by_name = {
            row.name: (AppliedLabel(row.field, row.name, row.prompt_id, None), row.set_at)
            for row in connection.execute(set_for_reply, conversation)
        }
        for row in connection.execute(recorded, conversation):
            by_name[row.label] = (
                AppliedLabel(row.field, row.label, row.prompt_id, row.corrected_to),
                row.set_at,
            )
        return dict(by_name.values())

    def _record(
        self,
        connection: Connection,
        conversation: Mapping[str, object],
        applied: Mapping[AppliedLabel, int],
        labels: ShownLabels,
    ) -> CorrectionResult:
        set_by_bot = connection.execute(_SET_BY_BOT, conversation).scalars()
        changed = find_changed_corrections(
            applied, labels.names, set_by_bot=set_by_bot, groups=labels.groups
        )
        former = {label.name: (label.corrected_to, set_at) for label, set_at in applied.items()}
        counts: Counter[tuple[str, str]] = Counter()
        for label in changed:
            counted = field_label(label.prompt_id, label.group)
            corrected_before, set_at = former[label.name]
            if label.corrected_to is None:
                withdraw = corrections.delete().where(
                    is_of_conversation(corrections), _c.label == label.name
                )
                connection.execute(withdraw, conversation)
                counts[CORRECTION_WITHDRAWN, counted] += 1
                continue
            if corrected_before is None:
                counts[LABEL_CORRECTED, counted] += 1
            correction = {
                "label": label.name,
                "field": label.group,
                "prompt_id": label.prompt_id,
                "is_pull_request": labels.pull_request,
                "set_at": set_at,
                "corrected_to": redact(label.corrected_to)[:MAX_LABEL_CHARACTERS],
                "title": redact(clean(labels.title))[:MAX_TITLE_CHARACTERS],
            }
            connection.execute(self._save, {**conversation, **correction})
        self._checkpoints.counters.add(connection, counts)
        return CorrectionResult(len(applied), changed)


def _find_setter(correction: Row[Any]) -> Select[Any]:
    """Return the query for the delivery whose reply set the label."""
    key = conversation_key(correction.repository_id, correction.number)
    return (
        select(*DELIVERY_COLUMNS)
        .join(calls, calls.c.delivery_id == _d.id)
        .where(
            _d.conversation_key == key,
            calls.c.prompt_id == correction.prompt_id,
            calls.c.outcome.in_([SUCCESS, CACHED]),
            calls.c.finished_at <= correction.set_at,
        )
        .order_by(calls.c.finished_at.desc())
        .limit(1)
    )


def _conversation(lease: Lease, bot_login: str) -> dict[str, object]:
    return {"repository_id": lease.repository_id, "bot_login": bot_login, "number": lease.number}


def find_changed_corrections(
    applied: Iterable[AppliedLabel],
    present: Iterable[str],
    *,
    set_by_bot: Iterable[str],
    groups: Mapping[str, str],
) -> tuple[AppliedLabel, ...]:
    """Return the labels in `applied` whose `corrected_to` has changed, with the new value.

    `present` are the current labels of the conversation. A label in `present` that is not in
    `set_by_bot` is a person's. `groups` maps each label in lower case to its group. If a person
    adds another label of the group, the bot's label counts as corrected, even while it is still
    set.
    """
    by_name = {name.casefold(): name for name in sorted(present)}
    bot_names = {label.casefold() for label in set_by_bot}
    set_by_people = [name for name in by_name if name not in bot_names]
    changed = []
    for label in applied:
        applied_name = label.name.casefold()
        others = [
            by_name[name]
            for name in set_by_people
            if name != applied_name and groups.get(name) == label.group
        ]
        corrected_to: str | None = next(iter(others), "")
        if applied_name in by_name and not others:
            corrected_to = None
        if corrected_to != label.corrected_to:
            changed.append(replace(label, corrected_to=corrected_to))
    return tuple(changed)
