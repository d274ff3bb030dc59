"""Broken, duplicate and exploding YAML: messages have a line and a sentence, and no text of the
file.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.errors import SettingsError
from hls_handler.settings.load import load_settings
from tests.settings.files import SECRET, SMALLEST, load, problems

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{now}: &{now} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, now in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("server:\n\tport: 1\n", 2, "this line is indented with a tab; YAML requires spaces"),
        (
            f"token: *{SECRET}\n",
            1,
            "a value that starts with a sign such as *, & or @ must be in quotes",
        ),
        (f"a: 1\ngithub\nb: {SECRET}\n", 2, "a key needs a colon after it"),
        (
            f"a: {SECRET}: b\n",
            1,
            "a colon inside a value; put the value in quotes, or check the indentation",
        ),
        (f'a: 1\nb: "{SECRET}\nc: 2\n', 2, "a quote that starts here is not closed"),
        ("a:\n  b: 1\n c: 2\n", 3, "the indentation does not fit the lines above"),
    ],
)
def test_broken_yaml_is_reported_by_line(
    tmp_path: Path, text: str, line: int, problem: str
) -> None:
    assert problems(tmp_path, text) == [f"settings.yaml:{line}: not valid YAML: {problem}"]


def test_a_file_that_is_not_utf8_is_reported_by_line(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(SettingsError, match=r"settings.yaml:2: not UTF-8; save the file as UTF-8"):
        load_settings(path, {}, dotenv=None)


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    settings = load(tmp_path, "\ufeff" + SMALLEST.replace("\n", "\r\n"))
    assert settings.sources.lines["repositories[0].name"] == 7


def test_a_duplicate_key_is_reported_together_with_other_problems(tmp_path: Path) -> None:
    text = SMALLEST + "server:\n  port: 1\n  port: 2\n  hots: x\n"
    assert problems(tmp_path, text) == [
        "settings.yaml:10: server.port: written twice, first in line 9; remove one",
        "settings.yaml:11: server.hots: unknown key; did you mean server.host?",
    ]


def test_anchors_aliases_and_merges_work(tmp_path: Path) -> None:
    text = (
        SMALLEST.replace("  - name: owner/repo\n", "").replace("repositories:\n", "")
        + "repositories:\n"
        "  - &first {name: o/a, events: &events [issues], enabled: false}\n"
        "  - <<: *first\n"
        "    name: o/b\n"
        "  - name: o/c\n"
        "    events: *events\n"
    )
    settings = load(tmp_path, text)
    assert [(entry.name, entry.events, entry.enabled) for entry in settings.repositories] == [
        ("o/a", ("issues",), False),
        ("o/b", ("issues",), False),
        ("o/c", ("issues",), True),
    ]
    assert settings.sources.lines["repositories[1].name"] == 9


def test_the_first_of_two_merged_maps_takes_precedence(tmp_path: Path) -> None:
    merges = "  <<: [{model: one, timeout_s: 5}, {model: two}]\n"
    text = SMALLEST.replace("claude:\n", f"claude:\n{merges}  timeout_s: 6\n")
    claude = load(tmp_path, text).claude
    assert (claude.model, claude.timeout_s) == ("one", 6.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            BOMB,
            (
                "settings.yaml:1: more than 20,000 values; check for aliases (*name) that repeat"
                " each other"
            ),
        ),
        ("a: &a [*a]\n", "settings.yaml:1: nested too deeply; at most 20 levels are allowed"),
        (
            "a: " + "[" * 30 + "]" * 30,
            "settings.yaml:1: nested too deeply; at most 20 levels are allowed",
        ),
        (
            "a: " + "x" * 1_000_001,
            "settings.yaml: larger than 1000000 bytes; this is not a settings file",
        ),
    ],
    ids=["aliases of aliases", "an alias of itself", "deep", "large"],
)
def test_a_file_that_would_explode_is_rejected(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, text) == [problem]
