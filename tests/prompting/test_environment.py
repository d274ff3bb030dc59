"""The Jinja environment of prompts: strict names and render limits."""

from __future__ import annotations

import itertools

import pytest
from jinja2 import TemplateError

from hls_handler.prompting.environment import PromptEnvironment, RenderLimitError, collect, place_of
from hls_handler.prompting.folder import SourceFile
from hls_handler.untrusted.exchange import Placeholders


def environment(template: str) -> PromptEnvironment:
    return PromptEnvironment({"t.j2": SourceFile("t.j2", "prompts/t.j2", template, None, template)}, {})


def written(template: str) -> str:
    compiled = environment(template).get_template("t.j2")
    return collect(compiled.root_render_func(compiled.new_context({})))


def test_loops_know_where_they_are() -> None:
    assert (
        written("{% for x in [1, 2] %}{{ loop.index }}/{{ loop.length }}{{ ',' if not loop.last }}{% endfor %}")
        == "1/2,2/2"
    )
    assert written("{% for x in [[1], [2, [3]]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}") == "123"
    assert (
        written("{% for x in [] %}{% else %}none{% endfor %}{% for x in [1, 2] if x > 1 %}{{ x }}{% endfor %}")
        == "none2"
    )


def test_rule_9_output_that_takes_too_long_is_stopped_at_its_line() -> None:
    """The clock advances by a second with each chunk."""
    compiled = environment("{% for a in range(100) %}\n{{ a }}{% endfor %}").get_template("t.j2")
    seconds = itertools.count()
    with pytest.raises(RenderLimitError, match="takes too long to render") as caught:
        collect(compiled.root_render_func(compiled.new_context({})), deadline_s=20.0, clock=lambda: next(seconds))
    assert place_of(caught.value) == ("prompts/t.j2", 2)


def test_rule_9_a_rendering_without_end_is_stopped_at_its_line() -> None:
    template = "{% for a in range(100) %}{% for b in range(100) %}\n{{ 'x' * (1000 + a) }}{% endfor %}{% endfor %}"
    with pytest.raises(RenderLimitError, match="writes more than 4,000,000 characters") as caught:
        written(template)
    assert place_of(caught.value) == ("prompts/t.j2", 2)


def test_a_text_that_is_shown_too_often_is_stopped() -> None:
    compiled = environment("{% for a in range(100000) %}\n{{ x }}{% endfor %}").get_template("t.j2")
    exchange = Placeholders(key=b"k", show=lambda text, nonce: text)
    with pytest.raises(RenderLimitError, match="shows more than 20,000 texts") as caught:
        collect(compiled.root_render_func(compiled.new_context({"x": exchange.convert("long")})))
    assert place_of(caught.value) == ("prompts/t.j2", 2)


def test_filler_text_is_not_there() -> None:
    with pytest.raises(TemplateError, match="'lipsum' is undefined"):
        written("{{ lipsum() }}")


def test_an_error_from_no_template_has_no_place() -> None:
    assert place_of(ValueError("x")) is None
