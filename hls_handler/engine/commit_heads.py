"""Which pull requests are open at a commit, and the worst of their checks: GitHub shows one check
for each commit, whatever pull request it was meant for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hls_handler.errors import NotFound
from hls_handler.events import PullRequest
from hls_handler.github.reader import GithubReader
from hls_handler.review.wanted_check import rank
from hls_handler.store.commit_checks import OtherCheck

MAX_READS = 10
"""Pull requests that are read for one check. Further ones count as open."""


@dataclass(frozen=True, slots=True)
class CommitHeads:
    """The pull requests of a repository whose head may be `commit`."""

    reader: GithubReader
    commit: str

    def find_open(self, number: int) -> PullRequest | None:
        """Return the pull request if it is open at the commit, else None."""
        try:
            pull_request = self.reader.pull_request(number)
        except NotFound:
            return None
        is_here = pull_request.state == "open" and pull_request.head_sha == self.commit
        return pull_request if is_here else None

    def find_worst(self, others: Sequence[OtherCheck], least: int) -> OtherCheck | None:
        """Return the worst check of a pull request that is open at the commit, if its rank is worse
        than `least`. Reads only those that could be it.
        """
        worse = [other for other in others if _rank(other) < least]
        for position, other in enumerate(sorted(worse, key=_rank)):
            if position >= MAX_READS or self.find_open(other.number) is not None:
                return other
        return None


def _rank(other: OtherCheck) -> int:
    return rank(other.conclusion, is_exempt=other.is_exempt)
