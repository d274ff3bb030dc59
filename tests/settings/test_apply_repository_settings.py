"""Merging of repository settings into the operator's: features and labels are only reduced, words
are replaced.
"""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path

import pytest

from hls_handler.settings.effective import (
    EffectiveSettings,
    apply_repository_settings,
    iter_sourced_values,
)
from hls_handler.settings.repository import RepositorySettings, parse_repository_file
from tests.settings.files import SMALLEST, load
from tests.settings.test_effective import effective

OPERATORS = """\
    labels: {allow: [bug, "priority-*"]}
    comments: {language: German, tone: friendly}
    features: {auto_labeling: false}
    paths: {ignore: ["*.lock"]}
    prompts: {use: {issues: issues/own, issues.opened: issues/first}}
"""


def own(text: str, file: str = ".github/hls.yaml") -> RepositorySettings:
    read = parse_repository_file(text, file)
    assert read.problems == ()
    return read


def organizations(text: str) -> RepositorySettings:
    return own(text, "acme/.github: hls.yaml")


def keys_of_files(holds: EffectiveSettings) -> dict[str, str]:
    """Return the path of the first file of a repository that sets a key, by key."""
    paths = {key: origin.keys for key, origin in holds.origins.items()}
    of_files = {key: [one for one in keys if "hls.yaml:" in one] for key, keys in paths.items()}
    return {key: found[0] for key, found in of_files.items() if found}


SUGGESTING = "    labels: {suggest: true, min_confidence: 0.8}\n"
DENYING = "    labels: {deny: [release-*]}\n"
REVIEW = "review: {max_inline: 4, verify: false, guidance: true, fail_on: high}"
TITLE = "pull_requests: {title: false, title_types: [bug]}"
SWITCHED_OFF = """\
    features: {auto_labeling: false, auto_commenting: false}
    labels: {create: false, suggest: false}
    review: {verify: false, guidance: false}
    retrieval: {enabled: false}
"""


@pytest.mark.parametrize(
    ("operators", "repositorys", "applies", "keys"),
    [
        (
            SWITCHED_OFF,
            SWITCHED_OFF.replace("false", "true"),
            {
                "features.auto_labeling": False,
                "features.auto_commenting": False,
                "labels.create": False,
                "labels.suggest": False,
                "review.verify": False,
                "review.guidance": False,
                "retrieval.enabled": False,
            },
            "",
        ),
        (
            "",
            "features: {auto_commenting: false}",
            {"features.auto_commenting": False},
            "features.auto_commenting",
        ),
        (
            SUGGESTING,
            "labels: {suggest: false, min_confidence: 0.9}",
            {"labels.suggest": False, "labels.min_confidence": 0.9},
            "labels.suggest labels.min_confidence",
        ),
        (DENYING, "labels: {deny: [bug]}", {"labels.deny": ("release-*", "bug")}, "labels.deny"),
        (DENYING, "labels: {deny: []}", {"labels.deny": ("release-*",)}, ""),
        (
            "review: {max_inline: 3, guidance: false, fail_on: medium}",
            REVIEW,
            {"review.max_inline": 3, "review.fail_on": "medium", "review.guidance": False},
            "review.verify",
        ),
        (
            "",
            REVIEW,
            {
                "review.max_inline": 4,
                "review.verify": False,
                "review.fail_on": "high",
            },
            "review.max_inline review.verify review.fail_on",
        ),
        (
            "review: {fail_on: critical}",
            "review: {fail_on: high}",
            {"review.fail_on": "high"},
            "review.fail_on",
        ),
        ("", TITLE, {"pull_requests.title": False}, "pull_requests.title_types"),
        (
            "pull_requests: {title: check}",
            TITLE,
            {"pull_requests.title": False, "pull_requests.title_types": ("bug",)},
            "pull_requests.title pull_requests.title_types",
        ),
    ],
)
def test_rule_23_a_repository_can_only_restrict_what_the_operator_allows(
    tmp_path: Path, operators: str, repositorys: str, applies: dict[str, object], keys: str
) -> None:
    holds = apply_repository_settings(effective(tmp_path, operators), own(repositorys))
    assert {key: attrgetter(key)(holds) for key in applies} == applies
    assert set(keys_of_files(holds)) == set(keys.split())


@pytest.mark.parametrize(
    "text", ["pull_requests: {title: check}", "pull_requests: {reviewers: suggest}"]
)
def test_rule_23_a_repository_cannot_switch_a_check_or_requests_on(text: str) -> None:
    assert parse_repository_file(text).problems != ()


def test_rule_23_a_repository_overrides_its_organisation_only_within_the_limits_of_the_operator(
    tmp_path: Path,
) -> None:
    organization = organizations(
        "enabled: false\ncomments: {tone: formal, length: short}\nlabels: {suggest: false, create:"
        " false}\nreview: {max_inline: 2}\n"
    )
    repository = own(
        "enabled: true\ncomments: {tone: neutral}\nlabels: {suggest: true, create: true}\nreview:"
        " {max_inline: 40}\n"
    )
    operators = effective(
        tmp_path, OPERATORS + "labels: {suggest: true, create: false}\nreview: {max_inline: 30}\n"
    )
    holds = apply_repository_settings(operators, repository, organization)
    assert (holds.enabled, holds.comments.tone, holds.comments.length) == (True, "neutral", "short")
    assert (holds.labels.suggest, holds.labels.create, holds.review.max_inline) == (True, False, 30)
    assert keys_of_files(holds) == {
        "comments.tone": ".github/hls.yaml:comments.tone",
        "comments.length": "acme/.github: hls.yaml:comments.length",
    }
    alone = apply_repository_settings(operators, own(""), organization)
    assert (alone.enabled, alone.labels.suggest, alone.review.max_inline) == (False, False, 2)


