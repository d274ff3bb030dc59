"""The attributes linguist-generated and linguist-vendored of .gitattributes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hls_handler.review.skipped_files import MAX_RULES, parse_attributes
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
    st.builds(
        lambda above, name: [*above, name], st.lists(folders, max_size=2), names | st.just("**")
    ),
    st.sampled_from(["", "", "", "/"]),
)
states = st.lists(
    st.sampled_from(
        [
            *(
                "linguist-generated",
                "linguist-generated=true",
                "-linguist-generated",
                "linguist-generated=false",
            ),
            *(
                "linguist-vendored",
                "-linguist-vendored",
                "!linguist-generated",
                "!linguist-vendored",
                "diff",
            ),
            *(
                "-linguist-generated=true",
                "linguist-generated=no",
                "# made",
                "\u00a0linguist-generated",
            ),
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
    environ = {
        **os.environ,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
    }
    command = ["git", "check-attr", "-z", "--stdin", "linguist-generated", "linguist-vendored"]
    paths = "\0".join(PATHS).encode()
    result = subprocess.run(
        command, cwd=repository, input=paths, env=environ, capture_output=True, check=True
    )
    fields = iter(result.stdout.decode().split("\0"))
    found: dict[str, dict[str, bool]] = {path: {} for path in PATHS}
    for path, name, value in zip(fields, fields, fields, strict=False):
        if value in ("set", "unset", "true", "false"):
            found[path][name.removeprefix("linguist-")] = value in ("set", "true")
    return found


@example(text="# b.py linguist-generated")
@example(text="\n \nb.py\t linguist-generated\r\n\n")
@example(text=f"{'*' * 2030} linguist-generated")
@example(text="*/*** linguist-generated")
@given(text=st.lists(lines, min_size=1, max_size=5).map("\n".join))
def test_attributes_are_those_of_git(text: str, repository: Path) -> None:
    attributes = parse_attributes(text)
    assert {path: attributes.find(path) for path in PATHS} == ask_git(repository, text)


odd_parts = st.sampled_from(
    [
        "*",
        "a",
        "b",
        ".py",
        "[ab]",
        "[!a]",
        "[]a]",
        "[",
        "?",
        "\\a",
        "\\303\\244",
        "!",
        '"',
        " ",
        "9",
    ]
)
odd_names = (
    st.lists(odd_parts, min_size=1, max_size=3).map("".join).filter(lambda name: "**" not in name)
)
odd_patterns = st.builds(
    lambda parts, quote: f"{quote}{'/'.join(parts)}{quote}",
    st.lists(odd_names | folders, min_size=1, max_size=2),
    st.sampled_from(["", '"']),
)
macros = st.builds(lambda states: f"[attr]made {states}", states)
odd_lines = st.builds(
    lambda pattern, states: f"{pattern} {states}", odd_patterns | folders, states | st.just("made")
)


@example(text="*.py linguist-generated\n[ab].py -linguist-generated")
@example(text='a/** -linguist-generated\n"a/b.py" !linguist-generated')
@example(text="[attr]made -linguist-generated\n* linguist-generated\na/** made")
@example(text="a/** made\n[attr]made !linguist-generated")
@given(text=st.lists(odd_lines | macros, min_size=1, max_size=5).map("\n".join))
def test_no_line_that_is_not_read_as_git_does_leaves_a_file_out(
    text: str, repository: Path
) -> None:
    attributes = parse_attributes(text)
    for path, known in ask_git(repository, text).items():
        found = attributes.find(path)
        left_out = {attribute for attribute, is_set in found.items() if is_set}
        included = {attribute for attribute, is_set in known.items() if not is_set}
        assert left_out <= {attribute for attribute, is_set in known.items() if is_set}
        assert included <= {attribute for attribute, is_set in found.items() if not is_set}


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("src/[ab].py -linguist-generated", "src/b.py"),
        ("src/?.py linguist-generated=false", "src/b.py"),
        ("src/\\b.py !linguist-generated", "src/b.py"),
        ('"my files/**" -linguist-generated', "my files/b.py"),
        ("dist/[Aa]pp.py -linguist-generated", "dist/App.py"),
        ("[attr]written -linguist-generated\nsrc/** written", "src/b.py"),
    ],
)
def test_a_line_with_another_pattern_that_unsets_includes_all_files_that_it_may_match(
    line: str, path: str
) -> None:
    text = f"*.py linguist-generated\n{line}"
    assert skipped(text, path, "uv.lock", "x.min.js", "other/x.py") == {
        "uv.lock": "lock file",
        "x.min.js": "perhaps generated or vendored",
        "other/x.py": "generated",
    }


def test_public_file_with_a_macro_leaves_out_what_its_other_lines_name() -> None:
    text = (
        "[attr]machine linguist-generated\napi/** machine\n"
        "gen/** linguist-generated\n*.pb.go linguist-generated=true\n"
    )
    paths = ("api/user.go", "gen/a.go", "user.pb.go", "uv.lock", "dist/a.js")
    assert skipped(text, *paths) == {
        "gen/a.go": "generated",
        "user.pb.go": "generated",
        "uv.lock": "lock file",
        "dist/a.js": "generated",
    }


def test_the_number_of_rules_is_limited() -> None:
    lines = "\n".join(f"file_{number}.py linguist-generated" for number in range(MAX_RULES + 1))
    attributes = parse_attributes(lines)
    assert attributes.find("file_499.py") == {"generated": True}
    assert attributes.find("file_500.py") == {}


def skipped(text: str, *paths: str) -> dict[str, str]:
    selection = select(*map(file, paths), attributes=parse_attributes(text))
    for one in selection.skipped:
        assert one.needs_review == (one.reason == "perhaps generated or vendored")
    return {one.path: one.reason for one in selection.skipped}


def test_marked_files_are_skipped_with_the_reason_of_the_attribute() -> None:
    text = "*.api.ts linguist-generated\nlibs/** linguist-vendored"
    assert skipped(text, "user.api.ts", "libs/a.js", "user.ts") == {
        "user.api.ts": "generated",
        "libs/a.js": "vendored",
    }


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
