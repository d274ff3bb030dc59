"""The port through which a handler reads, asks and posts for one delivery."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, TypeVar

from hls_handler.actions import Action, EnsureCheck, Outcome
from hls_handler.analysis import Analysis, ReplyFields
from hls_handler.deliveries import End
from hls_handler.events import Event
from hls_handler.github.reader import GithubReader
from hls_handler.handlers.asking import Asking, Replies
from hls_handler.handlers.reader import HistoryUpdate, RepositoryHistory
from hls_handler.review.record import ReviewRecord
from hls_handler.routing import Rule
from hls_handler.settings.model import Features
from hls_handler.settings.path_globs import EMPTY_PATH_FILTER, PathFilter
from hls_handler.settings.repository import FileProblems
from hls_handler.settings.sections import EffectiveLabels, FindingSettings, ReviewSettings
from hls_handler.settings.values import ReviewersMode, Summary

Facts = TypeVar("Facts")

NO_INLINE: Mapping[str, Mapping[str, object]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PromptLimits:
    """Limits from the settings on the text that Claude gets and on the findings that a comment
    shows.
    """

    input_tokens: int  # estimated
    ignored_paths: PathFilter = EMPTY_PATH_FILTER  # files of pull requests that Claude is not shown
    shown: FindingSettings = field(
        default_factory=FindingSettings
    )  # thresholds for findings in comments
    # whether there is a comment if nothing was found or is missing
    summary: Summary = "on_findings"
    # whether the comment on a pull request has a sentence on each changed file
    sums_up_files: bool = False
    shows_cost: bool = False  # whether the check of a pull request shows prices
    # of the title that Claude is asked for; (): it is asked for none
    title_types: tuple[str, ...] = ()
    reviewers: ReviewersMode = False
    labels: EffectiveLabels = field(default_factory=EffectiveLabels)
    taken_labels: frozenset[str] | None = None
    """Case-folded names of labels that the reply sets by other fields; None: the prompt lists no
    labels.
    """
    is_review: bool = False  # True if the prompt reviews a pull request
    review: ReviewSettings = field(default_factory=ReviewSettings)
    features: Features = field(default_factory=Features)
    documents: bool = False  # whether the prompt gets sections of the repository's documentation
    searches: bool = True  # whether it gets other places of the repository
    similar: bool = False  # whether it gets older issues
    is_past: bool = False  # whether nothing is read that was written after the event


@dataclass(frozen=True, slots=True)
class Conversation:
    """The issue or pull request that receives the labels and the comment."""

    number: int
    is_pull_request: bool
    may_be_closed: bool = False  # True: it is also processed if it is closed
    # the fallback issue from settings: it receives a comment, but no labels
    is_fallback_issue: bool = False


@dataclass(frozen=True, slots=True)
class FactSource:
    """The sources of facts: GitHub, and the results that HLS has stored."""

    event: Event
    reader: GithubReader
    history: RepositoryHistory
    limits: PromptLimits


@dataclass(frozen=True, slots=True)
class Guard:
    """A reason that makes a delivery unnecessary. It is evaluated again under the locks.

    `find_reason` returns a sentence if a later stored result makes the facts outdated.
    """

    head_sha: str | None = None  # of the pull request that was read: a newer push supersedes it
    find_reason: Callable[[RepositoryHistory], str | None] = lambda _: None


NO_GUARD = Guard()


class Job(Protocol):
    """One delivery in work. After a crash, `Handler.run` is called again.

    `record`, `ask` and `post` store what they did, and return a stored result without doing it
    again. All methods may raise `Postponed`, `LeaseLost`, `Superseded` or a `StepFailed`, which end
    the run; the engine decides what follows.
    """

    @property
    def event(self) -> Event: ...

    @property
    def rule(self) -> Rule: ...

    @property
    def asking(self) -> Asking:
        """Claude or stored replies, for a handler that asks about parts of the facts."""
        ...

    def record(self, shape: type[Facts], read: Callable[[FactSource], Facts]) -> Facts:
        """Return the facts that `read` returns, or has returned in an earlier attempt."""
        ...

    def look_up(self, shape: type[Facts], read: Callable[[FactSource], Facts]) -> Facts | None:
        """Return what `read` finds of what a reply asks to see, as `record`. None if nothing can be
        read.
        """
        ...

    def remember(self, update: HistoryUpdate) -> None:
        """Store results and texts for later deliveries, if the facts were just read."""
        ...

    def require(self, guard: Guard) -> None:
        """Raise `Superseded` if the delivery is not necessary any more."""
        ...

    def choose(self, conversation: Conversation | None) -> None:
        """Post on this conversation; None: on none. Raises `ConversationIgnored` if it was
        processed too often.
        """
        ...

    def lock(self, name: str) -> None:
        """Acquire a lock of the chosen conversation until the delivery ends, or for two minutes.

        Raises `Postponed` while another delivery holds it.
        """
        ...

    def comment_state(self, family: str) -> str | None:
        """Return the `EnsureComment.state` that was last posted on the chosen conversation."""
        ...

    def note(
        self,
        *,
        omitted: str = "",
        sent: str = "",
        unanswered: str = "",
        unverified: str | None = None,
    ) -> None:
        """Store sentences for `hls why`: what Claude is not shown, what it gets besides the event,
        parts of the facts without a reply, and why the findings were not verified.
        """
        ...

    def report(self, problems: FileProblems) -> None:
        """Let the comment on the problems of the repository's settings name these, too. It is
        written once for each version of the files.
        """
        ...

    def begin_check(self, commit: str) -> None:
        """Show the check on a commit in progress, unless it was ended."""
        ...

    def ask(self, variables: Mapping[str, object]) -> Replies:
        """Return the replies to the first prompt and to those that follow. Raises `BudgetExceeded`
        without one.
        """
        ...

    def render(
        self,
        replies: Replies,
        variables: Mapping[str, object],
        inline: Mapping[str, Mapping[str, object]] = NO_INLINE,
    ) -> Analysis:
        """Return the replies with the comments that show them.

        `inline` are more variables of each review comment, by the key of the finding.
        """
        ...

    def render_static(self, reply: ReplyFields, variables: Mapping[str, object]) -> Analysis:
        """Return an analysis without a reply of Claude, whose comment shows `reply`."""
        ...

    def write(
        self, *actions: Action, later: Sequence[Action] = (), unless: Guard = NO_GUARD
    ) -> tuple[Outcome, ...]:
        """Execute actions, on which `later` ones may depend, and return their outcomes.

        `post` follows. It raises what GitHub refused, after the other actions, unless a retry
        helps.
        """
        ...

    def post(self, *actions: Action, reason: str = "", unless: Guard = NO_GUARD) -> End:
        """Execute the actions. The result has the reason and what was done."""
        ...

    def post_check(self, actions: tuple[EnsureCheck, ...], reason: str) -> End:
        """Set the check of a delivery that needs no call to Claude."""
        ...

    def store_review(self, record: ReviewRecord) -> None: ...
