"""Rules by path: how guidance is split, and to which changed files its parts apply."""

from __future__ import annotations

import pytest

from hls_handler.github.values import GuidanceFile
from hls_handler.review.guidance import (
    find_problems,
    list_folders,
    list_guidance_paths,
    select_parts,
    split_guidance,
)

HLS = ".github/hls.md"
WITHOUT_PATHS = "\n# Money\nPrices are in cents.\n## Frontend and backend\nOne repository.\n\n"

BLANK = (
    "has a blank; write paths without other words, and a path that has one in quotes, such as"
    ' "web ui/**"'
)

Parts = list[tuple[str, str]]


def split(text: str) -> Parts:
    """Return the name and the text of each part."""
    return [(part.name, part.text) for part in split_guidance(GuidanceFile(HLS, text))]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (WITHOUT_PATHS, [(HLS, WITHOUT_PATHS)]),
        ("Be kind.\n## api/**\nJSON.", [(f"{HLS} (api/**)", "## api/**\nJSON."), (HLS, "Be kind.")]),
        ("## `api/**`, !`api/gen/**` ##\nJSON.", [
            (f"{HLS} (api/**, !api/gen/**)", "## `api/**`, !`api/gen/**` ##\nJSON.")
        ]),
        ("api/**\n------\nJSON.\n# All\nKind.", [
            (f"{HLS} (api/**)", "api/**\n------\nJSON."),
            (HLS, "# All\nKind."),
        ]),
        ("## api/**\nJSON.\n### Errors\nCodes.\n## All\nKind.", [
            (f"{HLS} (api/**)", "## api/**\nJSON.\n### Errors\nCodes."),
            (HLS, "## All\nKind."),
        ]),
        ("## api/**\nJSON.\n### api/v2/**\nIds.\n### Errors\nCodes.\n# All\nKind.", [
            (f"{HLS} (api/**)", "## api/**\nJSON.\n### Errors\nCodes."),
            (f"{HLS} (api/** > api/v2/**)", "### api/v2/**\nIds."),
            (HLS, "# All\nKind."),
        ]),
        ("```\n## api/**\n```\n", [(HLS, "```\n## api/**\n```\n")]),
        ("## api/**\nJSON.\n<!--\n## old/**\nGone.\n# All\n-->\n## All\nKind.", [
            (f"{HLS} (api/**)", "## api/**\nJSON."),
            (HLS, "## All\nKind."),
        ]),
        ("## *.sql\r\nNo locks.\r\n", [(f"{HLS} (*.sql)", "## *.sql\r\nNo locks.")]),
        ("## !docs\nTest it.", [(f"{HLS} (!docs)", "## !docs\nTest it.")]),
        ("\ufeff## api/**\nJSON.", [(f"{HLS} (api/**)", "## api/**\nJSON.")]),
    ],
    ids=[
        *("none", "one", "backticks", "underlined", "lower", "nested", "fence", "comment"),
        *("name", "exception", "byte order mark"),
    ],
)  # fmt: skip
def test_text_under_a_heading_of_paths_is_a_part_and_the_rest_is_for_all_files(
    text: str, parts: Parts
) -> None:
    assert split(text) == parts


@pytest.mark.parametrize(
    "title",
    [
        *("Errors", "api/**, errors", "Read/write locks", "!important note", "* list", ""),
        *("acme/shop docs", "**Read/write** locks", "No /* */ comments", '"Stop" the world'),
    ],
)
def test_heading_with_a_part_that_is_no_glob_is_for_all_files(title: str) -> None:
    assert split(f"## {title}\nText.") == [(HLS, f"## {title}\nText.")]


@pytest.mark.parametrize(
    ("heading", "matched"),
    [
        ("api/**", ["api/a.py", "api/gen/b.py"]),
        ("api/**, !api/gen/**", ["api/a.py"]),
        ("api", []),
        ("api/gen/b.py", ["api/gen/b.py"]),
        ("*.py", ["a.py", "api/a.py", "api/gen/b.py"]),
        ("*.py, !gen", ["a.py", "api/a.py"]),
        ("!api/**", ["a.py", "web/c.ts", "web ui/d.ts"]),
        ("api/*.py, web/*", ["api/a.py", "web/c.ts"]),
        ("API/**", []),
        ("api/**, web//*", []),
        ('"web ui/**"', ["web ui/d.ts"]),
        ('`"web ui/**"`, *.py', ["a.py", "api/a.py", "api/gen/b.py", "web ui/d.ts"]),
        ('*.ts, !"web ui"', ["web/c.ts"]),
        ('"web ui/a, b.ts"', []),
    ],
)
def test_part_applies_to_files_that_a_glob_and_no_exception_matches(
    heading: str, matched: list[str]
) -> None:
    file = GuidanceFile(HLS, f"## {heading}\nText.")
    files = ["a.py", "api/a.py", "api/gen/b.py", "web/c.ts", "web ui/d.ts"]
    found = [path for path in files if any(part.globs for part in select_parts([file], [path]))]
    assert found == matched


