"""History of a conversation in dictionaries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hls_handler.handlers.labels import NO_ORIGINS, LabelOrigin, LabelState
from hls_handler.store.conversations import ConversationHistory, StoredComment


class FakeHistory(ConversationHistory):
    def __init__(self) -> None:
        self.label_states: dict[str, LabelState] = {}
        self.origins: dict[str, LabelOrigin] = {}
        self.known: dict[str, StoredComment] = {}
        self.changes = 0

    def labels(self) -> dict[str, LabelState]:
        return dict(self.label_states)

    def record_label_intents(self, names: Iterable[str], origins: Mapping[str, LabelOrigin] = NO_ORIGINS) -> None:
        names = tuple(names)
        self._set(names, "intended")
        self.origins |= {name: origins[name] for name in names if name in origins}

    def mark_labels_set(self, names: Iterable[str]) -> None:
        self._set(names, "set")

    def mark_labels_removed(self, names: Iterable[str]) -> None:
        self._set(names, "removed")

    def delete_labels(self, names: Iterable[str]) -> None:
        self.changes += 1
        for name in names:
            del self.label_states[name]

    def comment(self, family: str) -> StoredComment | None:
        return self.known.get(family)

    def store_comment(self, family: str, comment_id: int, body_digest: str, state: str | None = None) -> None:
        self.changes += 1
        self.known[family] = StoredComment(comment_id, body_digest, state)

    def _set(self, names: Iterable[str], state: LabelState) -> None:
        self.changes += 1
        self.label_states.update(dict.fromkeys(names, state))
