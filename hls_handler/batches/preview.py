"""The preview of a batch: what it would do, what is left out, and what it may cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hls_handler.analysis import RenderedPrompt
from hls_handler.claude.provider import MARGIN
from hls_handler.deliveries import NewDelivery
from hls_handler.errors import HlsError
from hls_handler.events import Account
from hls_handler.github.client import ReadOnlyGithub
from hls_handler.github.reader import GithubReader
from hls_handler.reports.estimate import estimate
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Settings
from hls_handler.store.batches import NewBatch
from hls_handler.wording import count, format_usd

SAMPLE = 10
"""Subjects whose question is rendered for the forecast."""
CALL_S = 10.0
"""Rounded time from the claim of a delivery to its end."""
CALLS = 2
"""Calls of one question at most: Claude is asked again after an invalid reply."""
MOST_REASONS = 3


class CannotPlan(HlsError):
    """There is no batch to start; the message says why, and what to do."""


def list_reasons(left_out: Mapping[str, int]) -> str:
    """Return why no subject is left, such as "locked (2)"."""
    reasons = (f"{reason} ({number:,})" for reason, number in left_out.items())
    return "; ".join(reasons) or "there is none"


@dataclass(frozen=True, slots=True)
class Target:
    """The repository that a batch is about."""

    settings: Settings
    effective: EffectiveSettings  # those of the repository
    document: Mapping[str, Any]  # as in webhooks
    github: ReadOnlyGithub
    reader: GithubReader
    bot: Account  # HLS's

    @property
    def id(self) -> int:
        return int(self.document["id"])

    @property
    def name(self) -> str:
        """Its present name; a person may have given an older one."""
        return str(self.document["full_name"])


def read_target(
    settings: Settings, effective: EffectiveSettings, github: ReadOnlyGithub, name: str
) -> Target:
    """Raises a `StepFailed` of GitHub."""
    bot = github.fetch_bot_account()
    document = github.repository_document(name)
    return Target(settings, effective, document, github, github.reader(name, bot=bot), bot)


@dataclass(frozen=True, slots=True)
class Forecast:
    calls: int
    typical_usd: float | None  # None: the price of the model is unknown
    max_usd: float
    minutes: float


@dataclass(frozen=True, slots=True)
class Preview:
    new: NewBatch
    subjects: Sequence[NewDelivery]
    left_out: Mapping[str, int]  # by reason
    forecast: Forecast
    notes: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)  # see `Batches.begin`

    def describe(self) -> Iterator[str]:
        """Yield lines for people."""
        new = self.new
        what = f"{new.kind} {new.repository}".rstrip()
        yield f"batch       {what}: {count(len(self.subjects), 'delivery')}"
        reasons = sorted(self.left_out.items(), key=lambda item: -item[1])
        for reason, number in reasons[:MOST_REASONS]:
            yield f"left out    {number:,}: {reason}"
        others = sum(number for _, number in reasons[MOST_REASONS:])
        if others:
            yield f"left out    {others:,} for other reasons (--json)"
        forecast = self.forecast
        yield (
            f"forecast    {count(forecast.calls, 'call')}, about"
            f" {format_usd(forecast.typical_usd)}, at most {format_usd(forecast.max_usd)}, about"
            f" {max(round(forecast.minutes), 1)} min"
        )
        yield from (f"note        {note}" for note in self._list_notes())

    def to_dict(self) -> dict[str, object]:
        return {
            "kind": self.new.kind,
            "repository": self.new.repository,
            "deliveries": len(self.subjects),
            "left_out": dict(self.left_out),
            "forecast": asdict(self.forecast),
            "notes": list(self._list_notes()),
        }

    def _list_notes(self) -> Iterator[str]:
        limit = f"--max-usd {format_usd(self.new.max_usd)}"
        if (self.forecast.typical_usd or 0) > self.new.max_usd:
            yield f"{limit} will end it midway"
        elif self.forecast.max_usd > self.new.max_usd:
            yield f"{limit} may end it midway"
        yield from self.notes


def make_preview(
    settings: Settings,
    new: NewBatch,
    subjects: Sequence[NewDelivery],
    left_out: Mapping[str, int],
    render: Callable[[NewDelivery], Iterable[RenderedPrompt]],
) -> Preview:
    """Return the preview, with a forecast from the questions that `render` returns for the first
    subjects.
    """
    sampled = subjects[:SAMPLE]
    questions = [question for subject in sampled for question in render(subject)]
    calls = round(len(questions) / len(sampled) * len(subjects))
    forecast = _make_forecast(settings, questions, calls, new.max_usd)
    return Preview(new, subjects, left_out, forecast)


def _make_forecast(
    settings: Settings, samples: Sequence[RenderedPrompt], calls: int, max_usd: float
) -> Forecast:
    """Return the cost of so many calls as the samples, and the time with the places and calls
    that batches have.
    """
    expected = estimate(settings.claude, *samples)
    scale = calls / max(len(samples), 1)
    typical = None
    highest_usd = max_usd
    if expected.typical_usd is not None and expected.max_usd is not None:
        typical = expected.typical_usd * scale
        highest_usd = expected.max_usd * scale * CALLS * (1 + MARGIN)
    workers = max(settings.limits.concurrency // 2, 1)
    calls_per_hour = max(settings.claude.calls_per_hour // 2, 1)
    hours = (calls - 1) // calls_per_hour  # after which calls are allowed again
    minutes = max(calls * CALL_S / workers / 60, hours * 60)
    return Forecast(calls, typical, highest_usd, minutes)
