"""Effective settings of one repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.settings.effective import (
    EffectiveSettings,
    PromptChoice,
    RepositoryTable,
    find_chosen_events,
    iter_sourced_values,
    list_prompt_choices,
)
from hls_handler.settings.model import Settings
from tests.settings.files import SECRET, SMALLEST, load

REPOSITORIES = """\
  - name: Owner/*
    events: [issues.opened]
    features: {dry_run: true}
    labels: {allow: [bug]}
  - name: owner/lib-*
    webhook_secret: secret-of-the-libraries
    prompts: {use: {issues.opened: false}}
  - name: "*/*"
    enabled: false
labels: {create: false}
features: {drafts: true}
prompts: {use: {issues.opened: issues/own, issues.edited: issues/other}}
"""


def effective(folder: Path, text: str, name: str = "owner/repo") -> EffectiveSettings:
    """Settings of a repository, by the smallest file and `text`."""
    found = RepositoryTable(load(folder, SMALLEST + text)).find(name)
    assert found is not None
    return found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(tmp_path, SMALLEST + REPOSITORIES)


@pytest.mark.parametrize(
    ("name", "patterns"),
    [
        ("OWNER/Repo", ["owner/repo", "Owner/*", "*/*"]),
        ("owner/lib-a", ["owner/lib-*", "Owner/*", "*/*"]),
        ("somebody/else", ["*/*"]),
        *((name, []) for name in ("owner/lib-a/b", "owner/../repo", "owner")),
    ],
)
def test_rule_2_the_most_specific_entry_wins_and_a_glob_does_not_match_a_slash(
    settings: Settings, name: str, patterns: list[str]
) -> None:
    table = RepositoryTable(settings)
    assert [entry.pattern for entry in table.find_all(name)] == patterns
    found = table.find(name)
    assert (found.pattern if found else None) == (patterns[0] if patterns else None)


def test_keys_of_an_entry_override_the_global_ones(tmp_path: Path) -> None:
    found = effective(tmp_path, REPOSITORIES, "owner/other")
    assert (found.features.dry_run, found.features.drafts, found.features.auto_labeling) == (
        True,
        True,
        True,
    )
    assert found.webhook_secrets == (SECRET.encode(),)
    assert found.find_key("features.dry_run") == "repositories[1].features.dry_run"
    assert found.find_key("features.drafts") == "features.drafts"
    library = effective(tmp_path, REPOSITORIES, "owner/lib-a")
    assert library.webhook_secrets == (b"secret-of-the-libraries",)


def lines(folder: Path, text: str) -> list[str]:
    """Each value of the repository with its place."""
    values = iter_sourced_values(load(folder, SMALLEST + text), effective(folder, text))
    return [str(value).replace(f"{folder}/", "") for value in values]


def test_an_entry_switches_retrieval_off_and_lists_no_key_of_the_vectors(tmp_path: Path) -> None:
    entry = "    retrieval: {enabled: false}\n"
    vectors = (
        "retrieval: {qdrant: {path: v}, embeddings: {base_url: 'https://e.example.com', api_key: k,"
        " model: m}}\n"
    )
    shown = lines(tmp_path, entry + vectors)
    assert [line for line in shown if line.startswith("retrieval")] == [
        "retrieval.enabled = false   settings.yaml:8 (repositories[0].retrieval.enabled)"
    ]


def test_the_expected_time_between_webhooks_is_listed(tmp_path: Path) -> None:
    where = "settings.yaml:8 (repositories[0].expect_webhook_within_h)"
    entry = "    expect_webhook_within_h: 72\n"
    assert f"expect_webhook_within_h = 72.0   {where}" in lines(tmp_path, entry)


def test_the_fallback_issue_of_an_action_takes_precedence_over_that_of_the_event(
    tmp_path: Path,
) -> None:
    found = effective(
        tmp_path, "    comments: {post_to: {release: 12, release.published: 7, push: 3}}\n"
    )
    keys = ("release.published", "release.edited", "push", "workflow_run.completed")
    assert [found.find_fallback_number(key) for key in keys] == [7, 12, 3, None]


OVERRIDING = """\
    events: [pull_request, issues.opened]
    webhook_secret: [secret-of-the-repository, another-of-the-repository]
    labels: {allow: [bug]}
    features: {dry_run: true}
    prompts: {use: {issues.opened: false}}
    comments: {tone: formal, post_to: {release: 12}}
    paths: {ignore: ["docs/**"]}
    findings: {min_confidence: 0.5}
    review: {max_usd: 0.5}
