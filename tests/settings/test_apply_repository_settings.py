"""Merging of repository settings into the operator's: features and labels are only reduced, words are replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.settings.effective import (
    EffectiveSettings,
    RepositoryTable,
    apply_repository_settings,
    iter_sourced_values,
)
from hls_handler.settings.repository import RepositorySettings, parse_repository_file
from tests.settings.files import SMALLEST, load

OPERATORS = """\
    labels: {allow: [bug, "priority-*"]}
    comments: {language: German, tone: friendly}
    features: {auto_labeling: false}
    paths: {ignore: ["*.lock"]}
    prompts: {use: {issues: issues/own, issues.opened: issues/first}}
"""


def effective(folder: Path, operators: str = OPERATORS) -> EffectiveSettings:
    found = RepositoryTable(load(folder, SMALLEST + operators)).find("owner/repo")
    assert found is not None
    return found


def own(text: str) -> RepositorySettings:
    read = parse_repository_file(text)
    assert read.problems == ()
    return read


def organizations(text: str) -> RepositorySettings:
    read = parse_repository_file(text, "acme/.github: hls.yaml")
    assert read.problems == ()
    return read


def test_rule_23_features_can_only_be_switched_off(tmp_path: Path) -> None:
    text = "enabled: true\nlabels: {create: true}\nfeatures: {auto_labeling: true, auto_commenting: false}\n"
    holds = apply_repository_settings(effective(tmp_path, OPERATORS + "labels: {create: false}\n"), own(text))
    assert (holds.features.auto_labeling, holds.features.auto_commenting) == (False, False)
    assert (holds.enabled, holds.labels.create) == (True, False)
    assert holds.repository_keys.keys() == {"features.auto_commenting"}


def test_rule_23_suggested_labels_can_only_be_switched_off_or_need_more_confidence(tmp_path: Path) -> None:
    operators = effective(tmp_path, OPERATORS + "labels: {suggest: true, min_confidence: 0.8}\n")
    wider = apply_repository_settings(operators, own("labels: {suggest: true, min_confidence: 0.2}\n"))
    assert (wider.labels.suggest, wider.labels.min_confidence) == (True, 0.8)
    assert wider.repository_keys == {}
    narrower = apply_repository_settings(operators, own("labels: {suggest: false, min_confidence: 0.9}\n"))
    assert (narrower.labels.suggest, narrower.labels.min_confidence) == (False, 0.9)
    assert narrower.repository_keys.keys() == {"labels.suggest", "labels.min_confidence"}
    assert apply_repository_settings(effective(tmp_path), own("labels: {suggest: true}\n")).labels.suggest is False
    unsure = apply_repository_settings(effective(tmp_path), own("labels: {min_field_confidence: 0.6}\n"))
    assert unsure.labels.min_field_confidence == 0.6


def test_rule_23_a_repository_can_deny_more_labels_but_not_fewer(tmp_path: Path) -> None:
    operators = effective(tmp_path, OPERATORS + "labels: {deny: [release-*]}\n")
    denied = apply_repository_settings(operators, own("labels: {deny: [bug]}\n"))
    assert denied.labels.deny == ("release-*", "bug")
    assert denied.repository_keys.keys() == {"labels.deny"}
    kept = apply_repository_settings(operators, own("labels: {deny: []}\n"))
    assert kept.labels.deny == ("release-*",)
    assert kept.repository_keys == {}


def test_rule_23_reviews_can_only_be_restricted(tmp_path: Path) -> None:
    text = (
        "review: {max_inline: 4, verify: false, guidance: true, linked_issues: true, functions: false, fail_on: high}"
    )
    operators = "review: {max_inline: 3, guidance: false, fail_on: medium}\n"
    wider = apply_repository_settings(effective(tmp_path, operators), own(text)).review
    assert (wider.max_inline, wider.fail_on) == (3, "medium")
    assert (wider.verify, wider.guidance, wider.linked_issues, wider.functions) == (False, False, True, False)
    narrower = apply_repository_settings(effective(tmp_path, ""), own(text))
    assert (narrower.review.max_inline, narrower.review.fail_on) == (4, "high")
    assert set(narrower.repository_keys) == {"review.max_inline", "review.verify", "review.functions", "review.fail_on"}
    stricter = effective(tmp_path, "review: {fail_on: critical}\n")
    assert apply_repository_settings(stricter, own(text)).review.fail_on == "high"


def test_rule_23_titles_can_only_be_left_out_or_get_other_types(tmp_path: Path) -> None:
    text = "pull_requests: {title: false, title_types: [bug]}"
    assert apply_repository_settings(effective(tmp_path), own(text)).repository_keys.keys() == {
        "pull_requests.title_types"
    }
    holds = apply_repository_settings(effective(tmp_path, "pull_requests: {title: check}\n"), own(text))
    assert (holds.pull_requests.title, holds.pull_requests.title_types) == (False, ("bug",))
    assert parse_repository_file("pull_requests: {title: check}").problems != ()


def test_rule_23_reviewers_can_only_be_left_out(tmp_path: Path) -> None:
    requesting = effective(tmp_path, "pull_requests: {reviewers: request}\n")
    assert (
        apply_repository_settings(requesting, own("pull_requests: {reviewers: false}")).pull_requests.reviewers is False
    )
    assert parse_repository_file("pull_requests: {reviewers: suggest}").problems != ()


@pytest.mark.parametrize(
    ("operators", "repositorys", "applies"), [(True, False, False), (False, True, False), (True, True, True)]
)
def test_rule_23_retrieval_can_only_be_switched_off(
    tmp_path: Path, operators: bool, repositorys: bool, applies: bool
) -> None:
    allowed = effective(tmp_path, f"    retrieval: {{enabled: {operators}}}\n")
    holds = apply_repository_settings(allowed, own(f"retrieval: {{enabled: {repositorys}}}\n"))
    assert holds.retrieval.enabled is applies


def test_rule_23_a_repository_overrides_its_organisation_only_within_the_limits_of_the_operator(tmp_path: Path) -> None:
    organization = organizations(
        "enabled: false\ncomments: {tone: formal, length: short}\nlabels: {suggest: false, create: false}\n"
        "review: {max_inline: 2}\n"
    )
    repository = own(
        "enabled: true\ncomments: {tone: neutral}\nlabels: {suggest: true, create: true}\nreview: {max_inline: 40}\n"
    )
    operators = effective(tmp_path, OPERATORS + "labels: {suggest: true, create: false}\nreview: {max_inline: 30}\n")
    holds = apply_repository_settings(operators, repository, organization)
    assert (holds.enabled, holds.comments.tone, holds.comments.length) == (True, "neutral", "short")
    assert (holds.labels.suggest, holds.labels.create, holds.review.max_inline) == (True, False, 30)
    assert holds.repository_keys == {
        "comments.tone": ".github/hls.yaml:comments.tone",
        "comments.length": "acme/.github: hls.yaml:comments.length",
    }
    alone = apply_repository_settings(operators, own(""), organization)
    assert (alone.enabled, alone.labels.suggest, alone.review.max_inline) == (False, False, 2)


def test_rule_14_lists_of_all_files_apply_together(tmp_path: Path) -> None:
    organization = organizations("labels: {allow: [b*], deny: [beta]}\npaths: {ignore: [vendor]}\n")
    repository = own("labels: {allow: [bug], deny: [big]}\npaths: {ignore: [docs]}\n")
    holds = apply_repository_settings(effective(tmp_path), repository, organization)
    assert (holds.labels.allow, holds.labels.deny) == (("bug", "priority-*"), ("big", "beta"))
    assert (holds.labels.repository_allow, holds.labels.organization_allow) == (("bug",), ("b*",))
    assert holds.labels.repository_allow_source == ".github/hls.yaml:1 (labels.allow)"
    assert holds.labels.organization_allow_source == "acme/.github: hls.yaml:1 (labels.allow)"
    paths = ("uv.lock", "docs/a.md", "vendor/b.py", "a.py")
    assert [path for path in paths if holds.paths.excludes(path)] == ["uv.lock", "docs/a.md", "vendor/b.py"]
    assert holds.paths.where == (
        f"{tmp_path}/settings.yaml:11 (repositories[0].paths.ignore) and .github/hls.yaml:2 (paths.ignore) and "
        "acme/.github: hls.yaml:2 (paths.ignore)"
    )


def test_list_of_denied_labels_names_each_place_that_adds_to_it(tmp_path: Path) -> None:
    text = OPERATORS + "labels: {deny: [release-*]}\n"
    files = own("labels: {deny: [big]}\n"), organizations("labels: {deny: [beta]}\n")
    settings, holds = load(tmp_path, SMALLEST + text), apply_repository_settings(effective(tmp_path, text), *files)
    both = settings.with_repository_sources(*(file.sources for file in files))
    (deny,) = [str(one) for one in iter_sourced_values(both, holds) if one.key == "labels.deny"]
    value, _, places = deny.replace(f"{tmp_path}/", "").partition("   ")
    assert value == 'labels.deny = ["release-*", "big", "beta"]'
    assert places.replace(" (labels.deny)", "") == (
        "settings.yaml:13 and .github/hls.yaml:1 and acme/.github: hls.yaml:1"
    )


def test_keys_that_a_repository_leaves_empty_are_those_of_the_organisation(tmp_path: Path) -> None:
    organization = organizations("labels: {deny: [beta]}\nreview: {max_inline: 2}\ncomments: {tone: formal}\n")
    empty = own("labels: {deny: []}\nreview:\n  max_inline:\ncomments:\n")
    invalid = parse_repository_file("comments: {tone: neutral}\nlables: {}\n")
    for repository in (empty, invalid):
        holds = apply_repository_settings(effective(tmp_path), repository, organization)
        assert (holds.labels.deny, holds.review.max_inline, holds.comments.tone) == (("beta",), 2, "formal")
        assert holds.repository_keys == {
            key: f"acme/.github: hls.yaml:{key}" for key in ("labels.deny", "review.max_inline", "comments.tone")
        }


def test_prompt_choice_of_the_organisation_is_between_those_of_the_repository_and_the_operator(tmp_path: Path) -> None:
    organization = organizations("prompts: {use: {issues: issues/theirs, issues.opened: issues/brief}}")
    holds = apply_repository_settings(effective(tmp_path), own("prompts: {use: {issues: issues/our}}"), organization)
    assert holds.find_prompt("issues.opened") == ("issues/our", ".github/hls.yaml:prompts.use.issues")
    alone = apply_repository_settings(effective(tmp_path), own(""), organization)
    assert alone.find_prompt("issues.opened") == (
        "issues/brief",
        "acme/.github: hls.yaml:prompts.use.issues.opened",
    )


def test_each_value_names_the_line_that_sets_it(tmp_path: Path) -> None:
    text = """\
