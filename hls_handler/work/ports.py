"""What the pipeline needs of the world outside: GitHub and Claude, as one worker sees them, and what holds now."""

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
    """Ensures on one repository: calling one twice is the same as calling it once."""

    def ensure_labels(
        self, number: int, action: EnsureLabels, *, labels: EffectiveLabels, before: Mapping[str, LabelState]
    ) -> Outcome:
        """`before` is what was remembered of the labels when the delivery first came here."""
        ...

    def ensure_comment(self, number: int, action: EnsureComment) -> Outcome: ...


class Github(Protocol):
    """GitHub as the account whose token we hold. One per worker thread."""

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
        """`wait_for_slot` waits for a turn; `check_lease` is asked again right before bytes leave. Both may raise."""
        ...


class Claude(Protocol):
    """Claude, asked for one typed reply. One per worker thread."""

    def model_for(self, rendered: RenderedPrompt) -> str: ...

    def ask(
        self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None
    ) -> ValidReply | UnusableReply: ...


class LeaseCheck(Protocol):
    """Whether a lease still holds, by a clock of this machine (`leases.Leases`). Both raise `LeaseLost`."""

    def require(self, lease: Lease, *, least: float = 0.0) -> None: ...

    def secure(self, lease: Lease) -> None: ...


@dataclass(frozen=True, slots=True)
class DeliveryConfig:
    """What holds for the delivery that is worked on: settings and prompts may be others for the next one."""

    settings: Settings
    table: RepositoryTable
    library: Library


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What one worker works with."""

    store: Storage
    leases: LeaseCheck
    github: Github
    claude: Claude
    health: Health
    now: Callable[[], DeliveryConfig]
    bot: Callable[[Github], Account]  # who we are; asks GitHub where that is not known yet
    stopping: Callable[[], bool]  # whether the service was told to end
    pause: Callable[[float], object]  # wait so many seconds, or until the service is told to end
    jitter: Callable[[], float]  # in [0, 1)
    clock: Callable[[], float]  # seconds, monotonic; for how long a step took
