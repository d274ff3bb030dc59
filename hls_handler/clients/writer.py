"""Ensures on one repository: look, compare, change the least. Calling one twice is the same as calling it once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hls_handler.actions import KeepComment, KeepLabels, Outcome
from hls_handler.clients.api import Api
from hls_handler.clients.comments import carry_out_comment, dry_comment, look_at_comment
from hls_handler.clients.labels import carry_out_labels, dry_labels, look_at_labels, origins_of
from hls_handler.clients.memory import Memory
from hls_handler.clients.writes import Writes
from hls_handler.events import Account
from hls_handler.handlers.labelling import LabelState
from hls_handler.settings.model import LabelsOfARepository


class GithubWriter:
    """Writes, at its turn. `before_write` is called before every single write, and may raise: nothing breaks.

    So may `still_ours`, which is asked right before the bytes of a write leave.
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
        self._api, self._repository, self._we, self._memory = api, repository, we, memory
        self._writes = Writes(api, repository, before_write=before_write, still_ours=still_ours)

    def keep_labels(
        self, number: int, action: KeepLabels, *, labels: LabelsOfARepository, before: Mapping[str, LabelState]
    ) -> Outcome:
        change = look_at_labels(self._api, self._repository, number, action, memory=self._memory, settings=labels)
        return carry_out_labels(
            change,
            number,
            wished=tuple(wish.name for wish in action.wishes),
            origins=origins_of(action),
            writes=self._writes,
            memory=self._memory,
            before=before,
        )

    def keep_comment(self, number: int, action: KeepComment) -> Outcome:
        plan = look_at_comment(self._api, self._repository, number, action, we=self._we, memory=self._memory)
        return carry_out_comment(plan, number, action.family, writes=self._writes, memory=self._memory)


class DryRunWriter:
    """Looks and decides as `GithubWriter` does, and writes nothing: neither to GitHub nor to the memory."""

    def __init__(self, api: Api, repository: str, *, we: Account, memory: Memory) -> None:
        self._api, self._repository, self._we, self._memory = api, repository, we, memory

    def keep_labels(
        self, number: int, action: KeepLabels, *, labels: LabelsOfARepository, before: Mapping[str, LabelState]
    ) -> Outcome:
        del before  # a dry run has no earlier rounds: it never waits for a turn
        return dry_labels(
            look_at_labels(self._api, self._repository, number, action, memory=self._memory, settings=labels)
        )

    def keep_comment(self, number: int, action: KeepComment) -> Outcome:
        return dry_comment(
            look_at_comment(self._api, self._repository, number, action, we=self._we, memory=self._memory)
        )
