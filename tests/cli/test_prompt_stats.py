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
