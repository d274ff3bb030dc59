"""Suggests reviewers of a pull request: the code owners and the last authors of its files.

https://docs.github.com: "About code owners".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from hls_handler.settings.path_globs import matches
from hls_handler.wording import count

OWNERS_PATHS = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")
"""GitHub uses the first of these files that the base branch has."""

MAX_REVIEWERS = 3
COMMENT = re.compile(r"(?:^|\s)#.*")
BLANKS = re.compile(r"(?<!\\)\s+")
OWNER = re.compile(
    r"@([A-Za-z0-9][A-Za-z0-9_-]*(?:/[A-Za-z0-9_.-]+)?)|[^\s@]+@[^\s@]+\.[^\s@]+", re.ASCII
)
"""A login or a team, or an address, of which HLS does not know whose it is."""

OwnerRule = tuple[str, tuple[str, ...]]  # glob, names of people and teams


@dataclass(frozen=True, slots=True)
class Reviewer:
    name: str  # login, or "org/team"
    role: Literal["code owner", "last author"]
    # open pull requests that wait for a review of this person; None for a team
    open_requests: int | None

    @property
    def is_person(self) -> bool:
        return self.open_requests is not None

    @property
    def description(self) -> str:
        """The role of a team; of a person "code owner, 3 open review requests"."""
        if self.open_requests is None:
            return self.role
        return f"{self.role}, {count(self.open_requests, 'open review request')}"


def parse_owners(text: str) -> list[OwnerRule]:
    """Return the rules of a CODEOWNERS file, the last one first, because it has precedence.

    A line that GitHub takes for invalid is skipped.
    """
    rules: list[OwnerRule] = []
    for line in reversed(text.split("\n")):
        pattern, *owners = BLANKS.split(COMMENT.sub("", line).strip())
        matches = [OWNER.fullmatch(owner) for owner in owners]
        if not pattern or pattern[0] == "!" or None in matches:
            continue
        glob = pattern.strip("/").replace("\\ ", " ")
        if "/" not in pattern[:-1]:
            glob = f"**/{glob}"
        names = tuple(match[1] for match in matches if match and match[1])
        if pattern[-1] != "/":
            rules.append((glob, names))
        if not pattern.endswith("/*"):  # only a lone * names no folder
            rules.append((f"{glob}/**", names))
    return rules


def find_owners(rules: Iterable[OwnerRule], path: str) -> tuple[str, ...]:
    return next((owners for glob, owners in rules if matches(glob, path)), ())


def choose_reviewers(
    owners: Iterable[str],
    authors: Iterable[str],
    *,
    load: Mapping[str, int],
    excluded: Collection[str],
    limit: int,
) -> tuple[Reviewer, ...]:
    """Return at most `limit` people, and as many teams: code owners before last authors, the least
    loaded first.

    `load` are the numbers of open review requests by login, and `excluded` are logins, both in
    lower case.
    """
    reviewers = {
        name.lower(): Reviewer(name, "last author", load.get(name.lower(), 0)) for name in authors
    }
    for name in owners:
        requests = None if "/" in name else load.get(name.lower(), 0)
        reviewers[name.lower()] = Reviewer(name, "code owner", requests)
    people = [
        reviewer
        for key, reviewer in reviewers.items()
        if reviewer.is_person and key not in excluded
    ]
    people.sort(key=lambda reviewer: (reviewer.role != "code owner", reviewer.open_requests))
    teams = [reviewer for reviewer in reviewers.values() if not reviewer.is_person]
    return (*people[:limit], *teams[:limit])
