"""Effective settings of one repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.settings.effective import RepositoryTable, explain_precedence
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


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(tmp_path, SMALLEST + REPOSITORIES)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("owner/repo", "owner/repo"),
        ("OWNER/Repo", "owner/repo"),
        ("owner/lib-a", "owner/lib-*"),
        ("owner/other", "Owner/*"),
        ("somebody/else", "*/*"),
    ],
)
def test_the_most_specific_entry_wins(settings: Settings, name: str, pattern: str) -> None:
    table = RepositoryTable(settings)
    for _ in range(2):  # the second result is cached
        found = table.find(name)
        assert found is not None
        assert found.pattern == pattern


@pytest.mark.parametrize(
    ("name", "patterns"),
    [
        ("owner/repo", ["owner/repo", "Owner/*", "*/*"]),
        ("owner/lib-a", ["owner/lib-*", "Owner/*", "*/*"]),
        ("somebody/else", ["*/*"]),
        ("owner", []),
    ],
)
def test_matching_entries_are_listed_most_specific_first(settings: Settings, name: str, patterns: list[str]) -> None:
    assert [entry.pattern for entry in RepositoryTable(settings).matching(name)] == patterns


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("ab/cd", "ab/*", "a whole name against a pattern"),
        ("ab/c*", "ab/*", "4 literal characters against 3"),
        ("ab/*", "*/cd", "as many literal characters (3), and it comes first"),
    ],
)
def test_the_precedence_of_two_entries_is_explained(tmp_path: Path, first: str, second: str, why: str) -> None:
    entries = f"  - name: '{first}'\n  - name: '{second}'\n"
    text = SMALLEST.replace("  - name: owner/repo\n", entries)
    chosen, other = RepositoryTable(load(tmp_path, text)).matching("ab/cd")
    assert (chosen.pattern, explain_precedence(chosen, other)) == (first, why)


@pytest.mark.parametrize("name", ["owner/lib-a/b", "owner/../repo", "owner", "a/b/c", ""])
def test_rule_2_a_glob_does_not_match_a_slash(settings: Settings, name: str) -> None:
    assert RepositoryTable(settings).find(name) is None


def test_a_repository_without_a_matching_entry_is_not_found(tmp_path: Path) -> None:
    assert RepositoryTable(load(tmp_path, SMALLEST)).find("owner/repository") is None


def test_keys_of_an_entry_override_the_global_ones(settings: Settings) -> None:
    found = RepositoryTable(settings).find("owner/other")
    assert found is not None
    assert found.events == {"issues.opened"}
    assert (found.features.dry_run, found.features.drafts, found.features.auto_labeling) == (True, True, True)
    assert (found.labels.create, found.labels.allow) == (False, ("bug",))
    assert found.webhook_secrets == (SECRET.encode(),)


def test_the_secret_of_an_entry_overrides_the_global_one(settings: Settings) -> None:
    found = RepositoryTable(settings).find("owner/lib-a")
    assert found is not None
    assert found.webhook_secrets == (b"secret-of-the-libraries",)


def test_prompts_are_overridden_event_by_event_with_their_key_paths(settings: Settings) -> None:
    found = RepositoryTable(settings).find("owner/lib-a")
    assert found is not None
    assert found.use == {
        "issues.opened": (False, "repositories[2].prompts.use.issues.opened"),
        "issues.edited": ("issues/other", "prompts.use.issues.edited"),
    }


def test_feature_key_is_the_most_specific_key_in_the_file(settings: Settings) -> None:
    found = RepositoryTable(settings).find("owner/other")
    assert found is not None
    assert found.find_feature_key("dry_run", settings) == "repositories[1].features.dry_run"
    assert found.find_feature_key("drafts", settings) == "features.drafts"


def test_comment_settings_of_an_entry_override_the_global_ones(tmp_path: Path) -> None:
    text = SMALLEST + "    comments: {tone: formal}\ncomments: {language: German, tone: friendly, length: short}\n"
    found = RepositoryTable(load(tmp_path, text)).find("owner/repo")
    assert found is not None
    assert (found.comments.language, found.comments.tone, found.comments.length) == ("German", "formal", "short")


def test_the_fallback_issue_of_an_action_takes_precedence_over_that_of_the_event(tmp_path: Path) -> None:
    text = SMALLEST + "    comments: {post_to: {release: 12, release.published: 7, push: 3}}\n"
    found = RepositoryTable(load(tmp_path, text)).find("owner/repo")
    assert found is not None
    assert [
        found.find_fallback_number(key)
        for key in ("release.published", "release.edited", "push", "workflow_run.completed")
    ] == [
        7,
        12,
        3,
        None,
    ]


def test_ignored_paths_have_their_location(tmp_path: Path) -> None:
    found = RepositoryTable(load(tmp_path, SMALLEST + "    paths: {ignore: [docs/**]}\n")).find("owner/repo")
    assert found is not None
    assert found.paths.excludes("docs/a.md")
    assert found.paths.where == f"{tmp_path}/settings.yaml:8 (repositories[0].paths.ignore)"
