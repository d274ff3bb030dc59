"""What the ensures remember of one thread, so that a person's no is understood and a lost answer does no harm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from hls_handler.handlers.labelling import NO_ORIGINS, LabelState, Origin


class KnownComment(Protocol):
    """A comment of ours, as we last wrote it."""

    @property
    def comment_id(self) -> int: ...

    @property
    def body_digest(self) -> str: ...  # SHA-256 in hex, of the body with its marker, before ticks were carried over


class Memory(Protocol):
    """One thread, as one account. Every change outlives the process once the next turn to write is taken."""

    def labels(self) -> Mapping[str, LabelState]: ...

    def intend_labels(self, names: tuple[str, ...], origins: Mapping[str, Origin] = NO_ORIGINS) -> None:
        """A write of these labels begins: that one is missing will not mean a person's no, whatever was remembered.

        `origins` are those of labels that are added, as far as they have one.
        """
        ...

    def confirm_labels(self, names: tuple[str, ...]) -> None:
        """These labels are on the thread, and we set them."""
        ...

    def labels_gone(self, names: tuple[str, ...]) -> None:
        """A person took these labels of ours away."""
        ...

    def forget_labels(self, names: tuple[str, ...]) -> None: ...

    def comment(self, family: str) -> KnownComment | None: ...

    def remember_comment(self, family: str, comment_id: int, body_digest: str) -> None: ...
