"""What a template cannot do: write without end, or make one giant piece."""

from __future__ import annotations

import pytest
from jinja2 import TemplateError

from hls_handler.prompting.effort import TooLongError
from hls_handler.prompting.environment import AUTHOR_ERRORS, PromptEnvironment, collect, place_of
from hls_handler.prompting.folder import Source
from hls_handler.untrusted.exchange import Exchange


def environment(template: str) -> PromptEnvironment:
    return PromptEnvironment({"t.j2": Source("t.j2", "prompts/t.j2", template, None, template)}, {})


def written(template: str) -> str:
    compiled = environment(template).get_template("t.j2")
    return collect(
        compiled.root_render_func(compiled.new_context({"many": 10**9, "wide": "%999999999d", "long": "a" * 99_999}))
    )


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 10 ** 9 }}",
        "{{ many * 'a' }}",
        "{{ [0] * many }}",
        "{{ 10 ** many }}",
        "{{ wide % 1 }}",
        "{{ '%*d' % (many, 1) }}",
        "{{ '%.999999999f' % 1 }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{{ '{:{}}'.format(1, many) }}",
        "{{ wide | format(1) }}",
        "{{ 'a' | center(many) }}",
        "{{ 'a' | indent(width=many) }}",
        "{{ [1] | slice(many) | list }}",
        "{{ [1] | batch(many, 0) | list }}",
        "{{ 'a'.ljust(many) }}",
        "{{ '\t'.expandtabs(many) }}",
        "{{ '\t'.expandtabs(tabsize=many) }}",
        "{{ [1] | tojson(indent=many) }}",
        "{{ 1 | round(many, 'ceil') }}",
        "{% set ns = namespace(n=3 ** 50000) %}{% for i in range(20) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
        "{{ long | replace('a', long) }}",
        "{{ long | wordwrap(1, true, long) }}",
        "{{ range(99999) | join(long) }}",
        "{{ range(99999) | map('string') | join(long) }}",
        "{{ long.join(['b'] * 99999) }}",
        "{{ ('\t' * 99999).expandtabs(99999) }}",
        "{{ long.translate({97: long}) }}",
        "{{ ([1] * 99999) | tojson(indent=99999) }}",
        "{{ ('{0}' * 30000).format(long) }}",
        "{{ ('%(a)s' * 20000) % {'a': long} }}",
    ],
)
def test_rule_9_one_giant_piece_is_refused_before_it_is_made(template: str) -> None:
    with pytest.raises(TooLongError, match="; at most "):
        written(template)


@pytest.mark.parametrize("doubled", ["ns.s ~ ns.s", "ns.s + ns.s", "twice(ns.s)", "[ns.s, ns.s]"])
@pytest.mark.parametrize(
    "shown", ["{{ ns.s }}", "{{ ns.s ~ 'a' }}", "{{ ns.s | tojson }}", "{{ '%s' | format(ns.s) }}"]
)
def test_rule_9_what_doubles_is_stopped_before_it_fills_the_memory(doubled: str, shown: str) -> None:
    macro = "{% macro twice(s) %}{{ s }}{{ s }}{% endmacro %}{% set ns = namespace(s='aaaaaaaaaa') %}"
    with pytest.raises(TooLongError, match="is too long; at most 4,000,000"):
        written(f"{macro}{{% for i in range(32) %}}{{% set ns.s = {doubled} %}}{{% endfor %}}{shown}")


@pytest.mark.parametrize("wrapped", ["{% set s %}T{% endset %}", "{% filter upper %}T{% endfilter %}"])
def test_rule_9_a_loop_inside_of_a_set_block_or_a_filter_is_stopped(wrapped: str) -> None:
    loop = f"{{% for i in range(99999) %}}{'words ' * 100}{{% endfor %}}"
    with pytest.raises(TooLongError, match="is too long; at most 4,000,000"):
        written(wrapped.replace("T", loop))


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}\n{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro m(n) %}\n{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
        "{% for x in [1] recursive %}\n{% if loop.depth < 60 %}{{ loop([1, 1]) }}{% endif %}{% endfor %}",
        "{% for a in range(99999) %}\n{% set x = range(99999) | list %}{% endfor %}",
    ],
    ids=["nested loops", "a macro that calls itself", "a recursive loop", "lists in a loop"],
)
def test_rule_9_work_without_end_is_stopped_at_its_line(template: str) -> None:
    with pytest.raises(TooLongError, match="too many; at most 1,000,000 steps") as caught:
        written(template)
    assert place_of(caught.value) == ("prompts/t.j2", 2)


def test_effort_is_counted_for_each_rendering_anew() -> None:
    for _ in range(3):
        assert written("{% for a in range(9) %}{% for b in range(99999) %}{% endfor %}{% endfor %}x") == "x"


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


def test_memory_that_is_not_there_is_the_authors_error() -> None:
    assert issubclass(MemoryError, AUTHOR_ERRORS)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ '-' * 20 }}", "--------------------"),
        ("{{ 2 ** 10 }} {{ 7 % 4 }} {{ 3 * 4 }} {{ 1.5 * 2 }}", "1024 3 12 3.0"),
        ("{{ '%05.1f' % 2.25 }} {{ '%s of 1234567' % 3 }}", "002.2 3 of 1234567"),
        ("{{ '{:>4}'.format(1) }} {{ '{}'.format(12345678) }}", "   1 12345678"),
        ("{{ '%s' | format(12345678) }}", "12345678"),
        ("{{ 'a' | center(5) }}|{{ 'a\nb' | indent(2) }}", "  a  |a\n  b"),
        (
            "{{ '{}'.format(2500000000) }} {{ '%d' % 2500000000 }} {{ 2500000000 * 2 }}",
            "2500000000 2500000000 5000000000",
        ),
        (
            "{{ ['a', 'b'] | join(', ') }} {{ [1] | tojson(indent=2) }} {{ 2500000.25 | round(1) }}",
            "a, b [\n  1\n] 2500000.2",
        ),
        ("{{ 'a' ~ 1 ~ none ~ 'b' }} {{ [1] + [2] }} {{ 1 + 2 }}", "a1Noneb [1, 2] 3"),
        ("{{ 'a'.ljust(3) }}|{{ 'abc'.replace('b', '') }}", "a  |ac"),
    ],
)
def test_ordinary_arithmetic_and_formats_work(template: str, text: str) -> None:
    assert written(template) == text


def test_rule_9_a_rendering_without_end_is_stopped_at_its_line() -> None:
    template = "{% for a in range(100) %}{% for b in range(100) %}\n{{ 'x' * 1000 }}{% endfor %}{% endfor %}"
    with pytest.raises(TooLongError, match="writes more than 4,000,000 characters") as caught:
        written(template)
    assert place_of(caught.value) == ("prompts/t.j2", 2)


def test_a_text_that_is_shown_too_often_is_stopped() -> None:
    compiled = environment("{% for a in range(100000) %}\n{{ x }}{% endfor %}").get_template("t.j2")
    exchange = Exchange(key=b"k", show=lambda text, nonce: text)
    with pytest.raises(TooLongError, match="shows more than 20,000 texts") as caught:
        collect(compiled.root_render_func(compiled.new_context({"x": exchange.admit("long")})))
    assert place_of(caught.value) == ("prompts/t.j2", 2)


def test_filler_text_is_not_there() -> None:
    with pytest.raises(TemplateError, match="'lipsum' is undefined"):
        written("{{ lipsum() }}")


def test_an_error_from_no_template_has_no_place() -> None:
    assert place_of(ValueError("x")) is None
