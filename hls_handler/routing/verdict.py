"""What routing answers: a rule, or a no with its reason; and what it needs to know of the prompt library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from hls_handler.settings.effective import Effective
from hls_handler.settings.model import Sources

IgnoredKind = Literal[
    "no repository",
    "repository not configured",
    "repository disabled",
    "event not enabled",
    "no prompt",
    "several prompts",
    "prompt switched off",
    "nothing relevant changed",
    "nothing failed",
    "nothing asked",
    "another's review",
    "own account",
    "other bot",
    "draft",
    "asked to skip",
    "no label of ours",
]
"""What ignored deliveries are counted under."""


@dataclass(frozen=True, slots=True)
class Shadow:
    """A prompt that runs beside the one of the rule, and posts nothing."""

    prompt: str  # "issues/strict"; whether there is one of that name is found out when it runs
    chosen_by: str  # key path in `prompts.use`


@dataclass(frozen=True, slots=True)
class Rule:
    """The event is worked on."""

    event_key: str  # "issues.opened"
    prompt: str  # "issues/analyze"
    effective: Effective  # the settings of its repository
    file: str  # of the prompt: "prompts/issues/analyze.j2"
    chosen_by: str | None = None  # key path in `prompts.use`; None: the prompt's own `on:` names the event
    shadow: Shadow | None = None

    def why(self, sources: Sources) -> str:
        """A sentence: the line of settings and the prompt file that let it in. Made on demand: the door never asks."""
        if self.chosen_by is not None:
            return f"{sources.where(self.chosen_by)} chooses {self.file} for {self.event_key}"
        enabled_at = sources.where(f"{self.effective.key}.events")
        return f"{enabled_at} enables {self.event_key}, and {self.file} is for it"


@dataclass(frozen=True, slots=True)
class Feedback:
    """A person changed a label of a field that Claude fills in: noted without a prompt, and without asking anybody."""

    event_key: str  # "issues.unlabeled"
    field: str  # "priority"
    effective: Effective

    def why(self, sources: Sources) -> str:
        """A sentence, as `Rule.why` makes one."""
        enabled_at = sources.where(f"{self.effective.key}.events")
        return f"{enabled_at} has the thread's events, and people's changes of {self.field} labels are feedback"


@dataclass(frozen=True, slots=True)
class Ignored:
    """The event is not worked on."""

    kind: IgnoredKind
    reason: str  # a sentence: what would have to change, and in which file and line


class Catalogue(Protocol):
    """What routing asks of the prompt library."""

    def on(self, event_key: str) -> tuple[str, ...]:
        """Names of the prompts that go to work on exactly this: "issues.opened" or "push" -> ("issues/analyze",)."""
        ...

    def label_fields(self, event: str) -> Mapping[str, str]:
        """The labels that replies about an event may become, in lower case, each with its field: {"bug": "kind"}."""
        ...

    def file(self, name: str) -> str:
        """The file of a prompt, for messages: "issues/analyze" -> "prompts/issues/analyze.j2". KeyError if unknown."""
        ...
