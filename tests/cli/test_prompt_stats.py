"""Statistics of a prompt: of the current version, and of all earlier ones together."""

from __future__ import annotations

from datetime import UTC, datetime

from hls_handler.cli.prompts import format_versions
from hls_handler.reports.prompt_library import LibraryStats
from hls_handler.store.calls import PromptStats
from hls_handler.store.corrections import FieldFeedback


def shown(*rows: PromptStats) -> list[str]:
    return list(format_versions(LibraryStats(rows).versions("issues/analyze@aaaaaa")))


def at(hour: int) -> datetime:
    return datetime(2026, 11, 20, hour, tzinfo=UTC)


def test_a_prompt_that_was_never_used_has_zero_answers_and_cost() -> None:
    assert shown() == ["answers     0", "cost        0.000000 USD", "last error  none"]


def test_the_latest_error_of_earlier_versions_is_shown() -> None:
    assert shown(
        PromptStats("issues/analyze@000000", 1, 0.25, 0, "the later one", at(11)),
        PromptStats("issues/analyze@111111", 2, 0.5, 2, "the earlier one", at(10)),
        PromptStats("issues/analyze@222222", 4, 0.0, 0, None, None),
        PromptStats("issues/analyze@aaaaaa", 8, 0.125, 1, "now", at(9)),
    ) == [
        "answers     8 (earlier versions: 7)",
        "cost        0.125000 USD, and unknown for 1 call (earlier versions: 0.750000 USD, and unknown for 2 calls)",
        "last error  2026-11-20 09:00:00 UTC: now",
        "            (earlier versions: 2026-11-20 11:00:00 UTC: the later one)",
    ]


def test_corrected_labels_are_shown_by_field_with_earlier_versions_in_parentheses() -> None:
    feedback = {
        "issues/analyze@000000": {"priority": FieldFeedback(10, 5), "kind": FieldFeedback(3, 0)},
        "issues/analyze@111111": {"priority": FieldFeedback(10, 1)},
        "issues/analyze@aaaaaa": {"priority": FieldFeedback(40, 6), "component": FieldFeedback(1, 1)},
        "issues/other@aaaaaa": {"priority": FieldFeedback(1, 1)},
    }
    versions = LibraryStats(feedback=feedback).versions("issues/analyze@aaaaaa")
    assert list(format_versions(versions))[4:] == [
        "corrected   priority: 6 of 40 labels, 15% (earlier versions: 6 of 20 labels, 30%)",
        "            component: 1 of 1 label, 100%",
        "            kind: 0 of 0 labels (earlier versions: 0 of 3 labels, 0%)",
    ]
