"""Stored labels and comments of one conversation: they reveal a person's changes and make lost responses harmless."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from hls_handler.handlers.labelling import NO_ORIGINS, LabelOrigin, LabelState


class KnownComment(Protocol):
    """A comment of the bot, as last written."""

    @property
    def comment_id(self) -> int: ...

    @property
    def body_digest(self) -> str: ...  # SHA-256 in hex, of the body with its marker, before checked boxes were copied


class ConversationMemory(Protocol):
    """Memory of one conversation for one account. Changes are durable once the next write slot is granted."""

    def labels(self) -> Mapping[str, LabelState]: ...

    def record_label_intents(self, names: tuple[str, ...], origins: Mapping[str, LabelOrigin] = NO_ORIGINS) -> None:
        """Record that a write of these labels begins: until it is resolved, a missing label is no removal by a person.

        `origins` has the origins of added labels that have one.
        """
        ...

    def mark_labels_set(self, names: tuple[str, ...]) -> None:
        """Record that these labels are set, and that the bot set them."""
        ...

    def mark_labels_removed(self, names: tuple[str, ...]) -> None:
        """Record that a person removed these labels of the bot."""
        ...

    def delete_labels(self, names: tuple[str, ...]) -> None: ...

    def comment(self, family: str) -> KnownComment | None: ...

    def store_comment(self, family: str, comment_id: int, body_digest: str) -> None: ...
