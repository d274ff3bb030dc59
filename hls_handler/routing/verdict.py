"""The results of routing (`Rule`, `LabelCorrection`, `Ignored`), and its interface to the prompt library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from hls_handler.settings.effective import EffectiveSettings
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
"""Keys under which ignored deliveries are counted."""


@dataclass(frozen=True, slots=True)
class Shadow:
    """A prompt that runs in addition to the rule's prompt and posts nothing."""

    prompt: str  # "issues/strict"; its existence is checked when it runs
    chosen_by: str  # key path in `prompts.use`


@dataclass(frozen=True, slots=True)
class Rule:
    """The event is processed by `prompt`."""

    event_key: str  # "issues.opened"
    prompt: str  # "issues/analyze"
    effective: EffectiveSettings  # the settings of its repository
    file: str  # of the prompt: "prompts/issues/analyze.j2"
    chosen_by: str | None = None  # key path in `prompts.use`; None: the prompt's own `on:` names the event
    shadow: Shadow | None = None

    def why(self, sources: Sources) -> str:
        """Return a sentence with the line of settings and the prompt file that enable the event.

        Built on demand, because the receiver does not need it.
        """
        if self.chosen_by is not None:
            return f"{sources.where(self.chosen_by)} chooses {self.file} for {self.event_key}"
        enabled_at = sources.where(f"{self.effective.key}.events")
        return f"{enabled_at} enables {self.event_key}, and {self.file} is for it"


@dataclass(frozen=True, slots=True)
class LabelCorrection:
    """A person changed a label of a field that Claude fills in: recorded without a prompt or a call to Claude."""

    event_key: str  # "issues.unlabeled"
    field: str  # "priority"
    effective: EffectiveSettings

    def why(self, sources: Sources) -> str:
        """Return a sentence like that of `Rule.why`."""
        enabled_at = sources.where(f"{self.effective.key}.events")
        return f"{enabled_at} enables events of this kind, and changes of {self.field} labels by people are corrections"


@dataclass(frozen=True, slots=True)
class Ignored:
    """The event is not processed."""

    kind: IgnoredKind
    reason: str  # a sentence that names the required change, with its file and line


class PromptCatalogue(Protocol):
    """The part of the prompt library that routing uses."""

    def on(self, event_key: str) -> tuple[str, ...]:
        """Names of the prompts with exactly this key in `on:`: "issues.opened" or "push" -> ("issues/analyze",)."""
        ...

    def label_groups(self, event: str) -> Mapping[str, str]:
        """Maps each label that replies about an event can produce, in lower case, to its field: {"bug": "kind"}."""
        ...

    def file(self, name: str) -> str:
        """The file of a prompt: "issues/analyze" -> "prompts/issues/analyze.j2". Raises KeyError if unknown."""
        ...
