"""The labels that replies may become."""

from __future__ import annotations

from pathlib import Path

from hls_handler.analysis import IssueAnalysis
from hls_handler.handlers.labelling import CATALOGUE
from hls_handler.prompting.label_fields import labels_of
from tests.prompting.samples import FRONT, load, shipped


def test_the_shipped_labels_are_those_that_replies_become_beside_sizes_and_turns() -> None:
    known = {spec.name: spec.group for spec in CATALOGUE if spec.group not in ("size", "status")}
    library = shipped()
    assert {**library.label_fields("issues"), **library.label_fields("pull_request")} == known
    assert set(library.label_fields("pull_request").values()) == {"type"}


def test_an_event_without_a_prompt_becomes_no_label() -> None:
    assert shipped().label_fields("push") == {}


def test_a_prompt_that_another_leads_to_counts(tmp_path: Path) -> None:
    leads = FRONT.replace("issue_analysis", "issue_response").replace(
        "---\nd", '---\nthen: {prompt: issues/sort.j2, when: "analysis.certain"}\nd'
    )
    led_to = "---\ndescription: Sort it\nreply: issue_analysis\n---\nSort {{ issue.title }}\n"
    library = load(tmp_path, {"issues/answer.j2": leads + "Answer.\n", "issues/sort.j2": led_to})
    assert library.label_fields("issues")["priority-low"] == "priority"


def test_a_value_of_none_is_no_label() -> None:
    assert [label for label, field in labels_of(IssueAnalysis) if field == "component"] == [
        "component-frontend",
        "component-backend",
        "component-database",
    ]
