"""The files that browsers load: how large they are, what they need, and whose they are."""

from __future__ import annotations

import re

import pytest

from tests.console.make_styles import STATIC, read_variables


def read(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def test_static_files_are_small() -> None:
    assert sum(path.stat().st_size for path in STATIC.iterdir()) <= 250_000


def test_own_style_sheet_is_short_and_readable() -> None:
    lines = read("console.css").splitlines()
    assert len(lines) <= 250
    assert max(map(len, lines)) <= 100


def find_own_variables() -> set[str]:
    return set(re.findall(r"(--[a-z][\w-]+)", read("console.css") + read("console.js")))


def test_primer_has_the_variables_that_are_used_and_no_others() -> None:
    variables = set(read_variables(STATIC / "primer.css"))
    assert find_own_variables() <= variables
    assert variables <= find_own_variables() | set(
        re.findall(r"var\((--[\w-]+)", read("primer.css"))
    )


@pytest.mark.parametrize("name", ["primer.css", "console.css", "uplot.min.css"])
def test_style_sheets_load_nothing(name: str) -> None:
    assert re.findall(r"url\(|@import", read(name)) == []


@pytest.mark.parametrize(
    ("name", "licence"),
    [
        ("primer.LICENSE", "MIT License"),
        ("uplot.LICENSE", "MIT License"),
        ("htmx.LICENSE", "Zero-Clause BSD"),
    ],
)
def test_files_of_others_have_their_licence(name: str, licence: str) -> None:
    assert licence in read(name)


def test_every_theme_defines_our_colours() -> None:
    themes = re.findall(r":root \{\n(.*?)\n\}", read("primer.css"), re.DOTALL)
    colours = {name for name in find_own_variables() if "Color" in name}
    missing = [{name for name in colours if f"{name}:" not in theme} for theme in themes]
    assert missing == [set(), set(), set(), set()]
