"""Comments as safe HTML."""

from __future__ import annotations

import re

import pytest

from hls_handler.sandbox.markdown import diff_lines, rendered


@pytest.mark.parametrize(
    ("body", "html"),
    [
        ("**a** `b`", "<p><strong>a</strong> <code>b</code></p>\n"),
        ("<!-- hls:issues -->", ""),
        ("a <!-- hidden --> b", "<p>a  b</p>\n"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a <b onclick=x>b</b>", "<p>a &lt;b onclick=x&gt;b&lt;/b&gt;</p>\n"),
        ("<DETAILS><summary>More</summary>", "<details><summary>More</summary>"),
        ("<details open>", "&lt;details open&gt;"),
        ("a<br>b", "<p>a<br>b</p>\n"),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>\n"),
        ("[x](https://e.org)", '<p><a href="https://e.org" rel="nofollow noreferrer noopener">x</a></p>\n'),
        (
            "![x](https://e.org/a.png)",
            '<p><span class="image">image, not loaded here: https://e.org/a.png</span></p>\n',
        ),
        (
            "- [x] a\n- [ ] b",
            '<ul>\n<li><span class="box">☑</span> a</li>\n<li><span class="box">☐</span> b</li>\n</ul>\n',
        ),
        ("- a", "<ul>\n<li>a</li>\n</ul>\n"),
        ("[x] a", "<p>[x] a</p>\n"),
        ("```\n<a>\n```", "<pre><code>&lt;a&gt;\n</code></pre>\n"),
        ("~~a~~", "<p><s>a</s></p>\n"),
        ("&lt;script&gt;", "<p>&lt;script&gt;</p>\n"),
    ],
)
def test_markdown_as_github_shows_it(body: str, html: str) -> None:
    assert rendered(body).strip() == html.strip()


def test_a_diff_is_shown_in_colour() -> None:
    assert rendered("```diff\n@@ -1 +1 @@\n-<a>\n+b\n c\n```") == (
        '<pre><code><span class="hunk">@@ -1 +1 @@</span>\n<span class="minus">-&lt;a&gt;</span>\n'
        '<span class="plus">+b</span>\n<span> c</span></code></pre>\n'
    )
    assert diff_lines("+a\n") == '<span class="plus">+a</span>'


def test_tables_are_shown() -> None:
    assert "<td>1</td>" in rendered("| a |\n|---|\n| 1 |")


@pytest.mark.parametrize(
    "evil",
    [
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        "<!-- a --><iframe src=x>",
        '<details ontoggle="alert(1)">',
        "<summary\nonclick=x>",
        '![x"onerror="alert(1)](x"onerror=")',
        "<a href='javascript:alert(1)'>x</a>",
        "[a](<javascript:alert(1)>)",
        "[a](data:text/html,<script>alert(1)</script>)",
        "<!--><script>alert(1)</script>-->",
        "<!-- --!><script>alert(1)</script>",
        "```diff\n+</code><script>\n```",
        "| <script> |\n|---|\n| <script> |",
        '<https://e.org/"onclick="alert(1)>',
    ],
)
def test_output_contains_no_scripts_and_loads_nothing(evil: str) -> None:
    tags = re.findall(r"<[^>]*>", rendered(evil))
    allowed = re.compile(
        r"</?(p|pre|code|details|summary|table|thead|tbody|tr|th|td|ul|li|em|strong|br)>"
        r'|</?span( class="(plus|minus|hunk|image|box)")?>|</a>|<a href="https?://[^"<>]*" rel="[a-z ]*">'
    )
    assert [tag for tag in tags if not allowed.fullmatch(tag)] == []
