"""Check of the names in templates against the types of the variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import pytest

from hls_handler.analysis import Finding, PullRequestAnalysis
from hls_handler.events import Issue
from hls_handler.prompting.environment import PROMPT_FILTERS, ParsedTemplates, PromptEnvironment
from hls_handler.prompting.names import check_names
from hls_handler.prompting.source_files import SourceFile

TEXTS = "such text can be shown, compared, measured, joined with ~, and cut with excerpt(n) or lines(a, b)"
NOT_IN_SYSTEM_BLOCK = (
    "'issue' depends on the event, but the system block must be the same for all events; use it in the task block"
)
CELL = "{% macro cell(x) %}{{ x }}{% endmacro %}"

VARIABLES: Mapping[str, object] = {
    "issue": Issue,
    "note": str | None,
    "event": Mapping[str, object],
    "findings": tuple[Finding, ...],
    "analysis": PullRequestAnalysis,
    "marked": Annotated[Mapping[str, str], "a remark"],
}


def check(template: str, **others: str) -> list[str]:
    """Return the problems of a template "t.j2" as "line: message"; `others` are templates by name without extension."""
    texts = {"t.j2": template, **{f"{name}.j2": text for name, text in others.items()}}
    sources = {name: SourceFile(name, name, text, None, text) for name, text in texts.items()}
    environment = PromptEnvironment(sources, PROMPT_FILTERS)
    templates = ParsedTemplates(
        environment, {n: environment.parse(t, n, n) for n, t in texts.items()}, {name: name for name in texts}
    )
    return [str(problem).removeprefix("t.j2:") for problem in check_names(templates, "t.j2", VARIABLES)]


@pytest.mark.parametrize(
    "template",
    [
        "{{ issue.title }} {{ issue['title'] }} {{ issue.user.login }} {{ issue.user.is_bot }}",
        "{{ issue.labels | map(attribute='name') | list }}",
        "{{ issue.labels[0].name }} {{ (issue.labels | first).name }} {{ issue.labels[:2][0].name }}",
        "{% for label in issue.labels if label.name %}{{ loop.index }}{{ label.name }}{% else %}none{% endfor %}",
        "{% for p, g in findings | groupby('path') %}{{ p }}{% for f in g %}{{ f.line }}{% endfor %}{% endfor %}",
        "{% for g in findings | groupby('path') %}{{ g.grouper }}{{ g.list[0].line }}{{ g[1][0].line }}{% endfor %}",
        "{% for f in findings | selectattr('suggestion') | sort(attribute='line') | reverse %}{{ f.body }}{% endfor %}",
        "{% set user = issue.user %}{{ user.login }}",
        "{% set t %}{{ issue.title }}{% endset %}{{ t }}",
        "{% with user = issue.user %}{{ user.login }}{% endwith %}",
        "{% if issue.body %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}{{ x }}",
        "{% macro m(a, b=issue.title) %}{{ a }}{{ b }}{{ late }}{{ kwargs }}{% endmacro %}{% set late = 1 %}{{ m(1) }}",
        "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}{{ issue.title }}{% endcall %}",
        "{% macro helper() %}{{ caller(1) }}{% endmacro %}{% call(x) helper() %}{{ x }}{% endcall %}",
        "{% filter upper %}{{ issue.title }}{% endfilter %}",
        "{{ event.anything.at.all }} {{ event['x'] }}",
        "{{ range(3) | list }} {% set ns = namespace(n=0) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}",
        "{% if unheard is defined %}{{ unheard }}{% endif %}{{ missing | default('') }}",
        "{{ issue.title.startswith('a') }} {{ issue.body | excerpt(20) }} {{ issue.body | lines(1, 3) }}",
        "{{ analysis.suggested_labels[0].name }} {{ analysis.findings | length }}",
        "{% set a, b = 1, 2 %}{{ a + b }}",
        "{{ findings | map(attribute='start_line') | list }} {{ event | map(attribute='x') | list }}",
        "{{ findings | map('upper') | first }} {{ (findings | batch(2) | first)[0].any }} {{ issue.labels.count(1) }}",
        "{{ marked.x }}{% macro m(issue) %}{{ issue.titel }}{% endmacro %}{{ m(1) }}",
        "{{ 'x' if issue.body else issue.title }} {{ [issue.number, 2] | sum }} {{ {'a': issue.title}.a }}",
        "{{ self.task() }}{% block task %}{{ issue.title }}{{ super() }}{% endblock %}",
    ],
)
def test_known_names_are_no_problem(template: str) -> None:
    assert check(template) == []


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ isue }}", "1: unknown variable 'isue'; did you mean 'issue'?"),
        ("\n{{ issue.titel }}", "2: issue has no 'titel'; did you mean 'title'?"),
        ("{{ issue['titel'] }}", "1: issue has no 'titel'; did you mean 'title'?"),
        ("{{ issue.user.name }}", "1: issue.user has no 'name'; known: id, is_bot, login, type"),
        (
            "{{ issue.labels.name }}",
            ("1: issue.labels is a list and has no 'name'; loop over it, or use issue.labels | map(attribute='name')"),
        ),
        (
            "{{ issue.labels | map(attribute='nam') | list }}",
            "1: an element of issue.labels has no 'nam'; did you mean 'name'?",
        ),
        (
            "{{ issue.labels | selectattr('nam') | list }}",
            "1: an element of issue.labels has no 'nam'; did you mean 'name'?",
        ),
        ("{% for label in issue.labels %}\n{{ label.nam }}{% endfor %}", "2: label has no 'nam'; did you mean 'name'?"),
        ("{% for label in issue.labels if label.nam %}{% endfor %}", "1: label has no 'nam'; did you mean 'name'?"),
        (
            "{% for p, g in findings | groupby('pth') %}{% endfor %}",
            "1: an element of findings has no 'pth'; did you mean 'path'?",
        ),
        ("{% set user = issue.user %}{{ user.lgoin }}", "1: user has no 'lgoin'; did you mean 'login'?"),
        ("{% with u = issue.user %}{{ u.lgoin }}{% endwith %}", "1: u has no 'lgoin'; did you mean 'login'?"),
        ("{% macro m(a) %}\n{{ a }}{{ isue }}{% endmacro %}", "2: unknown variable 'isue'; did you mean 'issue'?"),
        ("{% macro m(a=isue) %}{% endmacro %}", "1: unknown variable 'isue'; did you mean 'issue'?"),
        ("{% if false %}{{ issue.titel }}{% endif %}", "1: issue has no 'titel'; did you mean 'title'?"),
        ("{% for x in [] %}{% else %}{{ issue.titel }}{% endfor %}", "1: issue has no 'titel'; did you mean 'title'?"),
        ("{{ issue.title.upper() }}", f"1: issue.title is text from an event and has no 'upper'; {TEXTS}"),
        ("{{ note.upper() }}", f"1: note is text from an event and has no 'upper'; {TEXTS}"),
        (
            "{{ issue.milestone is defined }}",
            (
                "1: issue has no 'milestone'; "
                "known: author_association, body, comments, html_url, is_pull_request, labels, locked, number, state, "
                "title, user"
            ),
        ),
        ("{{ issue.title | uper }}", "1: unknown filter 'uper'; did you mean 'upper'?"),
        ("{% filter uper %}x{% endfilter %}", "1: unknown filter 'uper'; did you mean 'upper'?"),
        ("{{ issue.number is evne }}", "1: unknown test 'evne'; did you mean 'even'?"),
        ("{{ issue.number == isue }}", "1: unknown variable 'isue'; did you mean 'issue'?"),
        ("{{ 'a' if isue else 'b' }}", "1: unknown variable 'isue'; did you mean 'issue'?"),
        ("{% block system %}{{ issue.title }}{% endblock %}", f"1: {NOT_IN_SYSTEM_BLOCK}"),
        (
            "{% block system %}{% if issue is defined %}{{ issue.number }}{% endif %}{% endblock %}",
            f"1: {NOT_IN_SYSTEM_BLOCK}",
        ),
    ],
)
def test_unknown_name_is_reported_with_the_most_similar_name(template: str, problem: str) -> None:
    assert check(template) == [problem]


@pytest.mark.parametrize(
    ("template", "part", "problems"),
    [
        ("{% include 'part.j2' %}", "\n{{ issue.titel }}", ["part.j2:2: issue has no 'titel'; did you mean 'title'?"]),
        ("{% for l in issue.labels %}{% include 'part.j2' %}{% endfor %}", "{{ l.name }}{{ loop.index }}", []),
        (
            "{% for l in issue.labels %}{% include 'part.j2' %}{% endfor %}",
            "{{ l.nam }}",
            ["part.j2:1: l has no 'nam'; did you mean 'name'?"],
        ),
        (
            "{% extends 'part.j2' %}{% block task %}{{ issue.titel }}{% endblock %}",
            "{% block task %}{% endblock %}",
            ["1: issue has no 'titel'; did you mean 'title'?"],
        ),
        (
            "{% extends 'part.j2' %}{% set x = 1 %}",
            "{{ x }}{{ y }}",
            ["part.j2:1: unknown variable 'y'; known: analysis, event, findings, issue, marked, note, x"],
        ),
        ("{% from 'part.j2' import cell as c %}{{ c(1) }}", CELL, []),
        ("{% import 'part.j2' as p %}{{ p.cell(1) }}", CELL, []),
        ("{% import 'part.j2' as p with context %}", "{% macro m() %}{{ issue.title }}{% endmacro %}", []),
    ],
)
def test_names_in_referenced_templates_are_checked(template: str, part: str, problems: list[str]) -> None:
    assert check(template, part=part) == problems
