"""The choice of the account that processes a delivery, if the settings name several tokens."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from hls_handler.engine.active_config import BotAccount, ChosenAccount, Github
from hls_handler.errors import DependencyDown


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token of the settings with its client and its account."""

    github: Github
    bot: BotAccount


def choose_account(
    candidates: Sequence[Candidate], preferred: Callable[[], int], wrote: Collection[str]
) -> ChosenAccount:
    """Return the account that wrote on the conversation; if there is none, the account of the preferred token.

    Another account would not find the comment of the first, and would post a second one beside it. `wrote` has the
    logins that wrote on the conversation; `preferred` returns the position of the first token that works. Raises
    `DependencyDown` if GitHub does not return the account.
    """
    accounts = [candidate.bot.cached for candidate in candidates]
    bound = next((n for n, account in enumerate(accounts) if account is not None and account.login in wrote), None)
    chosen = candidates[preferred() if bound is None else bound]
    try:
        bot = chosen.bot.get_or_fetch(chosen.github)
    except DependencyDown:
        following = candidates[preferred()]
        if bound is not None or following is chosen:
            raise
        chosen = following  # GitHub has just rejected the first token
        bot = chosen.bot.get_or_fetch(chosen.github)
    others = (one.bot.cached for one in candidates)
    return ChosenAccount(chosen.github, bot, tuple(one for one in others if one is not None and one.id != bot.id))
