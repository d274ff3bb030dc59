"""Idempotent writes to one repository: read, compare, write only the difference. A repeated call writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hls_handler.actions import EnsureComment, EnsureLabels, Outcome
from hls_handler.clients.api import GithubApi
from hls_handler.clients.comments import apply_comment_plan, plan_comment, preview_comment
from hls_handler.clients.labels import apply_label_change, label_origins, plan_labels, preview_labels
from hls_handler.clients.memory import ConversationMemory
from hls_handler.clients.writes import Writes
from hls_handler.events import Account
from hls_handler.handlers.labelling import LabelState
from hls_handler.settings.model import EffectiveLabels


class GithubWriter:
    """Writes labels and comments. `wait_for_slot` is called before each write, and may raise to stop safely.

    `check_lease` is called right before the bytes of a write are sent, and may raise too.
    """

    def __init__(
        self,
        api: GithubApi,
        repository: str,
        *,
        bot: Account,
        memory: ConversationMemory,
        wait_for_slot: Callable[[], None],
        check_lease: Callable[[], None],
    ) -> None:
        self._api, self._repository, self._bot, self._memory = api, repository, bot, memory
        self._writes = Writes(api, repository, wait_for_slot=wait_for_slot, check_lease=check_lease)

    def ensure_labels(
        self, number: int, action: EnsureLabels, *, labels: EffectiveLabels, before: Mapping[str, LabelState]
    ) -> Outcome:
        change = plan_labels(self._api, self._repository, number, action, memory=self._memory, settings=labels)
        return apply_label_change(
            change,
            number,
            order=tuple(label.name for label in action.requested),
            origins=label_origins(action),
            writes=self._writes,
            memory=self._memory,
            before=before,
        )

    def ensure_comment(self, number: int, action: EnsureComment) -> Outcome:
        plan = plan_comment(self._api, self._repository, number, action, bot=self._bot, memory=self._memory)
        return apply_comment_plan(plan, number, action.family, writes=self._writes, memory=self._memory)


class DryRunWriter:
    """Reads and decides as `GithubWriter` does, but writes nothing: neither to GitHub nor to the memory."""

    def __init__(self, api: GithubApi, repository: str, *, bot: Account, memory: ConversationMemory) -> None:
        self._api, self._repository, self._bot, self._memory = api, repository, bot, memory

    def ensure_labels(
        self, number: int, action: EnsureLabels, *, labels: EffectiveLabels, before: Mapping[str, LabelState]
    ) -> Outcome:
        del before  # a dry run has no earlier runs, because it never waits for a write slot
        return preview_labels(
            plan_labels(self._api, self._repository, number, action, memory=self._memory, settings=labels)
        )

    def ensure_comment(self, number: int, action: EnsureComment) -> Outcome:
        return preview_comment(
            plan_comment(self._api, self._repository, number, action, bot=self._bot, memory=self._memory)
        )
