"""The attributes linguist-generated and linguist-vendored of .gitattributes."""

from __future__ import annotations

import pytest

from hls_handler.handlers.changed_files import number_patch, redact_patch, select_files
from hls_handler.handlers.linguist import MAX_RULES, NO_ATTRIBUTES, parse_attributes
from hls_handler.settings.values import PathFilter
from tests.handlers.world import file


@pytest.mark.parametrize(
    ("line", "path", "value"),
    [
        ("*.api.ts linguist-generated", "web/user.api.ts", True),
        ("*.api.ts linguist-generated", "user.api.ts", True),
        ("*.api.ts linguist-generated", "web/user.ts", None),
        ("gen/** linguist-generated=true", "gen/a/b.py", True),
        ("gen/** linguist-generated=true", "web/gen/b.py", None),
        ("gen/*.py linguist-generated", "gen/a/b.py", None),
        ("/schema.sql linguist-generated", "schema.sql", True),
        ("/schema.sql linguist-generated", "db/schema.sql", None),
        ("*.lock text eol=lf -linguist-generated", "a/uv.lock", False),
        ("*.lock\tlinguist-generated=false diff", "uv.lock", False),
        ("*.py linguist-generated=perhaps", "a.py", None),
        ("*.py linguist-vendored", "a.py", None),
        ("*.py linguist-generated-by-me", "a.py", None),
        ("# *.py linguist-generated", "a.py", None),
        ("!*.py linguist-generated", "a.py", None),
        ("[attr]*.py linguist-generated", "a.py", None),
        ('"a b.py" linguist-generated', "a b.py", None),
        ("a\\*.py linguist-generated", "a.py", None),
        ("gen/ linguist-generated", "gen/a.py", None),
        ("../a.py linguist-generated", "a.py", None),
        ("linguist-generated", "linguist-generated", None),
        ("", "a.py", None),
        ("\n \n*.py\t linguist-generated\r\n\n", "a.py", True),
        ("# x\x0c*.py linguist-generated", "a.py", None),
        ("b.py\xa0*.py linguist-generated", "b.py", None),
        ("# x\u2028*.py linguist-generated", "a.py", None),
    ],
)
def test_value_of_one_line(line: str, path: str, value: bool | None) -> None:
    assert parse_attributes(line).find(path, "generated") is value


def test_the_last_matching_line_wins() -> None:
    attributes = parse_attributes(
        "*.py linguist-generated linguist-vendored\nb.py -linguist-generated\nc.py !linguist-generated\n*.md diff\n"
    )
    assert [attributes.find(path, "generated") for path in ("a.py", "b.py", "c.py")] == [True, False, None]
    assert [attributes.find(path, "vendored") for path in ("a.py", "b.py", "c.py")] == [True, True, True]


def test_the_number_of_rules_is_limited() -> None:
    lines = "\n".join(f"file_{number}.py linguist-generated" for number in range(MAX_RULES + 1))
    attributes = parse_attributes(lines)
    assert attributes.find("file_499.py", "generated") is True
    assert attributes.find("file_500.py", "generated") is None


def skipped(text: str, *paths: str, ignored: PathFilter | None = None) -> dict[str, str]:
    files = [file(path) for path in paths]
    selection = select_files(
        files,
        {file.path: redact_patch(number_patch(file.patch)) for file in files if file.patch},
        new={},
        tokens=100_000,
        ignored_paths=ignored or PathFilter(),
        attributes=parse_attributes(text) if text else NO_ATTRIBUTES,
    )
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


def test_paths_that_settings_ignore_stay_ignored() -> None:
    ignored = PathFilter(("docs/**",), "config/settings.yaml:14")
    assert skipped("* -linguist-generated", "docs/a.md", ignored=ignored) == {"docs/a.md": "left out by settings"}
