"""The labels that replies can set (`Library.label_groups`)."""

from __future__ import annotations

from pathlib import Path

from hls_handler.handlers.labelling import SHIPPED_LABELS
from tests.prompting.samples import FRONT, load, shipped


def test_shipped_labels_without_size_and_status_come_from_replies() -> None:
    known = {spec.name: spec.group for spec in SHIPPED_LABELS if spec.group not in ("size", "status")}
    library = shipped()
    assert {**library.label_groups("issues"), **library.label_groups("pull_request")} == known
    assert set(library.label_groups("pull_request").values()) == {"type"}


def test_event_without_a_prompt_has_no_labels() -> None:
    assert shipped().label_groups("push") == {}


def test_labels_of_following_prompts_are_included(tmp_path: Path) -> None:
    leads = FRONT.replace("issue_analysis", "issue_response").replace(
        "---\nd", '---\nthen: {prompt: issues/sort.j2, when: "analysis.certain"}\nd'
    )
    led_to = "---\ndescription: Sort it\nreply: issue_analysis\n---\nSort {{ issue.title }}\n"
    library = load(tmp_path, {"issues/answer.j2": leads + "Answer.\n", "issues/sort.j2": led_to})
    assert library.label_groups("issues")["priority-low"] == "priority"


def test_custom_labels_are_included_and_labels_of_a_list_have_their_own_groups(tmp_path: Path) -> None:
    own = """fields:
  areas: {type: list, enum: [Api, web]}
labels: {kind: {bug: Defect}, difficulty: false, areas: "area/{value}"}
"""
    library = load(tmp_path, {"issues/plain.j2": FRONT.replace("reply:", own + "reply:") + "Judge.\n"})
    fields = library.label_groups("issues")
    assert {label: fields[label] for label in fields if not label.startswith(("priority", "component"))} == {
        "defect": "kind",
        "area/api": "areas area/Api",
        "area/web": "areas area/web",
    }