def test_rule_14_lists_of_all_files_apply_together(tmp_path: Path) -> None:
    organization = organizations("labels: {allow: [b*], deny: [beta]}\npaths: {ignore: [vendor]}\n")
    repository = own("labels: {allow: [bug], deny: [big]}\npaths: {ignore: [docs]}\n")
    holds = apply_repository_settings(effective(tmp_path, OPERATORS), repository, organization)
    assert (holds.labels.allow, holds.labels.deny) == (("bug", "priority-*"), ("big", "beta"))
    assert holds.labels.repository_allow == {
        ".github/hls.yaml:1 (labels.allow)": ("bug",),
        "acme/.github: hls.yaml:1 (labels.allow)": ("b*",),
    }
    assert holds.paths.ignore == ("*.lock", "docs", "vendor")
    settings = load(tmp_path, SMALLEST + OPERATORS)
    both = settings.with_repository_sources(repository.sources, organization.sources)
    assert (
        holds.where("paths.ignore", both)
        == f"{tmp_path}/settings.yaml:11 (repositories[0].paths.ignore) and .github/hls.yaml:2"
        " (paths.ignore) and acme/.github: hls.yaml:2 (paths.ignore)"
    )


def test_list_of_denied_labels_names_each_place_that_adds_to_it(tmp_path: Path) -> None:
    text = OPERATORS + "labels: {deny: [release-*]}\n"
    files = own("labels: {deny: [big]}\n"), organizations("labels: {deny: [beta]}\n")
    settings, holds = (
        load(tmp_path, SMALLEST + text),
        apply_repository_settings(effective(tmp_path, text), *files),
    )
    both = settings.with_repository_sources(*(file.sources for file in files))
    (deny,) = [str(one) for one in iter_sourced_values(both, holds) if one.key == "labels.deny"]
    value, _, places = deny.replace(f"{tmp_path}/", "").partition("   ")
    assert value == 'labels.deny = ["release-*", "big", "beta"]'
    assert (
        places.replace(" (labels.deny)", "")
        == "settings.yaml:13 and .github/hls.yaml:1 and acme/.github: hls.yaml:1"
    )


def test_keys_that_a_repository_leaves_empty_are_those_of_the_organisation(tmp_path: Path) -> None:
    organization = organizations(
        "labels: {deny: [beta]}\nreview: {max_inline: 2}\ncomments: {tone: formal}\n"
    )
    empty = own("labels: {deny: []}\nreview:\ncomments:\n")
    invalid = parse_repository_file("comments: {tone: neutrally}\nlables: {}\n")
    for repository in (empty, invalid):
        holds = apply_repository_settings(effective(tmp_path, OPERATORS), repository, organization)
        assert (holds.labels.deny, holds.review.max_inline, holds.comments.tone) == (
            ("beta",),
            2,
            "formal",
        )
        assert keys_of_files(holds) == {
            key: f"acme/.github: hls.yaml:{key}"
            for key in ("labels.deny", "review.max_inline", "comments.tone")
        }


def test_prompt_choice_of_the_organisation_is_between_those_of_the_repository_and_the_operator(
    tmp_path: Path,
) -> None:
    organization = organizations(
        "prompts: {use: {issues: issues/theirs, issues.opened: issues/brief}}"
    )
    holds = apply_repository_settings(
        effective(tmp_path, OPERATORS), own("prompts: {use: {issues: issues/our}}"), organization
    )
    chosen = holds.find_prompt("issues.opened")
    assert chosen is not None
    assert (chosen.prompt, chosen.key) == ("issues/our", ".github/hls.yaml:prompts.use.issues")
    alone = apply_repository_settings(effective(tmp_path, OPERATORS), own(""), organization)
    chosen = alone.find_prompt("issues.opened")
    assert chosen is not None
    assert chosen.prompt == "issues/brief"
    assert chosen.key == "acme/.github: hls.yaml:prompts.use.issues.opened"


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
        for value in iter_sourced_values(
            both, apply_repository_settings(effective(tmp_path, OPERATORS), file)
        )
    ]
    assert {
        (
            "features.auto_labeling = false   settings.yaml:10"
            " (repositories[0].features.auto_labeling)"
        ),
        "features.auto_commenting = false   .github/hls.yaml:3 (features.auto_commenting)",
        'labels.allow = ["bug", "priority-*"]   settings.yaml:8 (repositories[0].labels.allow)',
        'labels.allow, and of these = ["bug"]   .github/hls.yaml:4 (labels.allow)',
        "comments.language = French   .github/hls.yaml:1 (comments.language)",
        "comments.tone = friendly   settings.yaml:9 (repositories[0].comments.tone)",
        "findings.min_confidence = 0.8   .github/hls.yaml:2 (findings.min_confidence)",
        "prompts.use.issues.opened = false   .github/hls.yaml:5 (prompts.use.issues.opened)",
    } <= set(lines)
