"""History of a conversation in dictionaries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hls_handler.actions import StoredComment
from hls_handler.github.labels import NO_ORIGINS, LabelOrigin, LabelState


class FakeHistory:
    """Implements `github.comments.History`."""

    def __init__(self) -> None:
        self.label_states: dict[str, LabelState] = {}
        self.origins: dict[str, LabelOrigin] = {}
        self.known: dict[str, StoredComment] = {}
        self.changes = 0
        self.is_typed = False

    def labels(self) -> dict[str, LabelState]:
        return dict(self.label_states)

    def change_labels(
        self,
        names: Iterable[str],
        state: LabelState | None,
        origins: Mapping[str, LabelOrigin] = NO_ORIGINS,
    ) -> None:
        for name in names:
            self.changes += 1
            self.label_states.pop(name, None)
            if state is not None:
                self.label_states[name] = state
        self.origins |= origins

    def was_done_once(self) -> bool:
        return self.is_typed

    def record_done_once(self) -> None:
        self.is_typed = True

    def forget_done_once(self) -> None:
        self.is_typed = False

    def comment(self, family: str) -> StoredComment | None:
        return self.known.get(family)

    def store_comment(self, family: str, comment: StoredComment) -> None:
        self.changes += 1
        self.known[family] = comment
