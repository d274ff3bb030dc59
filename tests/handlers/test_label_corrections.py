"""Detection of label corrections from current labels, and the prompt id of each label group."""

from __future__ import annotations

import pytest

from hls_handler.handlers.labels import AppliedLabel, find_changed_corrections

GROUPS = {
    "bug": "kind",
    "question": "kind",
    "priority-high": "priority",
    "priority-low": "priority",
    "priority-medium": "priority",
}
HIGH = "priority-high"


@pytest.mark.parametrize(
    ("recorded", "shown", "set_by_bot", "expected"),
    [
        (None, [HIGH], [HIGH], "unchanged"),
        (None, ["Priority-High", "ui"], [HIGH], "unchanged"),
        (None, [], [HIGH], ""),
        (None, ["ui", "bug"], [HIGH], ""),
        (None, ["priority-low"], [HIGH], "priority-low"),
        (None, ["Priority-Low"], [HIGH], "Priority-Low"),
        (None, [HIGH, "priority-low"], [HIGH], "priority-low"),
        (None, [HIGH, "priority-low"], [HIGH, "priority-low"], "unchanged"),
        (None, ["priority-low", "priority-medium"], [HIGH], "priority-low"),
        ("", [], [], "unchanged"),
        ("", ["priority-low"], [], "priority-low"),
        ("priority-low", [], [], ""),
        ("priority-low", [HIGH], [], None),
        ("", [HIGH], [HIGH], None),
        ("", ["priority-low"], ["priority-low"], "unchanged"),
    ],
    ids=[
        "not changed",
        "not changed, other spelling",
        "removed",
        "removed, labels of other groups are irrelevant",
        "replaced",
        "replaced, other spelling",
        "another label added",
        "another label added by us",
        "replaced by two",
        "still removed",
        "replaced after it was removed",
        "the replacement was removed",
        "set again instead of the replacement",
        "set again",
        "we set another after it was removed",
    ],
)
def test_correction_of_a_label(
    recorded: str | None, shown: list[str], set_by_bot: list[str], expected: str | None
) -> None:
    changed = find_changed_corrections(
        [AppliedLabel("priority", HIGH, "issues/analyze@3f9c2a", recorded)],
        shown,
        set_by_bot=set_by_bot,
        groups=GROUPS,
    )
    corrected = (AppliedLabel("priority", HIGH, "issues/analyze@3f9c2a", expected),)
    assert changed == (() if expected == "unchanged" else corrected)


def test_only_labels_of_the_same_group_are_corrections() -> None:
    words = [AppliedLabel("kind", "bug", "p@1", None), AppliedLabel("priority", HIGH, "p@1", None)]
    changed = find_changed_corrections(words, ["question", HIGH], set_by_bot=["bug", HIGH], groups=GROUPS)
    assert changed == (AppliedLabel("kind", "bug", "p@1", "question"),)
