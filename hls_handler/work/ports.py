"""What the pipeline needs of the world outside: GitHub and Claude, as one worker sees them, and what holds now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from hls_handler.actions import KeepComment, KeepLabels, Outcome
from hls_handler.analysis import Answered, Unusable
from hls_handler.deliveries import Lease
from hls_handler.events import Account
from hls_handler.handlers.labelling import LabelState
from hls_handler.handlers.reader import Reader
from hls_handler.history.conversations import ConversationHistory
from hls_handler.prompting.library import Library
from hls_handler.prompting.render import Rendered
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import LabelsOfARepository, Settings
from hls_handler.storage import Storage
from hls_handler.work.health import Health


class Writer(Protocol):
    """Ensures on one repository: calling one twice is the same as calling it once."""

    def keep_labels(
        self, number: int, action: KeepLabels, *, labels: LabelsOfARepository, before: Mapping[str, LabelState]
    ) -> Outcome:
        """`before` is what was remembered of the labels when the delivery first came here."""
        ...

    def keep_comment(self, number: int, action: KeepComment) -> Outcome: ...


class Github(Protocol):
    """GitHub as the account whose token we hold. One per worker thread."""

    def who_am_i(self) -> Account: ...

    def reader(self, repository: str) -> Reader: ...

    def writer(
        self,
        repository: str,
        *,
        we: Account,
        memory: ConversationHistory,
        before_write: Callable[[], None],
        still_ours: Callable[[], None],
        dry_run: bool,
    ) -> Writer:
        """`before_write` waits for a turn; `still_ours` is asked again right before bytes leave. Both may raise."""
        ...


class Claude(Protocol):
    """Claude, asked for one typed reply. One per worker thread."""

    def model_for(self, rendered: Rendered) -> str: ...

    def ask(self, rendered: Rendered, *, correction: Unusable | None = None) -> Answered | Unusable: ...


class Holding(Protocol):
    """Whether a lease still holds, by a clock of this machine (`leases.Leases`). Both raise `LeaseLost`."""

    def require(self, lease: Lease, *, least: float = 0.0) -> None: ...

    def secure(self, lease: Lease) -> None: ...


@dataclass(frozen=True, slots=True)
class Now:
    """What holds for the delivery that is worked on: settings and prompts may be others for the next one."""

    settings: Settings
    table: RepositoryTable
    library: Library


@dataclass(frozen=True, slots=True)
class Tools:
    """What one worker works with."""

    store: Storage
    leases: Holding
    github: Github
    claude: Claude
    health: Health
    now: Callable[[], Now]
    we: Callable[[Github], Account]  # who we are; asks GitHub where that is not known yet
    stopping: Callable[[], bool]  # whether the service was told to end
    pause: Callable[[float], object]  # wait so many seconds, or until the service is told to end
    jitter: Callable[[], float]  # in [0, 1)
    clock: Callable[[], float]  # seconds, monotonic; for how long a step took
