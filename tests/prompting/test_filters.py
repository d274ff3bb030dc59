"""HLS's template filters, on untrusted and trusted text, in prompts and in comments."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from hls_handler.errors import PromptError
from hls_handler.prompting.render import render, render_comment
from hls_handler.untrusted.markdown import format_for_cell, sanitize_inline
from tests.prompting.samples import ANALYSIS, FRONT, ISSUE, KEY, issue_variables, load

LONG = replace(ISSUE, title="One\nTwo <!-- hidden -->\nThree | `four`", body="x" * 70_000)


def in_prompt(folder: Path, template: str) -> str:
    library = load(folder, {"issues/t.j2": FRONT + "#" + template})
    text = render(library, "issues/t", issue_variables(LONG), key=KEY).task.removeprefix("#")
    return re.sub(" [0-9a-f]{16}>", ">", text)


def in_comment(folder: Path, template: str) -> str:
    library = load(folder, {"issues/t.j2": FRONT + "x", "issues/t.comment.md.j2": template})
    comment = render_comment(library, "issues/t", {**issue_variables(LONG), "analysis": ANALYSIS}, key=KEY)
    assert comment is not None
    return comment


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ issue.title | excerpt(5) }}", "<stranger>\nOne\nT… [18 characters cut]\n</stranger>"),
        ("{{ issue.title | lines(2, 2) }}", "<stranger>Two </stranger>"),
        ("{{ issue.title | code }}", "<stranger>\nOne\nTwo <!-- hidden -->\nThree | `four`\n</stranger>"),
        ("{{ rule.prompt | excerpt(6) }}", "issues… [8 characters cut]"),
        ("{{ rule.prompt | excerpt(60) }}", "issues/analyze"),
        ("{{ 'a\nb\nc' | lines(2, 3) }}", "b\nc"),
        ("{{ action | code }}", "opened"),
    ],
)
def test_filters_in_prompts(tmp_path: Path, template: str, text: str) -> None:
    assert in_prompt(tmp_path, template) == text


def test_code_is_not_truncated(tmp_path: Path) -> None:
    assert len(in_prompt(tmp_path, "{{ issue.body }}")) < 60_100
    assert len(in_prompt(tmp_path, "{{ issue.body | code }}")) == 70_000 + len("<stranger></stranger>")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("| {{ issue.title | inline }} |", f"| {sanitize_inline(LONG.title)} |"),
        ("`{{ issue.title | inline }}`", f"`{format_for_cell.in_code_span(LONG.title)}`"),
        ("```\n{{ issue.title | inline }}\n```", f"```\n{format_for_cell.in_code_block(LONG.title)}\n```"),
        ("[x]({{ issue.title | inline }})", f"[x]({format_for_cell.in_link_target(LONG.title)})"),
        ("<b>{{ issue.title | inline }}</b>", f"<b>{format_for_cell.in_html(LONG.title)}</b>"),
    ],
    ids=["table cell", "code span", "code block", "link target", "HTML"],
)
def test_inline_is_safe_at_every_place_of_a_comment(tmp_path: Path, template: str, text: str) -> None:
    assert in_comment(tmp_path, template) == text


@pytest.mark.parametrize("macro", [False, True], ids=["itself", "in a macro of another template"])
@pytest.mark.parametrize(
    ("file", "filter_name", "where"),
    [("issues/t.j2", "inline", "comments"), ("issues/t.comment.md.j2", "code", "prompts")],
)
def test_rule_7_inline_is_rejected_in_prompts_and_code_in_comments(
    tmp_path: Path, file: str, filter_name: str, where: str, macro: bool
) -> None:
    shown = f"{{{{ issue.title | {filter_name} }}}}"
    part = f"{{% macro m(issue) %}}{shown}{{% endmacro %}}"
    template = "{% from '_m.j2' import m %}{{ m(issue) }}" if macro else shown
    files = {"issues/t.j2": FRONT + "x", "_m.j2": part if macro else ""}
    front = FRONT if file == "issues/t.j2" else ""
    with pytest.raises(PromptError) as caught:
        load(tmp_path, files | {file: front + template})
    place = "_m.j2:1" if macro else f"{file}:{len(front.splitlines()) + 1}"
    assert caught.value.problems == (f"{tmp_path.as_posix()}/{place}: the filter {filter_name!r} is for {where} only",)
