"""A prompt with custom fields and labels, and changes of its file."""

from __future__ import annotations

from pathlib import Path

from hls_handler.sandbox.server import Sandbox
from tests.e2e.conftest import MakeService
from tests.e2e.test_commands import hls
from tests.e2e.test_main_job import BUG, REPOSITORY, send
from tests.prompting.samples import USERS_TEMPLATE

PROMPT = """\
---
description: Sort our issues
on: [issues.opened, issues.edited]
reply: issue_analysis
fields:
  component: {{enum: [{values}, none]}}
  areas: {{type: list, enum: [cart, log, search]}}
  affected_version: {{type: string}}
  regression: {{type: boolean}}
labels:
  component: "team/{{value}}"
  areas: "area/{{value}}"
  kind: {{bug: defect}}
  difficulty: false
  regression: old
---
Title:
{{{{ issue.title }}}}
Body:
{{{{ issue.body }}}}
"""
COMMENT = "For {{ analysis.component }}, version {{ analysis.affected_version | inline }}."


def test_custom_fields_become_labels_and_are_replaced_by_a_later_reply(
    make_service: MakeService, sandbox: Sandbox, tmp_path: Path
) -> None:
    folder = tmp_path / "our-prompts"
    (folder / "issues").mkdir(parents=True)
    (folder / "issues/analyze.comment.md.j2").write_text(COMMENT)
    (folder / "issues/analyze.j2").write_text(PROMPT.format(values="cart, catalogue"))
    service = make_service(prompts=str(folder)).start()
    send(service, sandbox, "demo/bug")
    conversation = sandbox.state.conversation(REPOSITORY, BUG)
    assert conversation is not None
    assert conversation.labels == ("defect", "priority-high", "team/cart", "area/cart", "area/log", "old")
    assert conversation.comments[0].body.startswith("For cart, version Checkout answers 500")
    result = hls("why", f"{REPOSITORY}#{BUG}", "--config", str(service.settings)).stdout
    assert "component cart" in result
    assert "; areas: cart, log; affected_version: Checkout answers 500" in result

    (folder / "issues/analyze.j2").write_text(PROMPT.format(values="catalogue, cart"))
    send(service, sandbox, "demo/bug-edited")
    conversation = sandbox.state.conversation(REPOSITORY, BUG)
    assert conversation is not None
    assert set(conversation.labels) == {"defect", "priority-high", "team/catalogue", "area/cart", "area/log", "old"}
    assert [comment.body.partition(",")[0] for comment in conversation.comments] == ["For catalogue"]


def test_template_of_one_line_without_front_matter_sets_labels_and_writes_the_shipped_comment(
    make_service: MakeService, sandbox: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "own/issues").mkdir(parents=True)
    (tmp_path / "own/issues/analyze.j2").write_text(USERS_TEMPLATE)
    service = make_service(prompts=f"[{tmp_path}/own, prompts]").start()
    send(service, sandbox, "demo/bug")
    conversation = sandbox.state.conversation(REPOSITORY, BUG)
    assert conversation is not None
    assert conversation.labels == ("bug", "priority-high", "difficulty-moderate", "component-backend")
    assert len(conversation.comments) == 1
    assert "untrusted" not in conversation.comments[0].body
