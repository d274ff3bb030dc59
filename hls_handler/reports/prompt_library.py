"""Describes the prompts of a library: their fields and labels, and the figures of each version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hls_handler.analysis import REPLY_TYPES, ReplyFields, list_possible_labels
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.variables import describe_type
from hls_handler.question import Prompt
from hls_handler.storage import Storage
from hls_handler.store.calls import PromptStats
from hls_handler.store.corrections import FieldFeedback, feedback_in
from hls_handler.store.numbers import sum_labels
from hls_handler.untrusted.placeholders import public_hints
from hls_handler.wording import count, format_usd

NO_CALLS = PromptStats("", 0, 0.0, 0, None, None)


def format_custom_fields(prompt: Prompt) -> list[str]:
    """Return "component: one of payments, search, none" for each reply field that the prompt adds
    or changes.
    """
    shipped = public_hints(REPLY_TYPES[prompt.reply])
    hints = public_hints(prompt.reply_model).items()
    return [f"{name}: {describe_type(hint)}" for name, hint in hints if shipped.get(name) != hint]


def list_labels(model: type[ReplyFields]) -> Iterator[tuple[str, str]]:
    for name, rule in model.label_rules.items():
        yield name, ", ".join(list_possible_labels(rule, model.model_fields[name].annotation))


def format_triggers(library: Library, prompt: Prompt) -> str:
    """Return "issues.opened, after issues/triage"."""
    predecessors = [f"after {name}" for name in library.predecessors(prompt.name)]
    return ", ".join([*prompt.on, *predecessors]) or "no event of its own"


def _is_version_of(prompt_id: str, other_id: str) -> bool:
    return prompt_id.partition("@")[0] == other_id.partition("@")[0]


def format_known_cost(row: PromptStats) -> str:
    """Return "$0.00060", or "unknown for 2 calls", or both."""
    unknown = row.calls_of_unknown_cost
    if not unknown:
        return format_usd(row.cost_usd)
    sentence = f"unknown for {count(unknown, 'call')}"
    if row.cost_usd:
        return f"{format_usd(row.cost_usd)}, and {sentence}"
    return sentence


def _format_share(feedback: FieldFeedback) -> str:
    """Return "6 of 40 labels, 15%" if people changed 6 of the 40 labels that a field set."""
    sentence = f"{feedback.corrected} of {count(feedback.set, 'label')}"
    if feedback.set:
        return f"{sentence}, {feedback.share:.0%}"
    return sentence


@dataclass(frozen=True, slots=True)
class Version:
    id: str
    calls: PromptStats
    failures: Mapping[str, int]  # outcome ("invalid") -> number of stored calls that ended so
    corrections: Mapping[str, FieldFeedback]  # by field of the reply

    @property
    def failed(self) -> str:
        failures = [f"{number} {outcome}" for outcome, number in sorted(self.failures.items())]
        return ", ".join(failures) or "none"

    def corrected(self) -> str:
        """Return "priority: 6 of 40 labels, 15%; kind: ..."."""
        shares = [
            f"{name}: {_format_share(feedback)}" for name, feedback in self.corrections.items()
        ]
        return "; ".join(shares) or "none"


@dataclass(frozen=True, slots=True)
class LibraryStats:
    rows: Sequence[PromptStats] = ()
    # prompt id -> outcome -> number of calls
    failures: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    # prompt id -> field of the reply
    feedback: Mapping[str, Mapping[str, FieldFeedback]] = field(default_factory=dict)

    def versions(self, prompt_id: str) -> list[Version]:
        """Return the version `prompt_id`, then all earlier versions that were used, the one with
        most replies first.
        """
        by_id = {
            row.prompt_id: row for row in self.rows if _is_version_of(prompt_id, row.prompt_id)
        }
        corrected = {other_id for other_id in self.feedback if _is_version_of(prompt_id, other_id)}
        others = (by_id.keys() | corrected) - {prompt_id}
        earlier = sorted(
            others, key=lambda other_id: (-by_id.get(other_id, NO_CALLS).replies, other_id)
        )
        return [
            Version(
                other_id,
                by_id.get(other_id, NO_CALLS),
                self.failures.get(other_id, {}),
                self.feedback.get(other_id, {}),
            )
            for other_id in (prompt_id, *earlier)
        ]


def read_library_stats(store: Storage) -> LibraryStats:
    """Return the statistics of all prompts. Blocks."""
    totals = sum_labels(store.statistics.totals())
    return LibraryStats(store.calls.prompt_stats(), store.calls.failures(), feedback_in(totals))
