"""The answer about the prompts of a library, which the pages and `hls prompts list` show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain

from hls_handler.analysis import REPLY_TYPES, Prompt, ReplyFields, list_possible_labels
from hls_handler.prompting.prompt import Library, origin
from hls_handler.prompting.variables import describe_type
from hls_handler.reports.documents import fill
from hls_handler.settings import shipped
from hls_handler.store.call_rows import PromptStats
from hls_handler.store.corrections import feedback_in
from hls_handler.store.storage import Storage
from hls_handler.untrusted.placeholders import public_hints
from hls_handler.wording import count, format_usd


@dataclass(frozen=True, slots=True)
class CorrectionCount:
    """Labels that a version of a prompt set for a field, and those of them that people changed."""

    id: str  # of the version
    field: str
    set: int
    corrected: int

    def __str__(self) -> str:
        """Return "priority: 6 of 40 labels, 15%"."""
        sentence = f"{self.field}: {self.corrected} of {count(self.set, 'label')}"
        if self.set:
            return f"{sentence}, {self.corrected / self.set:.0%}"
        return sentence


@dataclass(frozen=True, slots=True)
class Version:
    """The replies and the cost of a version of a prompt."""

    id: str
    replies: int = 0
    cost_usd: float = 0.0
    calls_of_unknown_cost: int = 0
    last_error: str | None = None
    last_error_at: datetime | None = None
    # outcome ("invalid") -> number of stored calls that ended so
    failures: Mapping[str, int] = field(default_factory=dict)
    corrections: Sequence[CorrectionCount] = ()

    @property
    def name(self) -> str:
        return self.id.partition("@")[0]

    @property
    def hash(self) -> str:
        return self.id.partition("@")[2]

    @property
    def cost(self) -> str:
        """Return "$0.00060", or "unknown for 2 calls", or both."""
        unknown = self.calls_of_unknown_cost
        if not unknown:
            return format_usd(self.cost_usd)
        sentence = f"unknown for {count(unknown, 'call')}"
        if self.cost_usd:
            return f"{format_usd(self.cost_usd)}, and {sentence}"
        return sentence

    @property
    def failed(self) -> str:
        failures = [f"{number} {outcome}" for outcome, number in sorted(self.failures.items())]
        return ", ".join(failures) or "none"

    @property
    def corrected(self) -> str:
        return "; ".join(map(str, self.corrections)) or "none"


@dataclass(frozen=True, slots=True)
class ListedPrompt:
    """A prompt with the version in use first, then the earlier ones, most replies first."""

    id: str
    name: str
    on: Sequence[str]
    after: Sequence[str]
    files: Sequence[str]
    origin: str
    versions: Sequence[Version]
    corrections: Sequence[CorrectionCount]  # of all versions

    @property
    def triggers(self) -> str:
        """Return "issues.opened, after issues/triage"."""
        names = [*self.on, *(f"after {name}" for name in self.after)]
        return ", ".join(names) or "no event of its own"


def read_versions(store: Storage) -> Sequence[Version]:
    """Return all versions of prompts that were used. Blocks."""
    rows = {row.prompt_id: row for row in store.calls.prompt_stats()}
    failures = store.calls.failures()
    feedback = feedback_in(store.statistics.counters())
    versions = []
    for prompt_id in sorted(rows.keys() | feedback.keys()):
        corrections = [
            fill(CorrectionCount, labels, id=prompt_id, field=name)
            for name, labels in feedback.get(prompt_id, {}).items()
        ]
        version = fill(
            Version,
            rows.get(prompt_id, PromptStats(prompt_id)),
            id=prompt_id,
            failures=failures.get(prompt_id, {}),
            corrections=corrections,
        )
        versions.append(version)
    return versions


def list_prompts(library: Library, versions: Sequence[Version]) -> Sequence[ListedPrompt]:
    return [describe_prompt(library, prompt, versions) for prompt in library.prompts.values()]


def describe_prompt(library: Library, prompt: Prompt, versions: Sequence[Version]) -> ListedPrompt:
    sources = library.sources[prompt.name]
    own_versions = list_versions(prompt.id, versions)
    return fill(
        ListedPrompt,
        prompt,
        after=library.predecessors(prompt.name),
        files=[source.file for source in sources.sources],
        origin=origin(sources, shipped.PROMPTS),
        versions=own_versions,
        corrections=[*chain.from_iterable(version.corrections for version in own_versions)],
    )


def list_versions(prompt_id: str, versions: Sequence[Version]) -> Sequence[Version]:
    """Return the version `prompt_id`, then the earlier ones that were used, the one with most
    replies first.
    """
    current = Version(prompt_id)
    earlier = []
    for version in versions:
        if version.id == prompt_id:
            current = version
        elif version.name == current.name:
            earlier.append(version)
    return [current, *sorted(earlier, key=lambda version: -version.replies)]


def format_custom_fields(prompt: Prompt) -> list[str]:
    """Return "component: one of payments, search, none" for each reply field that the prompt adds
    or changes.
    """
    shipped_hints = public_hints(REPLY_TYPES[prompt.reply])
    hints = public_hints(prompt.reply_model).items()
    return [
        f"{name}: {describe_type(hint)}" for name, hint in hints if shipped_hints.get(name) != hint
    ]


def list_labels(model: type[ReplyFields]) -> Iterator[tuple[str, str]]:
    for name, rule in model.label_rules.items():
        yield name, ", ".join(list_possible_labels(rule, model.model_fields[name].annotation))
