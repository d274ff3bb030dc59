"""Repository settings file: allowed keys, and a message with its line for everything else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from jsonschema import Draft202012Validator

from hls_handler.errors import SettingsError
from hls_handler.settings.repository import (
    EMPTY_REPOSITORY_SETTINGS,
    MAX_BYTES,
    REPOSITORY_KEYS,
    RepositorySettings,
    RepositorySettingsFile,
    decode_repository_file,
    parse_repository_file,
)
from hls_handler.settings.yaml_parser import iter_leaves, value_at
from tests.settings.make_schemas import repository_schema

EVERYTHING = """\
enabled: true
labels: {create: false, allow: [bug, "priority-*"], deny: ["p*"], suggest: false,
  min_confidence: 0.9}
comments: {language: German, tone: friendly, length: short, summary: always, layout: table, agent_prompt: true}
features: {auto_labeling: true, auto_commenting: false}
prompts: {use: {issues.opened: issues/own, pull_request: false}}
paths: {ignore: ["docs/**"]}
findings: {min_severity: medium, min_confidence: 0.6}
review: {max_inline: 3, verify: false, guidance: false, fail_on: high}
pull_requests: {title: false, title_types: [feat], reviewers: false}
retrieval: {enabled: false}
"""


def problems(text: str) -> tuple[str, ...]:
    return parse_repository_file(text).problems


def test_every_allowed_key_is_read_with_its_line() -> None:
    parsed = parse_repository_file(EVERYTHING)
    assert parsed.problems == ()
    assert parsed.values["labels"] == {
        "create": False,
        "allow": ("bug", "priority-*"),
        "deny": ("p*",),
        "suggest": False,
        "min_confidence": 0.9,
    }
    use = parsed.values["prompts"]["use"]
    assert use == {"issues.opened": "issues/own", "pull_request": False}
    assert parsed.values["findings"] == {"min_severity": "medium", "min_confidence": 0.6}
    assert (parsed.lines["labels.allow"], parsed.lines["prompts.use.pull_request"]) == (2, 6)
    assert [key.path for key in REPOSITORY_KEYS if key.path not in parsed.lines] == []


@pytest.mark.parametrize("text", ["# nothing\n", "labels:\nprompts: {use: }\n", "\ufeff"])
def test_an_empty_file_sets_nothing(text: str) -> None:
    parsed = parse_repository_file(decode_repository_file(text.encode()))
    assert ([*iter_leaves(parsed.values)], parsed.problems) == ([], ())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            b"#" * (MAX_BYTES + 1),
            ".github/hls.yaml: larger than 65536 bytes; this is not a settings file",
        ),
        (b"\x7fELF\xff\xfe", ".github/hls.yaml:1: not UTF-8; save the file as UTF-8"),
        (
            b"enabled: true\n\x00",
            ".github/hls.yaml:2: a control character, which YAML forbids; remove it",
        ),
    ],
    ids=["huge", "binary", "with a NUL"],
)
def test_bytes_that_are_not_text_are_rejected(content: bytes, expected: str) -> None:
    with pytest.raises(SettingsError, match=expected.replace("(", r"\(")):
        decode_repository_file(content)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"? &k {'k' * 28_000}\n: {{? *k : 1}}\n",
            "1: a key or value has more than 500 characters",
        ),
        ("labels: &a [x]\ncomments: *a\n", "1: aliases (*name) are not allowed here"),
        (f"labels: {{allow: ['{'x' * 501}']}}\n", "1: a key or value has more than 500 characters"),
        ("".join(f"a{n}: 1\n" for n in range(1_500)), "1000: more than 1,000 values"),
        ("[" * 600, "1: nested too deeply"),
        ("- labels\n", "1: the file must have some of the keys enabled:, labels:, comments:"),
    ],
    ids=["a long key", "an alias", "a long value", "many keys", "many brackets", "no sections"],
)
def test_a_small_file_cannot_expand_into_a_large_one(text: str, expected: str) -> None:
    """Anyone who can push to one repository must not be able to block the service for the
    others.
    """
    (problem,) = problems(text)
    assert problem.startswith(f".github/hls.yaml:{expected}")


def test_the_numbers_of_globs_and_of_reported_problems_are_limited() -> None:
    assert problems(f"paths: {{ignore: [{', '.join(['a'] * 100)}]}}\n") == ()
    (problem,) = problems(f"paths: {{ignore: [{', '.join(['a'] * 101)}]}}\n")
    assert problem.startswith(".github/hls.yaml:1: paths.ignore: ")
    found = problems("".join(f"key{n}: 1\n" for n in range(50)))
    assert (len(found), found[-1]) == (21, "and 30 more")


# --- files with mistakes
# -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("comments: {tone: freindly}\nenabled: off\n", {"comments": {}, "enabled": False}),
        ("labels: {suggest: off, min_confidence: 2}\n", {"labels": {"suggest": False}}),
        (
            "labels: {allow: [bug, 1], deny: [big]}\n",
            {"labels": {"allow": ("bug",), "deny": ("big",)}},
        ),
        (
            "retrieval: {enabled: off, max: 2}\nreview: [verify]\n",
            {"retrieval": {"enabled": False}},
        ),
        ("paths: {ignore: [a], ignore: [b]}\n", {"paths": {"ignore": ("a", "b")}}),
        (
            "labels: {deny: ['${X}']}\nfindings: {min_severity: !a b}\n",
            {"labels": {"deny": ()}, "findings": {}},
        ),
        (
            "prompts: {use: {issues: false, isues: 1}}\nlables: {create: false}\n",
            {"prompts": {"use": {"issues": False}}},
        ),
        ("prompts: {use: {issues: {}, release: off}}\n", {"prompts": {"use": {"release": False}}}),
        (
            "labels: {create: off, allow: {bug: 1}}\n",
            {"labels": {"create": False, "allow": ()}},
        ),
        (
            "prompts: {use: {push: false, issues: {constrained-str: 1, 'literal[False]': 2}}}\n",
            {"prompts": {"use": {"push": False}}},
        ),
        ("enabled: perhaps\n", {}),
        ("enabled: *a\n", {}),
    ],
)
def test_keys_of_a_file_with_a_mistake_elsewhere_apply(
    text: str, values: dict[str, object]
) -> None:
    parsed = parse_repository_file(text)
    assert parsed.values == values
    assert parsed.problems != ()


def test_a_key_with_a_mistake_has_the_value_of_the_last_good_version() -> None:
    good = parse_repository_file("comments: {language: German}\nfeatures: {auto_labeling: false}\n")
    text = "\nfeatures: {auto_commenting: 0}\ncomments: {tone: formal, language: '?'}\n"
    parsed = parse_repository_file(text, last_valid=good)
    assert parsed.values == {
        "comments": {"tone": "formal", "language": "German"},
        "features": {"auto_labeling": False, "auto_commenting": False},
    }
    assert (parsed.lines["features.auto_labeling"], parsed.lines["features.auto_commenting"]) == (
        2,
        2,
    )
    assert parsed.problems == problems(text)


GOOD = """\
labels: {allow: [bug, question], deny: [release-*]}
paths: {ignore: ["secrets/**", "docs/**"]}
"""


@pytest.mark.parametrize(
    ("last_good", "text", "path", "entries"),
    [
        ("", "paths: {ignore: ['secrets/**', '{a,b}/**']}", "paths.ignore", ("secrets/**",)),
        ("", "labels: {deny: [release-*, '!x', 1, ~]}", "labels.deny", ("release-*",)),
        ("", "paths: {ignore: secrets/**}", "paths.ignore", ("secrets/**",)),
        ("", f"paths: {{ignore: [a{', a' * 100}]}}", "paths.ignore", ("a",)),
        ("", "paths: {ignore: ['${X}/**', a]}", "paths.ignore", ("a",)),
        (
            GOOD,
            "paths: {ignore: ['{secrets,keys}/**', docs/**, tmp]}",
            "paths.ignore",
            ("secrets/**", "docs/**", "tmp"),
        ),
        (GOOD, "paths: {ignore: }", "paths.ignore", ("secrets/**", "docs/**")),
        (GOOD, "paths: {ignore: tmp}", "paths.ignore", ("secrets/**", "docs/**", "tmp")),
        ("", "paths: {ignore: [a], ignore: [b]}", "paths.ignore", ("a", "b")),
        ("", "paths: {}\npaths: {ignore: [a]}", "paths.ignore", ("a",)),
        (
            GOOD,
            "paths: {ignore: [a], ignore: [b]}",
            "paths.ignore",
            ("secrets/**", "docs/**", "a", "b"),
        ),
        (GOOD, "labels: {deny: {a: b}}", "labels.deny", ("release-*",)),
        (GOOD, "labels: [deny]", "labels.deny", ("release-*",)),
        (GOOD, "labels: {deny: 'a", "labels.deny", ("release-*",)),
        ("", "labels: {allow: [bug, '!x']}", "labels.allow", ("bug",)),
        ("", "labels: {allow: ['!x']}", "labels.allow", ()),
        ("", "labels: {allow: }", "labels.allow", ()),
        ("", "labels: {allow: bug}", "labels.allow", ()),
        ("", "labels: {allow: '${X}'}", "labels.allow", ()),
        (GOOD, "labels: {allow: [bug, size/*, '!x']}", "labels.allow", ("bug", "size/*")),
        (GOOD, "labels: {allow: ['!x']}", "labels.allow", ()),
        (GOOD, "labels: {allow: }", "labels.allow", ("bug", "question")),
        (GOOD, "labels: {allow: size/*}", "labels.allow", ("bug", "question")),
    ],
)
def test_mistake_in_a_list_that_reduces_never_allows_more(
    last_good: str, text: str, path: str, entries: tuple[str, ...]
) -> None:
    parsed = parse_repository_file(text, last_valid=parse_repository_file(last_good))
    assert value_at(parsed.values, path) == entries
    assert parsed.problems == problems(text) != ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("enabled:", "enabled: has no value; write true or false, or remove the key"),
        (
            "labels: {allow: }",
            "labels.allow: has no value; write a list of texts, or remove the key",
        ),
        (
            "prompts: {use: {issues: }}",
            (
                "prompts.use.issues: has no value; write the name of one of the operator's prompts,"
                " or false"
            ),
        ),
    ],
)
def test_key_without_a_value_is_named_and_keeps_the_last_good_value(
    text: str, problem: str
) -> None:
    good = "enabled: false\nlabels: {allow: [bug]}\nprompts: {use: {issues: false}}\n"
    last_valid = parse_repository_file(good)
    parsed = parse_repository_file(text, last_valid=last_valid)
    assert parsed.values == last_valid.values
    assert parsed.problems == (f".github/hls.yaml:1: {problem}",)


def test_the_applied_version_is_described_in_a_sentence() -> None:
    nothing, wrong = EMPTY_REPOSITORY_SETTINGS, RepositorySettings(problems=("x:1: no",))
    assert RepositorySettingsFile(nothing, None).describe() is None
    file = RepositorySettingsFile(nothing, "c0ffee")
    assert file.describe() == ".github/hls.yaml (c0ffee) applies on top of the settings"
    assert (
        replace(file, read_error="502").describe()
        == ".github/hls.yaml could not be read, so the last known version (c0ffee) applies: 502"
    )
    assert (
        replace(file, settings=wrong, valid_version="beef").describe()
        == ".github/hls.yaml (c0ffee) applies on top of the settings, except for its mistakes, where"
        " the last good version (beef) does: x:1: no"
    )


# --- schema for editors
# -----------------------------------------------------------------------------


def test_the_schema_accepts_a_valid_file_only() -> None:
    validator = Draft202012Validator(repository_schema())
    for text in (EVERYTHING, "labels:\n"):
        assert validator.is_valid(yaml.safe_load(text)), text
    for text in (
        "limits: {}",
        "findings: {min_confidence: '${X}'}",
        "prompts: {use: {issue: x}}",
        "comments: {tone: x}",
    ):
        assert not validator.is_valid(yaml.safe_load(text)), text


def test_a_list_of_a_later_invalid_version_has_its_line_there() -> None:
    last_valid = parse_repository_file("labels:\n  allow: [a]\n")
    merged = parse_repository_file(
        "labels:\n  create: maybe\n  allow: [b]\n", last_valid=last_valid
    )
    assert merged.sources.where("labels.allow") == ".github/hls.yaml:3 (labels.allow)"
