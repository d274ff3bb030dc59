"""Effective values of a repository with the lines that set them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Comments, Features, Labels, Repository, Settings
from hls_handler.settings.provenance import iter_sourced_values
from tests.settings.files import SMALLEST, load

OVERRIDING = """\
    events: [pull_request, issues.opened]
    webhook_secret: [secret-of-the-repository, another-of-the-repository]
    labels: {allow: [bug]}
    features: {dry_run: true, bots: }
    prompts: {use: {issues.opened: false}}
    comments: {tone: formal, post_to: {release: 12}}
    paths: {ignore: ["docs/**"]}
    findings: {min_confidence: 0.5}
labels: {create: false}
features:
  drafts: true
  bots: true
comments: {language: German, tone: friendly}
prompts:
  use: {issues.edited: issues/other}
findings: {min_severity: high}
"""


def lines(folder: Path, settings: Settings, name: str = "owner/repo") -> list[str]:
    effective = RepositoryTable(settings).find(name)
    assert effective is not None
    return [str(value).replace(f"{folder}/", "") for value in iter_sourced_values(settings, effective)]


def test_values_that_are_not_in_the_file_are_defaults(tmp_path: Path) -> None:
    assert lines(tmp_path, load(tmp_path, SMALLEST)) == [
        "enabled = true   default",
        'events = ["issues", "pull_request"]   default',
        "webhook_secret = 1 secret   settings.yaml:3 (github.webhook_secret)",
        "expect_webhook_within_h = null   default",
        "features.signature_validation = true   default",
        "features.async_processing = true   default",
        "features.auto_labeling = true   default",
        "features.auto_commenting = true   default",
        "features.dry_run = false   default",
        "features.drafts = false   default",
        "features.bots = false   default",
        "features.repository_settings = true   default",
        "labels.create = true   default",
        'labels.allow = ["*"]   default',
        "comments.language = null   default",
        "comments.tone = neutral   default",
        "comments.length = normal   default",
        "comments.post_to = {}   default",
        "findings.min_severity = low   default",
        "findings.min_confidence = 0.0   default",
        "paths.ignore = []   default",
        "prompts.use = {}   default",
    ]


def test_a_value_names_the_line_of_the_entry_or_of_the_global_key(tmp_path: Path) -> None:
    assert lines(tmp_path, load(tmp_path, SMALLEST + OVERRIDING)) == [
        "enabled = true   default",
        'events = ["issues.opened", "pull_request"]   settings.yaml:8 (repositories[0].events)',
        "webhook_secret = 2 secrets   settings.yaml:9 (repositories[0].webhook_secret)",
        "expect_webhook_within_h = null   default",
        "features.signature_validation = true   default",
        "features.async_processing = true   default",
        "features.auto_labeling = true   default",
        "features.auto_commenting = true   default",
        "features.dry_run = true   settings.yaml:11 (repositories[0].features.dry_run)",
        "features.drafts = true   settings.yaml:18 (features.drafts)",
        "features.bots = true   settings.yaml:19 (features.bots)",  # the entry's key has no value
        "features.repository_settings = true   default",
        "labels.create = false   settings.yaml:16 (labels.create)",
        'labels.allow = ["bug"]   settings.yaml:10 (repositories[0].labels.allow)',
        "comments.language = German   settings.yaml:20 (comments.language)",
        "comments.tone = formal   settings.yaml:13 (repositories[0].comments.tone)",
        "comments.length = normal   default",
        'comments.post_to = {"release": 12}   settings.yaml:13 (repositories[0].comments.post_to)',
        "findings.min_severity = high   settings.yaml:23 (findings.min_severity)",
        "findings.min_confidence = 0.5   settings.yaml:15 (repositories[0].findings.min_confidence)",
        'paths.ignore = ["docs/**"]   settings.yaml:14 (repositories[0].paths.ignore)',
        "prompts.use.issues.edited = issues/other   settings.yaml:22 (prompts.use.issues.edited)",
        "prompts.use.issues.opened = false   settings.yaml:12 (repositories[0].prompts.use.issues.opened)",
    ]


def test_a_merged_value_names_the_line_where_it_is_written(tmp_path: Path) -> None:
    merging = """\
  - &first
    name: owner/first
    enabled: false
    features: {drafts: true}
  - <<: *first
    name: owner/second
    features: {bots: true}
"""
    shown = lines(tmp_path, load(tmp_path, SMALLEST + merging), "owner/second")
    assert "enabled = false   settings.yaml:10 (repositories[2].enabled)" in shown
    assert "features.drafts = false   default" in shown
    assert "features.bots = true   settings.yaml:14 (repositories[2].features.bots)" in shown


def test_a_choice_of_an_entry_for_all_actions_overrides_global_choices_for_one_action(tmp_path: Path) -> None:
    text = "    prompts: {use: {issues: false}}\nprompts: {use: {issues.opened: issues/own, push: push/own}}\n"
    assert lines(tmp_path, load(tmp_path, SMALLEST + text))[-3:] == [
        "prompts.use.issues.opened = false   settings.yaml:8 (repositories[0].prompts.use.issues)",
        "prompts.use.push = push/own   settings.yaml:9 (prompts.use.push)",
        "prompts.use.issues = false   settings.yaml:8 (repositories[0].prompts.use.issues)",
    ]


@pytest.mark.parametrize("name", sorted(Repository.model_fields.keys() - {"name"}))
def test_every_key_of_an_entry_is_listed(tmp_path: Path, name: str) -> None:
    shown = lines(tmp_path, load(tmp_path, SMALLEST))
    assert [line for line in shown if line.startswith((f"{name} = ", f"{name}."))] != []


def test_every_key_of_a_section_is_listed(tmp_path: Path) -> None:
    shown = [line.partition(" = ")[0] for line in lines(tmp_path, load(tmp_path, SMALLEST))]
    assert {f"features.{key}" for key in Features.model_fields} <= set(shown)
    assert {f"labels.{key}" for key in Labels.model_fields} <= set(shown)
    assert {f"comments.{key}" for key in Comments.model_fields} <= set(shown)
