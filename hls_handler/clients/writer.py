"""Idempotent writes to one repository: read, compare, write only the difference. A repeated call writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hls_handler.actions import KeepComment, KeepLabels, Outcome
from hls_handler.clients.api import Api
from hls_handler.clients.comments import apply_comment_plan, plan_comment, preview_comment
from hls_handler.clients.labels import apply_label_change, origins_of, plan_labels, preview_labels
from hls_handler.clients.memory import Memory
from hls_handler.clients.writes import Writes
from hls_handler.events import Account
from hls_handler.handlers.labelling import LabelState
from hls_handler.settings.model import LabelsOfARepository


class GithubWriter:
    """Writes labels and comments. `before_write` is called before each write, and may raise to stop safely.

    `still_ours` is called right before the bytes of a write are sent, and may raise too.
    """

    def __init__(
        self,
        api: Api,
        repository: str,
        *,
        we: Account,
        memory: Memory,
        before_write: Callable[[], None],
        still_ours: Callable[[], None],
    ) -> None:
        self._api, self._repository, self._bot, self._memory = api, repository, we, memory
        self._writes = Writes(api, repository, before_write=before_write, still_ours=still_ours)

    def keep_labels(
        self, number: int, action: KeepLabels, *, labels: LabelsOfARepository, before: Mapping[str, LabelState]
    ) -> Outcome:
        change = plan_labels(self._api, self._repository, number, action, memory=self._memory, settings=labels)
        return apply_label_change(
            change,
            number,
            order=tuple(label.name for label in action.wishes),
            origins=origins_of(action),
            writes=self._writes,
            memory=self._memory,
            before=before,
        )

    def keep_comment(self, number: int, action: KeepComment) -> Outcome:
        plan = plan_comment(self._api, self._repository, number, action, bot=self._bot, memory=self._memory)
        return apply_comment_plan(plan, number, action.family, writes=self._writes, memory=self._memory)


class DryRunWriter:
    """Reads and decides as `GithubWriter` does, but writes nothing: neither to GitHub nor to the memory."""

    def __init__(self, api: Api, repository: str, *, we: Account, memory: Memory) -> None:
        self._api, self._repository, self._bot, self._memory = api, repository, we, memory

    def keep_labels(
        self, number: int, action: KeepLabels, *, labels: LabelsOfARepository, before: Mapping[str, LabelState]
    ) -> Outcome:
        del before  # a dry run has no earlier runs, because it never waits for a write slot
        return preview_labels(
            plan_labels(self._api, self._repository, number, action, memory=self._memory, settings=labels)
        )

    def keep_comment(self, number: int, action: KeepComment) -> Outcome:
        return preview_comment(
            plan_comment(self._api, self._repository, number, action, bot=self._bot, memory=self._memory)
        )