def test_headings_of_paths_above_a_heading_of_paths_rule_its_text_too() -> None:
    text = "## web/**, !web/gen/**\nTokens.\n### *.css, *.scss\nNo colours.\n#### old/**\nKeep."
    file = GuidanceFile(HLS, text)
    number_of_parts = {
        "site/a.css": 0,
        "web/gen/a.css": 0,
        "web/a.ts": 1,
        "web/a.scss": 2,
        "old/a.css": 0,
    }
    found = {path: len(select_parts([file], [path])) for path in number_of_parts}
    assert found == number_of_parts
    # of no single file, both headings match
    assert len(select_parts([file], ["web/a.ts", "site/a.css"])) == 1


def test_text_below_a_heading_with_a_wrong_glob_applies_to_no_file() -> None:
    file = GuidanceFile(HLS, "## web/**, *.{ts,tsx}\nTokens.\n### *.css\nNo colours.")
    found = find_problems([file])
    assert found is not None
    assert len(found.problems) == 1
    assert select_parts([file], ["web/a.css"]) == []


def test_agents_files_follow_hls_md_and_the_nearest_comes_first() -> None:
    guidance = [
        GuidanceFile("AGENTS.md", "Root."),
        GuidanceFile("api/AGENTS.md", "Api."),
        GuidanceFile("api/v2/AGENTS.md", "V2."),
        GuidanceFile("apis/AGENTS.md", "Another folder."),
        GuidanceFile(HLS, "All.\n## api/**\nJSON."),
    ]
    shown = [part.text for part in select_parts(guidance, ["api/v2/a.py"])]
    assert shown == ["## api/**\nJSON.", "All.", "V2.", "Api.", "Root."]
    below_another = [part.text for part in select_parts(guidance, ["apis/a.py"])]
    assert below_another == ["All.", "Another folder.", "Root."]
    assert [part.text for part in select_parts(guidance, ["b.py"])] == ["All.", "Root."]
    assert [part.text for part in select_parts(guidance, [])] == ["All.", "Root."]


@pytest.mark.parametrize(
    ("glob", "problem"),
    [
        ("api/", "matches no file; write a path as GitHub shows it, such as docs/** or **/*.snap"),
        (
            "src/*.{ts,tsx}",
            "has alternatives in braces, which are not supported; write one glob for each",
        ),
        ("!/gen", "matches no file; write a path as GitHub shows it, such as docs/** or **/*.snap"),
        ("api/**.py", "has ** inside a name; write it alone between slashes, such as **/*.snap"),
        ("packages/web ui/**", BLANK),
        ("packages/web ui/", BLANK),
        ("!docs old/*.md", BLANK),
    ],
)
def test_wrong_glob_is_a_problem_with_file_line_and_what_is_expected(
    glob: str, problem: str
) -> None:
    files = [GuidanceFile(HLS, f"Kind.\n\n## web/**, {glob}\nText.")]
    found = find_problems(files)
    assert found is not None
    assert found.problems == (f".github/hls.md:3: {glob}: {problem}",)
    assert [part.text for part in select_parts(files, ["web/a.ts", "api/a.py"])] == ["Kind."]


def test_problem_after_a_comment_names_its_line() -> None:
    found = find_problems([GuidanceFile(HLS, "<!--\n## old/\n-->\n## api/**\n### v2/\nText.")])
    assert found is not None
    assert [problem[:23] for problem in found.problems] == [".github/hls.md:5: v2/: "]


def test_problems_are_short() -> None:
    headings = "\n".join(f"## api/{'x' * 300}{number}/" for number in range(30))
    found = find_problems([GuidanceFile(HLS, headings)])
    assert found is not None
    assert found.problems[-1] == "and 10 more"
    assert max(map(len, found.problems)) < 400


def test_long_globs_are_cut_in_names() -> None:
    (part,) = split_guidance(GuidanceFile(HLS, f"## api/{'x' * 300}/**"))
    assert len(part.name) < 250


def test_text_under_globs_beyond_100_applies_to_no_file() -> None:
    globs = ", ".join(f"api/{number}/**" for number in range(100))
    file = GuidanceFile(HLS, f"## {globs}\nText.\n## web/**\nMore.\n## *.py\nMost.")
    found = find_problems([file])
    assert found is not None
    assert found.problems == (
        ".github/hls.md:3: is beyond the 100 globs that a file may have",
        ".github/hls.md:5: is beyond the 100 globs that a file may have",
    )
    assert select_parts([file], ["web/a.ts", "b.py"]) == []
    assert len(select_parts([file], ["api/99/a.ts"])) == 1


def test_agents_file_has_no_headings_of_paths() -> None:
    file = GuidanceFile("api/AGENTS.md", "## web//**\nText.")
    assert find_problems([file]) is None
    assert [part.text for part in select_parts([file], ["api/a.py"])] == ["## web//**\nText."]


def test_at_most_100_folders_are_read_those_with_the_most_files_first() -> None:
    few = [f"few{number}/a.py" for number in range(100)]
    paths = list_guidance_paths([*few, "many/x/a.py", "many/x/b.py", "root.py"])
    assert paths[:4] == [HLS, "AGENTS.md", "many/AGENTS.md", "many/x/AGENTS.md"]
    assert len(paths) == 2 + 100


def test_deep_folders_take_no_memory_beyond_the_limit() -> None:
    deep = "/".join(["a"] * 2_000)
    folders = list_folders([f"x{number}/{deep}/a.py" for number in range(10)])
    assert len(folders) == 10 * 100
