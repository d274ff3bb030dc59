"""What people made of our labels, told from what a thread shows; and whose word each label is."""

from __future__ import annotations

import pytest

from hls_handler.actions import KeepComment, KeepLabels, LabelWish
from hls_handler.handlers.corrections import Word, attributed, judge
from tests.handlers.world import analysis, issue_analysis, issue_response, pull_request_analysis

FIELDS = {
    "bug": "kind",
    "question": "kind",
    "priority-high": "priority",
    "priority-low": "priority",
    "priority-medium": "priority",
}
HIGH = "priority-high"


@pytest.mark.parametrize(
    ("noted", "shown", "ours", "becomes"),
    [
        (None, [HIGH], [HIGH], "nothing new"),
        (None, ["Priority-High", "ui"], [HIGH], "nothing new"),
        (None, [], [HIGH], ""),
        (None, ["ui", "bug"], [HIGH], ""),
        (None, ["priority-low"], [HIGH], "priority-low"),
        (None, ["Priority-Low"], [HIGH], "Priority-Low"),
        (None, [HIGH, "priority-low"], [HIGH], "priority-low"),
        (None, [HIGH, "priority-low"], [HIGH, "priority-low"], "nothing new"),
        (None, ["priority-low", "priority-medium"], [HIGH], "priority-low"),
        ("", [], [], "nothing new"),
        ("", ["priority-low"], [], "priority-low"),
        ("priority-low", [], [], ""),
        ("priority-low", [HIGH], [], None),
        ("", [HIGH], [HIGH], None),
        ("", ["priority-low"], ["priority-low"], "nothing new"),
    ],
    ids=[
        "it stands",
        "it stands, spelt otherwise",
        "it was taken away",
        "labels of other fields are none of its",
        "another took its place",
        "another took its place, spelt otherwise",
        "another was put beside it",
        "we put another beside it",
        "two took its place",
        "it stays away",
        "another comes after it was taken away",
        "the other goes, too",
        "it came back in place of the other",
        "it came back",
        "we set another after it was taken away",
    ],
)
def test_what_people_made_of_a_label(noted: str | None, shown: list[str], ours: list[str], becomes: str | None) -> None:
    changed = judge([Word("priority", HIGH, "issues/analyze@3f9c2a", noted)], shown, ours=ours, field_of=FIELDS)
    expected = () if becomes == "nothing new" else (Word("priority", HIGH, "issues/analyze@3f9c2a", becomes),)
    assert changed == expected


def test_each_label_is_judged_by_those_of_its_own_field() -> None:
    words = [Word("kind", "bug", "p@1", None), Word("priority", HIGH, "p@1", None)]
    changed = judge(words, ["question", HIGH], ours=["bug", HIGH], field_of=FIELDS)
    assert changed == (Word("kind", "bug", "p@1", "question"),)


def test_a_label_is_the_word_of_the_prompt_whose_reply_has_its_field() -> None:
    actions = (KeepLabels((LabelWish("bug", "kind"),), ("kind",)), KeepComment("issues", "Hello.", create=True))
    labels, comment = attributed(actions, analysis(issue_analysis(), issue_response()))
    assert isinstance(labels, KeepLabels)
    assert labels.said == {"kind": "p@1", "priority": "p@1", "difficulty": "p@1", "component": "p@1"}
    assert comment is actions[1]


def test_a_size_and_whose_turn_it_is_are_nobodys_word() -> None:
    (labels,) = attributed([KeepLabels((), ("size", "type"))], analysis(pull_request_analysis()))
    assert isinstance(labels, KeepLabels)
    assert labels.said == {"type": "p@1"}