comments: {language: French}
findings: {min_confidence: 0.8}
features: {auto_labeling: false, auto_commenting: false}
labels: {allow: [bug]}
prompts: {use: {issues.opened: false}}
"""
    settings, file = load(tmp_path, SMALLEST + OPERATORS), own(text)
    both = settings.with_repository_sources(file.sources)
    lines = [
        str(value).replace(f"{tmp_path}/", "")
        for value in iter_sourced_values(both, apply_repository_settings(effective(tmp_path), file))
    ]
    assert {
        "features.auto_labeling = false   settings.yaml:10 (repositories[0].features.auto_labeling)",
        "features.auto_commenting = false   .github/hls.yaml:3 (features.auto_commenting)",
        'labels.allow = ["bug", "priority-*"]   settings.yaml:8 (repositories[0].labels.allow)',
        'labels.allow, and of these = ["bug"]   .github/hls.yaml:4 (labels.allow)',
        "comments.language = French   .github/hls.yaml:1 (comments.language)",
        "comments.tone = friendly   settings.yaml:9 (repositories[0].comments.tone)",
        "findings.min_confidence = 0.8   .github/hls.yaml:2 (findings.min_confidence)",
        "prompts.use.issues.opened = false   .github/hls.yaml:5 (prompts.use.issues.opened)",
    } <= set(lines)
