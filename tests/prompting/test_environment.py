"""The Jinja environment of prompts: strict names and render limits."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2.exceptions import SecurityError

from hls_handler.errors import PromptError
from hls_handler.prompting.environment import (
    PromptEnvironment,
    RenderLimitError,
    join_chunks,
    place_of,
)
from hls_handler.prompting.source_files import SourceFile
from hls_handler.untrusted.placeholders import Placeholders
from tests.prompting.samples import FRONT, load


def environment(template: str) -> PromptEnvironment:
    return PromptEnvironment(
        {"t.j2": SourceFile("t.j2", "prompts/t.j2", template, None, template)}, {}
    )


def written(template: str) -> str:
    compiled = environment(template).get_template("t.j2")
    return join_chunks(compiled.root_render_func(compiled.new_context({})))


def test_rule_9_a_rendering_without_end_is_stopped_at_its_line() -> None:
    template = (
        "{% for a in range(100) %}{% for b in range(100) %}\n{{ 'x' * (1000 + a) }}{% endfor %}{%"
        " endfor %}"
    )
    with pytest.raises(
        RenderLimitError, match="the template outputs more than 4,000,000 characters"
    ) as caught:
        written(template)
    assert place_of(caught.value) == ("prompts/t.j2", 2)


ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
ENDLESS_TEST = (
    "{% for a in range(99999) if range(9999) | select('gt', 5) | list | length < 0 %}{% endfor %}"
)
ENDLESS_MACRO = (
    "{% macro tree(n) %}{% if n %}{% set a = tree(n - 1) %}{% set b = tree(n - 1) %}{% endif %}{%"
    " endmacro %}{% set t = tree(40) %}"
)


@pytest.mark.parametrize(
    "template",
    [
        ENDLESS,
        f"{{% macro m() %}}{ENDLESS}{{% endmacro %}}{{{{ m() }}}}",
        ENDLESS_TEST,
        ENDLESS_MACRO,
    ],
)
def test_rule_9_loop_without_end_is_stopped(template: str) -> None:
    compiled = environment(template).get_template("t.j2")
    with pytest.raises(RenderLimitError, match="takes too long to render"):
        join_chunks(compiled.root_render_func(compiled.new_context({})), deadline_s=0.01)


@pytest.mark.parametrize(
    "expression", ["10 ** 9", "'ab' * 9000000", "9000000 * [1]", f"{'9' * 2000} * {'9' * 2000}"]
)
def test_rule_9_operator_makes_no_huge_value(expression: str) -> None:
    with pytest.raises(
        RenderLimitError, match=r"is not available|repeated to more than|a product has more than"
    ):
        written(f"{{{{ {expression} }}}}")
    assert written("{{ 'ab' * 2 }}{{ 3 * 2 }}") == "abab6"


def test_a_text_that_is_shown_too_often_is_stopped() -> None:
    compiled = environment("{% for a in range(100000) %}\n{{ x }}{% endfor %}").get_template("t.j2")
    placeholders = Placeholders(key=b"k", show=lambda text, nonce: text)
    with pytest.raises(RenderLimitError, match="shows more than 20,000 texts") as caught:
        join_chunks(
            compiled.root_render_func(compiled.new_context({"x": placeholders.convert("long")}))
        )
    assert place_of(caught.value) == ("prompts/t.j2", 2)


@pytest.mark.parametrize(
    ("file", "filter_name", "where"),
    [("issues/t.j2", "inline", "comments"), ("issues/t.comment.md.j2", "code", "prompts")],
)
def test_rule_7_inline_is_rejected_in_prompts_and_code_in_comments(
    tmp_path: Path, file: str, filter_name: str, where: str
) -> None:
    shown = f"{{% macro m(issue) %}}{{{{ issue.title | {filter_name} }}}}{{% endmacro %}}"
    front = FRONT if file == "issues/t.j2" else ""
    files = {
        "issues/t.j2": FRONT + "x",
        "_m.j2": shown,
        file: front + "{% from '_m.j2' import m %}{{ m(issue) }}",
    }
    with pytest.raises(PromptError) as caught:
        load(tmp_path, files)
    assert caught.value.problems == (
        f"{tmp_path.as_posix()}/_m.j2:1: the filter {filter_name!r} is for {where} only",
    )


@pytest.mark.parametrize("expression", ["(1).from_bytes", "'x'.encode", "(1).to_bytes"])
def test_rule_9_numbers_and_bytes_have_no_methods(expression: str) -> None:
    with pytest.raises(SecurityError):
        written(f"{{{{ {expression}('x') }}}}")