labels: {create: false}
features:
  drafts: true
  bots: true
comments: {language: German, tone: friendly}
prompts:
  use: {issues.edited: issues/other}
findings: {min_severity: high}
review: {max_usd: 1, max_usd_per_pull_request: 4}
"""


def test_a_value_names_the_line_of_the_entry_or_of_the_global_key(tmp_path: Path) -> None:
    shown = lines(tmp_path, OVERRIDING)
    assert [line for line in shown if not line.endswith("   default")] == [
        'events = ["issues.opened", "pull_request"]   settings.yaml:8 (repositories[0].events)',
        "webhook_secret = <2 secrets>   settings.yaml:9 (repositories[0].webhook_secret)",
        "features.dry_run = true   settings.yaml:11 (repositories[0].features.dry_run)",
        "features.drafts = true   settings.yaml:19 (features.drafts)",
        "features.bots = true   settings.yaml:20 (features.bots)",
        "labels.create = false   settings.yaml:17 (labels.create)",
        'labels.allow = ["bug"]   settings.yaml:10 (repositories[0].labels.allow)',
        "comments.language = German   settings.yaml:21 (comments.language)",
        "comments.tone = formal   settings.yaml:13 (repositories[0].comments.tone)",
        'comments.post_to = {"release": 12}   settings.yaml:13 (repositories[0].comments.post_to)',
        "findings.min_severity = high   settings.yaml:24 (findings.min_severity)",
        (
            "findings.min_confidence = 0.5   settings.yaml:15"
            " (repositories[0].findings.min_confidence)"
        ),
        "review.max_usd = 0.5   settings.yaml:16 (repositories[0].review.max_usd)",
        (
            "review.max_usd_per_pull_request = 4.0   settings.yaml:25"
            " (review.max_usd_per_pull_request)"
        ),
        'paths.ignore = ["docs/**"]   settings.yaml:14 (repositories[0].paths.ignore)',
        "prompts.use.issues.edited = issues/other   settings.yaml:23 (prompts.use.issues.edited)",
        (
            "prompts.use.issues.opened = false   settings.yaml:12"
            " (repositories[0].prompts.use.issues.opened)"
        ),
    ]


def test_variables_of_an_entry_override_those_of_all_repositories_name_by_name(
    tmp_path: Path,
) -> None:
    own = '    variables: {team: shop, areas: [cart, 2, true], "on_call": false}\n'
    text = own + "prompts: {variables: {team: core, limit: 1.5}}\n"
    assert effective(tmp_path, text).variables == {
        "team": "shop",
        "limit": 1.5,
        "areas": ("cart", 2, True),
        "on_call": False,
    }
    assert [line for line in lines(tmp_path, text) if line.startswith("variables.")] == [
        "variables.team = shop   settings.yaml:8 (repositories[0].variables.team)",
        "variables.limit = 1.5   settings.yaml:9 (prompts.variables.limit)",
        'variables.areas = ["cart", 2, true]   settings.yaml:8 (repositories[0].variables.areas)',
        "variables.on_call = false   settings.yaml:8 (repositories[0].variables.on_call)",
    ]


# --- prompts.use
# -----------------------------------------------------------------------------

USES = """\
    prompts:
      use:
        issues.edited: issues/other
prompts:
  use:
    issues: issues/own
    push: false
"""


def test_every_choice_is_listed_with_its_key(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALLEST + USES)
    assert list_prompt_choices(settings) == (
        PromptChoice("prompts.use.issues", "issues", "issues/own"),
        PromptChoice("prompts.use.push", "push", False),
        PromptChoice(
            "repositories[0].prompts.use.issues.edited", "issues.edited", "issues/other", layer=1
        ),
    )
    assert find_chosen_events(settings) == {"issues", "issues.edited", "push"}
