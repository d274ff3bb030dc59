"""References of a comment that its conversation does not contain leave no "mentioned this"."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hls_handler.untrusted.cleaning import ZERO_WIDTH_SPACE
from hls_handler.untrusted.markdown import sanitize_blocks, sanitize_inline, sanitize_link_target
from hls_handler.untrusted.placeholders import Placeholders
from hls_handler.untrusted.references import References
from hls_handler.untrusted.untrusted_text import CommentFormatter
from tests.untrusted.github_reading import backlinks, dangers

Z = ZERO_WIDTH_SPACE
TO = "https://redirect.github.com"
OURS = References(
    "octo/shop",
    texts=("See #3 and Other/Lib#4.", "GH-6"),
    self_references=frozenset({"octo/shop#7"}),
)
SERVER = References(
    "octo/shop",
    "https://ghe.example.com",
    texts=("See #3.",),
    self_references=frozenset({"octo/shop#7"}),
)


@pytest.mark.parametrize(
    ("text", "posted"),
    [
        ("As in #5.", f"As in [#5]({TO}/octo/shop/issues/5)."),
        ("#123456", f"[#123456]({TO}/octo/shop/issues/123456)"),
        ("_#5_ **GH-5**", f"_[#5]({TO}/octo/shop/issues/5)_ **[GH-5]({TO}/octo/shop/issues/5)**"),
        ("other/my.lib_2#5", f"[other/my.lib_2#5]({TO}/other/my.lib_2/issues/5)"),
        ("\\#5", f"[#5]({TO}/octo/shop/issues/5)"),
        (
            "# Like #5\n\n- #5",
            f"# Like [#5]({TO}/octo/shop/issues/5)\n\n- [#5]({TO}/octo/shop/issues/5)",
        ),
        ("wow!#5", f"wow!{Z}[#5]({TO}/octo/shop/issues/5)"),
        ("https://github.com/octo/shop/issues/5", f"{TO}/octo/shop/issues/5"),
        ("http://www.github.com/a/b/pull/5/files#r1.", f"{TO}/a/b/pull/5/files#r1."),
        ("<https://github.com/a/b/discussions/5>", f"<{TO}/a/b/discussions/5>"),
        ("[that](https://GitHub.com/a/b/commit/1f0c2d3)", f"[that]({TO}/a/b/commit/1f0c2d3)"),
        (
            '[see #5](https://github.com/a/b/issues/5 "old")',
            f'[see #{Z}5]({TO}/a/b/issues/5 "old")',
        ),
    ],
)
def test_foreign_reference_becomes_a_link_without_a_back_link(text: str, posted: str) -> None:
    assert sanitize_blocks(text, OURS) == posted
    assert backlinks(sanitize_blocks(text, OURS), "github.com") == []


@pytest.mark.parametrize(
    "text",
    [
        "#3, octo/shop#3, GH-3, other/lib#4, #6 and #7",
        (
            "https://github.com/octo/shop/issues/3#issuecomment-1 and"
            " [here](https://github.com/octo/shop/pull/7/files)"
        ),
        "`#5` and ``octo/shop#5``.",
        "https://github.com/octo/shop/blob/main/a.py#L5 and https://github.com/octo/shop",
        "https://x.example/?u=https://github.com/octo/shop/issues/5",
        "#5a, A-5, #a and 5#",
        "\n```\nsee #5, https://github.com/octo/shop/issues/5\n```\n",
    ],
)
def test_reference_of_the_conversation_and_what_is_none_is_unchanged(text: str) -> None:
    assert sanitize_blocks(text, OURS) == text


@pytest.mark.parametrize("text", ["C#5", "a/b/c#5", "#0", "#007", "#1234567"])
def test_number_that_is_hardly_an_issue_is_no_link(text: str) -> None:
    assert sanitize_blocks(text, OURS) == text.replace("#", f"#{Z}")


@pytest.mark.parametrize(
    ("text", "posted"),
    [
        ("#5, octo/shop#5, GH-5 and #3", f"#{Z}5, octo/shop#{Z}5, GH-{Z}5 and #3"),
        ("GH-5-octo/shop#5", f"GH-{Z}5-octo/shop#{Z}5"),
        (
            "https://ghe.example.com/octo/shop/pull/5.",
            "`https://ghe.example.com/octo/shop/pull/5`.",
        ),
        (
            "<https://ghe.example.com/octo/shop/pull/5> it",
            "`https://ghe.example.com/octo/shop/pull/5` it",
        ),
        (
            "[it](https://ghe.example.com/o/s/issues/5)",
            "[it] (`https://ghe.example.com/o/s/issues/5`)",
        ),
        ("`a`https://ghe.example.com/o/s/pull/5", f"`a`{Z}`https://ghe.example.com/o/s/pull/5`{Z}"),
        ("https://ghe.example.com/octo/shop/pull/7", "https://ghe.example.com/octo/shop/pull/7"),
        ("https://github.com/octo/shop/pull/5", f"{TO}/octo/shop/pull/5"),
    ],
)
def test_foreign_reference_is_no_link_on_a_host_without_a_redirect(text: str, posted: str) -> None:
    assert sanitize_blocks(text, SERVER) == posted
    assert (
        backlinks(
            posted, "ghe.example.com", known=("#3", "https://ghe.example.com/octo/shop/pull/7")
        )
        == []
    )


@pytest.mark.parametrize(
    "text", ["`#5`", "```\n#5\n```", "~~~\n#5", "> ```\n> #5\n> ```\n", "<!-- #5 -->", "C#5"]
)
def test_conversation_does_not_contain_what_github_does_not_link_there(text: str) -> None:
    references = References("octo/shop", texts=(text,))
    assert sanitize_blocks("#5", references) == f"[#5]({TO}/octo/shop/issues/5)"


def test_link_target_of_a_template_leaves_no_back_link() -> None:
    assert (
        sanitize_link_target("https://github.com/octo/shop/pull/5", OURS)
        == f"{TO}/octo/shop/pull/5"
    )
    own = "https://github.com/octo/shop/pull/7#discussion_r901"
    assert sanitize_link_target(own, OURS) == own


def test_reference_in_the_text_of_a_templates_link_leaves_that_link_whole() -> None:
    placeholders = Placeholders(key=b"k", show=CommentFormatter(sanitize_blocks, OURS))
    job, checked = placeholders.convert("build #5"), placeholders.convert("#5")
    rendered = f"line 3 of [{job}](https://github.com/octo/shop/actions/runs/1)\n- [ ] {checked}"
    assert (
        placeholders.substitute(rendered, template="t")
        == f"line 3 of [build #{Z}5](https://github.com/octo/shop/actions/runs/1)\n- [ ]"
        f" [#5]({TO}/octo/shop/issues/5)"
    )


PIECES = """
#5|#|GH-5|octo/shop#5|a/b#5|\\#5|!|[|)|]|`|``|<|>|*|_|**|\\|a|@|&|&#35;|- |@victim|<b>|"|.|fixes
](https://github.com/a/b/pull/5)|<https://github.com/a/b/pull/5>|](https://ghe.example.com/a/b/pull/5)
"""
FRAGMENTS = [
    *(piece for line in PIECES.split() for piece in line.split("|")),
    *(" ", "\n", "\n```\n", "\t", "|", "> "),
    *(" https://github.com/a/b/issues/5 ", " https://ghe.example.com/a/b/issues/5 "),
]
"""Without "(", because a "](#5)" that follows no text of a link is a limit."""


@settings(max_examples=100)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
def test_any_text_leaves_no_back_link_and_stays_harmless(text: str) -> None:
    for references, host in ((References("octo/shop"), "github.com"), (SERVER, "ghe.example.com")):
        posted = sanitize_blocks(text, references)
        assert backlinks(posted, host, known=("#7", "#3")) == []
        assert dangers(posted) == []
        assert dangers(f"| x | {sanitize_inline(text, references)} |") == []


@pytest.mark.parametrize("unit", ["[#1](", "a/", "_a", "a-", "#1", "octo/shop#5 ", "`#1", "```\n"])
def test_hostile_text_takes_linear_time(unit: str) -> None:
    """A quadratic step would not finish here."""
    hostile = unit * (50_000 // len(unit))
    assert sanitize_blocks(hostile, References("octo/shop", texts=(hostile,)))
