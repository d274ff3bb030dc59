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
        (None, [], [HIGH], ""),
        (None, ["priority-low"], [HIGH], "priority-low"),
        (None, [HIGH, "priority-low"], [HIGH], "priority-low"),
        (None, [HIGH, "priority-low"], [HIGH, "priority-low"], "unchanged"),
        ("", [], [], "unchanged"),
        ("", ["priority-low"], [], "priority-low"),
        ("priority-low", [], [], ""),
        ("priority-low", [HIGH], [], None),
        ("", [HIGH], [HIGH], None),
    ],
    ids=[
        "not changed",
        "removed",
        "replaced",
        "another label added",
        "another label added by us",
        "still removed",
        "replaced after it was removed",
        "the replacement was removed",
        "set again instead of the replacement",
        "set again",
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
