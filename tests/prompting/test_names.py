"""Check of the names in templates against the types of the variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pytest

from hls_handler.analysis import Finding, PullRequestAnalysis
from hls_handler.events import Issue
from hls_handler.prompting.environment import PROMPT_FILTERS, ParsedTemplates, PromptEnvironment
from hls_handler.prompting.names import check_names
from hls_handler.prompting.source_files import SourceFile

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


def test_each_unknown_name_is_reported_with_the_most_similar_name() -> None:
    wrong = []
    for line in (Path(__file__).parent / "names.txt").read_text(encoding="utf-8").splitlines()[1:]:
        template, _, message = line.partition("  # ")
        if (found := check(template)) != ([f"1: {message}"] if message else []):
            wrong.append((template, found))
    assert wrong == []


@pytest.mark.parametrize(
    ("template", "part", "problems"),
    [
        ("{% include 'part.j2' %}", "\n{{ issue.titel }}", ["part.j2:2: issue has no 'titel'; did you mean 'title'?"]),
        ("{% for l in issue.labels %}{% include 'part.j2' %}{% endfor %}", "{{ l.name }}{{ loop.index }}", []),
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
