"""Conventional titles of pull requests: `type(scope)!: description`. https://www.conventionalcommits.org"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hls_handler.actions import TITLE_CHECK, EnsureCheck
from hls_handler.untrusted.cleaning import clean_title

TITLE = re.compile(r"(?P<type>[^\s():!]+)(?:\([^()]+\))?!?: \S.*")


def find_title_problem(title: str, types: Sequence[str]) -> str | None:
    """Return why a title is not conventional: "its type is none of feat and fix"; None if it is. Quotes no title."""
    found = TITLE.fullmatch(clean_title(title))
    if found is None:
        return "it does not have the form type: description"
    return None if found["type"] in types else f"its type is none of {', '.join(types)}"


def plan_title_check(commit: str, title: str, types: Sequence[str]) -> EnsureCheck:
    problem, example = find_title_problem(title, types), f"{types[0]}: add a total to the cart"
    if problem is None:
        fits = "The title has the form type: description"
        return EnsureCheck(commit, "success", fits, f"{fits}. Types: {', '.join(types)}.", fits)
    summary = f"The title does not fit: {problem}.\n\nExample: `{example}`. Edit the title; the check follows."
    return EnsureCheck(commit, "failure", f"The title does not fit: {problem}", summary, f"{problem}; {example}")


def plan_group_title_check(commit: str) -> EnsureCheck:
    """Return the check on a commit of a merge queue; if the check is required, its pull requests have passed it."""
    checked = f"{TITLE_CHECK} is on the pull requests of the queue"
    return EnsureCheck(commit, "success", checked, checked, checked)
