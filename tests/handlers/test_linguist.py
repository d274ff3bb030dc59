"""The attributes linguist-generated and linguist-vendored of .gitattributes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hls_handler.handlers.linguist import MAX_RULES, LinguistAttributes, parse_attributes
from tests.handlers.world import file, select

NAMES = ("a", "b.py", "ab.py", "A9", "a-b", "ä.py")
PATHS = (*NAMES, *(f"{folder}/{name}" for folder in ("a", "b.py", "x/a", "a/x") for name in NAMES))

name_parts = st.sampled_from(["*", "a", "b", ".py", "-", "9", "ä"])
names = st.lists(name_parts, min_size=1, max_size=3).map("".join)
# git before 2.52 took the ** of `a**/b` for folders, because it had compared the a before.
folders = names.filter(lambda name: "**" not in name) | st.sampled_from(["*", "**", "a"])
patterns = st.builds(
    lambda start, parts, end: f"{start}{'/'.join(parts)}{end}",
    st.sampled_from(["", "", "/"]),
    st.builds(lambda above, name: [*above, name], st.lists(folders, max_size=2), names | st.just("**")),
    st.sampled_from(["", "", "", "/"]),
)
states = st.lists(
    st.sampled_from(
        [
            *("linguist-generated", "linguist-generated=true", "-linguist-generated", "linguist-generated=false"),
            *("linguist-vendored", "-linguist-vendored", "!linguist-generated", "!linguist-vendored", "diff"),
            *("-linguist-generated=true", "linguist-generated=no", "# made", "\u00a0linguist-generated"),
        ]
    ),
    min_size=1,
    max_size=3,
).map(" ".join)
lines = st.builds(
    lambda start, pattern, states, end: f"{start}{pattern} {states}{end}",
    st.sampled_from(["", "", " ", "\t"]),
    patterns,
    states,
    st.sampled_from(["", "", " ", "\t", "\r"]),
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attributes")
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    return folder


def ask_git(repository: Path, text: str) -> dict[str, dict[str, bool]]:
    (repository / ".gitattributes").write_text(text, encoding="utf-8", newline="")
    environ = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_ATTR_NOSYSTEM": "1"}
    command = ["git", "check-attr", "-z", "--stdin", "linguist-generated", "linguist-vendored"]
    paths = "\0".join(PATHS).encode()
    result = subprocess.run(command, cwd=repository, input=paths, env=environ, capture_output=True, check=True)
    fields = iter(result.stdout.decode().split("\0"))
    found: dict[str, dict[str, bool]] = {path: {} for path in PATHS}
    for path, name, value in zip(fields, fields, fields, strict=False):
        if value in ("set", "unset", "true", "false"):
            found[path][name.removeprefix("linguist-")] = value in ("set", "true")
    return found


@example(text="# b.py linguist-generated")
@example(text="\n \nb.py\t linguist-generated\r\n\n")
@example(text=f"{'*' * 2030} linguist-generated")
@given(text=st.lists(lines, min_size=1, max_size=5).map("\n".join))
def test_attributes_are_those_of_git(text: str, repository: Path) -> None:
    attributes = parse(text)
    assert {path: attributes.find(path) for path in PATHS} == ask_git(repository, text)


def parse(text: str) -> LinguistAttributes:
    attributes = parse_attributes(text)
    assert attributes is not None
    return attributes


@pytest.mark.parametrize("pattern", ['"a b.py"', "[ab].py", "?.py", "a\\b", "!b.py", "[attr]made"])
def test_file_with_other_patterns_counts_as_unread(pattern: str) -> None:
    assert parse_attributes(f"{pattern} diff\n*.py linguist-generated") is not None
    assert parse_attributes(f"*.py linguist-generated\n{pattern} linguist-vendored") is None


def test_the_number_of_rules_is_limited() -> None:
    lines = "\n".join(f"file_{number}.py linguist-generated" for number in range(MAX_RULES + 1))
    attributes = parse(lines)
    assert attributes.find("file_499.py") == {"generated": True}
    assert attributes.find("file_500.py") == {}


def skipped(text: str, *paths: str) -> dict[str, str]:
    selection = select(*map(file, paths), attributes=parse_attributes(text))
    for one in selection.skipped:
        assert one.needs_review == (one.reason == "perhaps generated or vendored")
    return {one.path: one.reason for one in selection.skipped}


def test_marked_files_are_skipped_with_the_reason_of_the_attribute() -> None:
    text = "*.api.ts linguist-generated\nlibs/** linguist-vendored"
    assert skipped(text, "user.api.ts", "libs/a.js", "user.ts") == {"user.api.ts": "generated", "libs/a.js": "vendored"}


def test_files_that_are_explicitly_unmarked_are_not_skipped() -> None:
    paths = ("uv.lock", "dist/a.js", "a.min.js", "vendor/a.go", "vendor/go.sum")
    assert skipped("", *paths) == {
        "uv.lock": "lock file",
        "dist/a.js": "generated",
        "a.min.js": "perhaps generated or vendored",
        "vendor/a.go": "perhaps generated or vendored",
        "vendor/go.sum": "perhaps generated or vendored",
    }
    hidden = dict.fromkeys(("vendor/a.go", "vendor/go.sum"), "perhaps generated or vendored")
    assert skipped("* linguist-generated=false", *paths) == hidden
    assert skipped("vendor/** -linguist-vendored", *paths[3:]) == {"vendor/go.sum": "lock file"}
    assert skipped("* !linguist-generated", "uv.lock") == {"uv.lock": "lock file"}
