"""The part of a pull request that HLS has reviewed, file by file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileCoverage:
    path: str
    lines: int  # removed and added ones; 0 if GitHub returned no patch
    reviewed: int  # those of them that Claude was shown, for this commit or unchanged for an earlier one
    reason: str | None  # why it was not reviewed, or only partly; None if it was
    needs_review: bool  # False for lock files, generated files and the like

    @property
    def is_complete(self) -> bool:
        return self.reason is None or not self.needs_review


@dataclass(frozen=True, slots=True)
class Coverage:
    """The coverage of a review: an entry for each changed file, as many as GitHub reports."""

    files: tuple[FileCoverage, ...]  # those with a patch first, most important first
    unlisted: int = 0  # changed files that GitHub does not list

    @property
    def is_complete(self) -> bool:
        """True if every file that needs a review was reviewed."""
        return not self.unlisted and all(file.is_complete for file in self.files)

    @property
    def needing_review(self) -> Sequence[FileCoverage]:
        return [file for file in self.files if file.needs_review]
