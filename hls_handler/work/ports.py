"""Interfaces of GitHub and Claude as the pipeline uses them, and the values that a worker gives to a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from hls_handler.actions import EnsureComment, EnsureLabels, Outcome
from hls_handler.analysis import UnusableReply, ValidReply
from hls_handler.deliveries import Lease
from hls_handler.events import Account
from hls_handler.handlers.labels import LabelState
from hls_handler.handlers.reader import Reader
from hls_handler.history.conversations import ConversationHistory
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import EffectiveLabels, Settings
from hls_handler.storage import Storage
from hls_handler.work.health import Health


class Writer(Protocol):
    """Idempotent writes to one repository."""

    def ensure_labels(
        self, number: int, action: EnsureLabels, *, labels: EffectiveLabels, before: Mapping[str, LabelState]
    ) -> Outcome:
        """Set and remove labels. `before` is the stored label state before the delivery's first write."""
        ...

    def ensure_comment(self, number: int, action: EnsureComment) -> Outcome: ...


class Github(Protocol):
    """GitHub as the bot account. One per worker thread."""

    def fetch_bot_account(self) -> Account: ...

    def reader(self, repository: str) -> Reader: ...

    def writer(
        self,
        repository: str,
        *,
        bot: Account,
        memory: ConversationHistory,
        wait_for_slot: Callable[[], None],
        check_lease: Callable[[], None],
        dry_run: bool,
    ) -> Writer:
        """Return a writer. It calls `wait_for_slot` and then `check_lease` before each write; both may raise."""
        ...


class Claude(Protocol):
    """Client that requests one typed reply from Claude. One per worker thread."""

    def model_for(self, rendered: RenderedPrompt) -> str: ...

    def ask(
        self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None
    ) -> ValidReply | UnusableReply: ...


class LeaseCheck(Protocol):
    """Checks of a lease by the local clock (`queue.leases.HeldLeases`). Both methods raise `LeaseLost`."""

    def require(self, lease: Lease, *, least: float = 0.0) -> None: ...

    def secure(self, lease: Lease) -> None: ...


@dataclass(frozen=True, slots=True)
class DeliveryConfig:
    """Settings and prompts for one delivery; the next one may have others."""

    settings: Settings
    table: RepositoryTable
    library: Library


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """Clients and functions that a worker uses for one delivery."""

    store: Storage
    leases: LeaseCheck
    github: Github
    claude: Claude
    health: Health
    now: Callable[[], DeliveryConfig]
    bot: Callable[[Github], Account]  # the bot account; requested from GitHub if it is not stored
    stopping: Callable[[], bool]  # whether the service is stopping
    pause: Callable[[float], object]  # wait this many seconds, or until the service is stopping
    jitter: Callable[[], float]  # in [0, 1)
    clock: Callable[[], float]  # seconds, monotonic; measures the duration of steps
