"""The part of a pull request that HLS has reviewed, file by file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hls_handler.wording import count


@dataclass(frozen=True, slots=True)
class FileCoverage:
    path: str
    lines: int  # removed and added ones; 0 if GitHub returned no patch
    # those of them that Claude was shown, for this commit or unchanged for an earlier one
    reviewed: int
    reason: str | None  # why it was not reviewed, or only partly; None if it was
    needs_review: bool  # False for lock files, generated files and the like
    data: int = 0  # characters of long data in changed lines, which needs no review

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
    def reviewed(self) -> int:
        """The number of files that were reviewed as a whole."""
        return sum(file.is_complete for file in self.needing_review)

    @property
    def needed(self) -> int:
        """The number of files that need a review."""
        return len(self.needing_review) + self.unlisted

    @property
    def needing_review(self) -> Sequence[FileCoverage]:
        return [file for file in self.files if file.needs_review]


def count_reasons(reasons: Iterable[str]) -> str:
    """Return the number of files for each reason: "2 binary or empty, 1 lock file"."""
    parts: list[str] = []
    for reason, number in Counter(reasons).items():
        if reason == "lock file":
            parts.append(count(number, reason))
        else:
            parts.append(f"{number} {reason}")
    return ", ".join(parts)
