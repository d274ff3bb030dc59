"""The prompt library: warnings about enabled events and prompts, and the settings and stored facts
it depends on.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from hls_handler.engine.library import FACTS, families, find_library_warnings, load_checked
from hls_handler.errors import PromptError
from hls_handler.prompting.library import load_library
from hls_handler.prompting.prompt import Library
from tests.github_fake.samples import recorded_facts
from tests.prompting.samples import SHIPPED, write
from tests.settings.files import SMALLEST, load

PUSH = "---\ndescription: x\non: [push]\nreply: generic_analysis\n---\n{{ event.ref }}"


@cache
def shipped_library() -> Library:
    return load_library(SHIPPED, families=families(), shipped=SHIPPED)


def warnings(folder: Path, settings_text: str, prompts: dict[str, str] | None = None) -> list[str]:
    """Return the warnings for the shipped prompts and `prompts`."""
    settings = load(folder, f"{SMALLEST}{settings_text}")
    library = shipped_library()
    if prompts:
        library = load_library(
            write(folder / "own", prompts), SHIPPED, families=families(), shipped=SHIPPED
        )
    return [one.replace(f"{folder}/", "") for one in find_library_warnings(settings, library)]


@pytest.mark.parametrize("event", ["push", "issues.closed"])
def test_enabled_event_without_a_prompt_is_reported_with_its_line(
    tmp_path: Path, event: str
) -> None:
    assert warnings(tmp_path, f"    events:\n      - issues\n      - {event}\n") == [
        (
            f"settings.yaml:10 (repositories[0].events[1]): {event} is enabled, but no prompt is for"
            f" it, so it is ignored; add {event} to the `on:` of a prompt, or do not enable it"
        )
    ]


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("", None),
        ("    events: [issues.opened, issues.labeled, issue_comment, release.published]\n", None),
        ("    events: [issues.opened, pull_request.opened, merge_group]\n", None),
        ("    events: [push]\n    enabled: false\n", None),
        ("    events: [push]\nprompts: {use: {push: issues/analyze}}\n", None),
        ("    events: [push]\n    prompts: {use: {push: false}}\n", None),
        ("prompts: {use: {issues.edited: push/tell}}\n", PUSH),
    ],
    ids=[
        *(
            "defaults",
            "with prompts",
            "merge queue",
            "disabled repository",
            "chosen prompt",
            "switched off",
        ),
        "own prompt chosen by settings",
    ],
)
def test_nothing_is_reported(tmp_path: Path, text: str, own: str | None) -> None:
    assert warnings(tmp_path, text, {"push/tell.j2": own} if own else None) == []


def test_own_prompt_of_which_no_event_is_enabled_is_reported_with_its_line(tmp_path: Path) -> None:
    """Also a template at the path of a shipped prompt, which has its front matter."""
    of_push, of_release = warnings(
        tmp_path, "", {"push/tell.j2": PUSH, "releases/announce.j2": "{{ release.name }}"}
    )
    assert (
        of_push == "own/push/tell.j2:3: on: no repository enables push; "
        "add one to repositories[].events in settings.yaml, or remove the prompt"
    )
    assert (
        "on: no repository enables release.published; add one to repositories[].events"
        in of_release
    )


USES_TEAM = (
    "{{ config.team }} {% if config.areas is defined %}{{ config.areas }}{% endif %} {{"
    " issue.title }}"
)
TWO = (
    "    variables: {team: a, areas: [b]}\n  - name: owner/other\n  - {name: owner/off, enabled:"
    " false}\n  - {name: owner/pulls, events: [pull_request]}\n"
)


def test_repository_without_a_variable_that_its_prompt_uses_is_reported(tmp_path: Path) -> None:
    write(tmp_path / "own", {"issues/analyze.j2": USES_TEAM})
    settings = load(
        tmp_path, f"{SMALLEST}{TWO}prompts: {{directory: [{tmp_path}/own, {SHIPPED}]}}\n"
    )
    assert [one.replace(f"{tmp_path}/", "") for one in load_checked(settings).warnings] == [
        (
            "settings.yaml:9 (repositories[1].variables): own/issues/analyze.j2 uses config.team, which"
            " owner/other lacks; add team there or to prompts.variables"
        )
    ]


# The stored facts that check the library


@pytest.mark.parametrize(
    "event_name",
    ["issues", "pull_request", "pull_request_review", "workflow_run", "release", "push"],
)
def test_stored_facts_are_up_to_date(event_name: str) -> None:
    stored = json.loads((FACTS / f"{event_name}.json").read_text(encoding="utf-8"))
    assert stored == recorded_facts(event_name), "run python -m tests.github_fake.samples"


def test_field_that_nothing_uses_and_labels_of_a_discussion_are_reported(tmp_path: Path) -> None:
    front = (
        "---\ndescription: x\non: [discussion.created]\nreply: generic_analysis\n"
        "fields:\n  area: {enum: [a, b]}\n  mood: {type: string}\n  team: {type: string}\n"
        "labels: {area: 'area/{value}'}\n---\n{{ event.discussion.title }}"
    )
    write(
        tmp_path / "own",
        {
            "discussion/sort.j2": front,
            "discussion/sort.comment.md.j2": "{{ analysis.team }}",
            "issues/analyze.j2": "x",
        },
    )
    settings = load(
        tmp_path,
        f"{SMALLEST}    events: [discussion, issues]\nprompts: {{directory: {tmp_path}/own}}\n",
    )
    assert [one.replace(f"{tmp_path}/own/", "") for one in load_checked(settings).warnings] == [
        (
            "discussion/sort.j2:7: fields.mood: no template shows analysis.mood and no label uses"
            " it; use it, or remove the field"
        ),
        (
            "discussion/sort.j2:9: labels: the event discussion has no issue or pull request that"
            " can carry labels; remove them"
        ),
    ]


def test_variable_that_no_repository_has_is_an_error_with_its_line(tmp_path: Path) -> None:
    write(tmp_path / "own", {"issues/analyze.j2": "{{ issue.title }}\n{{ config.teem }}"})
    settings = load(tmp_path, f"{SMALLEST}{TWO}prompts: {{directory: {tmp_path}/own}}\n")
    with pytest.raises(PromptError) as caught:
        load_checked(settings)
    (problem,) = caught.value.problems
    assert problem.startswith(
        f"{tmp_path}/own/issues/analyze.j2:2: there is no 'teem' here; did you mean 'team'?"
    )
