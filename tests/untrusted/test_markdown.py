"""Sanitized Markdown: harmless whatever the text contains, and otherwise unchanged."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hls_handler.untrusted.cleaning import ZERO_WIDTH_SPACE
from hls_handler.untrusted.markdown import (
    sanitize_blocks,
    sanitize_code_block,
    sanitize_fenced,
    sanitize_inline,
)
from hls_handler.untrusted.placeholders import Placeholders
from hls_handler.untrusted.untrusted_text import CommentFormatter, Sanitizer
from tests.untrusted.github_reading import MARKDOWN, dangers

ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
format_for_comment = CommentFormatter(sanitize_blocks)

ATTACKS = {
    "mention": "@victim",
    "mention behind a letter beyond ascii": "é@victim",
    "mention full width": "\uff20victim",
    "mention behind a backslash": "\\@victim",
    "mention by a half entity": "&amp;#64;victim",
    "mention behind a link": "[a](https://x.example)@victim",
    "mention with hidden characters": "@\u200bvictim @\u2060victim \u202e@victim",
    "mention between unpaired backticks": "a ` @victim",
    "mention between backticks of two lines": "a `\n` @victim `",
    "mention behind an escaped backtick": "\\` @victim `",
    "mention behind an escaped run": "\\``` @victim ``",
    "mention in a span cut by a cell": "| a | b |\n|---|---|\n| ` | @victim ` |",
    "mention in a span cut by a link": "[a](`) @victim `",
    "mention in a span cut by a title": '[a](/x "`") @victim `',
    "mention in a span cut by a definition": "[`]: `\n\n[a][`] @victim `",
    "mention in a span cut by an address": "<https://x.example/`> @victim `",
    "mention in a span cut by a bare address": "https://x.example/`a @victim `b",
    "mention in a fence that is indented code": "    ```\n@victim\n    ```",
    "mention in a fence that ends with its item": "- ```\n@victim\n  ```",
    "mention in a fence with backticks in its word": "``` a`b\n@victim\n```",
    "mention in a tilde fence in a quote": "> ~~~\n@victim",
    "mention behind a fence closed early": "````\n```\n````\n@victim",
    "mention in a fence that continues a paragraph": "a\n    ```\n    @victim\n\n    b\n    ```",
    "mention in a footnote": "a[^1]\n\n[^1]: @victim",
    "mention between dollars": "$`a`$ @victim $a`b$ `@victim`",
    "image": "![a](https://evil.example/x.png)",
    "image by reference": "![a][r]\n\n[r]: https://evil.example/x.png",
    "image behind exclamation marks": "!![a](https://evil.example/x.png) !!!![b](/x)",
    "image made of a credential": (
        "!ghp_aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5(https://evil.example/x.png)"
    ),
    "tag as a block": "<div>\n@victim\n</div>",
    "tag in a span cut by a cell": "| ` | <b> ` |\n|---|---|",
    "comment": "<!-- hls:issues -->",
    "comment in a fence": "```\n<!-- hls:issues -->\n```",
    "comment that is not closed": "<!-- the rest",
    "link to a script by entity": "[a](javascript&colon;alert(1)) [a](java&#115;cript:alert(1))",
    "link to a script in angles": "[a](<javascript:alert(1)>)",
    "link to a script on the next line": "[a](\njavascript:alert(1))",
    "link to a script by definition": "[a]\n\n[a]: javascript:alert(1)",
    "link to a script by definition on two lines": "[a]\n\n[a]:\njavascript:alert(1)",
    "link to a script by autolink": "<javascript:alert(1)>",
    "link to a file": "[a](file:///etc/passwd)",
    "closing": "fixes #12",
    "closing over two lines": "fixes\n#12",
    "closing in emphasis": "**fixes** #12, _resolved_ #12, fix **#12**",
    "closing with an escaped sign": "fixes \\#12",
    "closing with hidden characters": "fix\u200bes #12",
    "closing very far ahead": f"fixes{' ' * 20_000}#12",
    "duplicate": "Duplicate of #12",
    "command behind blanks": "   /retest",
    "command behind other blanks": "\u1680\u2003\u202f\u205f!deploy now\n\u200a!deploy",
    "command behind a blank and a joiner": "\u3000\u200d/merge\n\u2003\ufe0f\u2003/merge",
    "command behind a wide blank in a fence": "```\n\u3000/merge\n\xa0!deploy\n```",
    "command in a fence": "```\n/approve\n```",
    "command as indented code": "    /approve",
    "command by mention": "@dependabot merge",
    "command by mention in a fence": "```\n@dependabot merge\n```",
    "command by mention in a span": "`@mergifyio rebase` and `@my-bot go`",
    "command by phrase": "bors r+",
    "fence longer than ours": "``````````\ncode",
    "fence closed with something behind": "```\ncode\n``` x",
    "list and quote that are not closed": "> - a\n>   - b",
    "underline of the text before": "===\n---",
    "drawing": "```mermaid\ngraph TD; A-->B\n@victim",
    "tag characters": "".join(chr(0xE0000 + ord(c)) for c in "hidden"),
    "control characters": "a\x00b\x1b[31m\r/approve",
    "deep quotes": ">" * 500 + " @victim\n" + "> " * 300 + "```\n@victim",
}


AROUND_A_LINE = ("{}", "| x | {} |", "### {}", "- {}", "| a |\n|---|\n| {} |")


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_rule_15_an_attack_is_harmless(attack: str) -> None:
    for text in (attack, f"Before.\n{attack}\nafter", f"Before.\n\n{attack}\n\nafter"):
        assert dangers(format_for_comment(text, "0" * 16)) == []
    cell = sanitize_inline(attack)
    assert "\n" not in cell
    for around in AROUND_A_LINE:
        assert dangers(around.format(cell)) == []


PIECES = r"""
@victim ＠v ` `` ``` ```` ~~~ | |---| || \ \\ [ ] ( ) ]( ]: ][ ! ![ < > <b> <!-- --> &#64; & &lt; #12 closes /approve
!go $ _ * ** https://x.example/ www.a javascript: a " ' = : --- ^ ~ a@b.example mermaid <https://x.example> [a](/x) `a`
ghp_aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5
"""
FRAGMENTS = [
    *PIECES.split(),
    *("\n", "\n", "\n\n", "    ", "  ", "\t", " ", "\u200b"),
    *("> ", "- ", "1. ", "fixes ", "[a]: /x", "@dependabot merge"),
]


nasty = st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join)
nasty_letters = st.text(alphabet="`~@v|<>![]()\\\n >-1.#/ \t&;$_*:", max_size=40)


@settings(max_examples=50)
@given(nasty | nasty_letters, st.sampled_from([*AROUND_A_LINE, "**{}**", "> {}"]))
def test_rule_15_any_text_on_one_line_is_harmless(text: str, around: str) -> None:
    assert dangers(around.format(sanitize_inline(text))) == []


CONTEXTS = [
    "{{ x }}",
    "- a\n- {{ x }}\n- b",
    "- a\n  - {{ x }}",
    "10. {{ x }}",
    "> {{ x }}",
    "- > {{ x }}",
    "| a | b |\n|---|---|\n| {{ x }} | {{ y }} |",
    "**{{ x }}** _{{ y }}_",
    "## {{ x }}",
    "a\n    {{ x }}",
    "`own` {{ x }} `own`",
    "See `{{ x }}`.",
    "See `{{ x }}:{{ y }}`.",
    "``{{ x }}``",
    "| a | b |\n|---|---|\n| `{{ x }}` | {{ y }} |",
    "```python\n{{ x }}\n```",
    "~~~\n{{ x }}\n~~~",
    "- a\n  ```\n  {{ x }}\n  ```",
    "> ```\n> {{ x }}\n> ```",
    "{{ x }}{{ y }}",
    "{{ x }}\n{{ y }}",
    "{{ x }}[own](https://own.example)",
    "{{ x }}`own`",
    "[{{ x }}](https://own.example)",
    "[own]({{ x }})",
    "[own](https://own.example/{{ x }}/{{ y }})",
    "[own]{{ x }}",
    "Look!{{ x }}",
    "by @{{ x }}",
    "<{{ x }}>",
    "a &{{ x }}",
]
HTML_CONTEXTS = [
    "<details><summary>{{ x }}</summary>\n\n{{ y }}\n\n</details>",
    "<div>\n{{ x }}\n</div>",
    "a <sub>{{ x }}</sub> b",
    '<a title="{{ x }}">own</a>',
]


@cache
def template(source: str) -> Template:
    return ENVIRONMENT.from_string(source)


def comment(source: str, x: str, y: str, sanitize: Sanitizer = sanitize_blocks) -> str:
    placeholders = Placeholders(key=b"k", show=CommentFormatter(sanitize))
    context = {"x": placeholders.convert(x), "y": placeholders.convert(y)}
    return placeholders.substitute(template(source).render(context), template="t")


@pytest.mark.parametrize("sanitize", [sanitize_blocks, sanitize_fenced])
@pytest.mark.parametrize("source", CONTEXTS)
def test_rule_15_an_attack_is_harmless_in_every_context_of_a_template(
    source: str, sanitize: Sanitizer
) -> None:
    for number, (name, attack) in enumerate(ATTACKS.items()):
        other = attack if number % 2 else "`"
        assert dangers(comment(source, attack, other, sanitize)) == [], name


@settings(max_examples=150)
@given(source=st.sampled_from(CONTEXTS), x=nasty | nasty_letters, y=nasty)
def test_rule_15_any_text_is_harmless_in_every_context_of_a_template(
    source: str, x: str, y: str
) -> None:
    assert dangers(comment(source, x, y)) == []


@settings(max_examples=50)
@given(
    source=st.sampled_from(HTML_CONTEXTS),
    x=nasty | nasty_letters | st.sampled_from(sorted(ATTACKS.values())),
    y=nasty,
)
def test_rule_15_no_text_adds_html_to_that_of_a_template(source: str, x: str, y: str) -> None:
    own = [danger for danger in dangers(comment(source, "own", "own")) if danger.startswith("html")]
    found = dangers(comment(source, x, y))
    assert [danger for danger in found if not danger.startswith("html")] == []
    assert "".join(found).count("<") == "".join(own).count("<")
    assert "".join(found).count('"') == "".join(own).count('"')


# --- readability
# -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Plain words, **bold**, _emphasis_, ~~struck~~ and `code`.",
        "# Heading\n\nText\n\n***\n\n## Next",
        "- one\n- two\n  - nested\n    - deeper\n\n1. first\n2. second",
        "- [ ] open\n- [x] done",
        "| Name | Type |\n|------|:----:|\n| `a` | **b** |",
        "Use `str | None` or ``a ` b``.",
        (
            "[docs](https://example.com/a_(b)?c=d&e=f#g) and [local](docs/a.md) and [part](#usage) and"
            " [up](../a.md)"
        ),
        '[titled](https://example.com "A title (old)") <https://example.com/x>',
        "[mail](mailto:someone@example.com) or someone@example.com",
        "> quoted\n> text\n\nanswer",
        "Line one\\\nline two  \nline three",
        "See #12 and owner/repo#13; a < is rare, 5 > 4 &amp; &lt;tag&gt;.".replace(
            "a < is", "this is"
        ),
        "This fixes the bug. Closed by hand. It resolves to nothing.",
        "\\*not emphasis\\* and 2 \\* 3",
        "Setext\n======\n\nText",
        "It costs 5 to/from /usr/bin and a/b! Really!? Yes: [x] y",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u0915\u094d\u200d\u0937 \u4fdd\u5b58",
        "Cafe\u0301 \u2764\ufe0f\u200d\U0001f525 \u05e9\u05dc",
    ],
    ids=lambda text: text[:25],
)
def test_ordinary_markdown_is_unchanged(text: str) -> None:
    assert sanitize_blocks(text).strip("\n") == text


BLOCKS = [
    "```python\n@dataclass\nclass A:\n    x: int = 5  # <b> & ![a](b) fixes #1\n```",
    "Before\n```js\nconst a = `x ${y}`;\n```\nafter",
    "1. First:\n   ```bash\n   npm install @scope/name\n   ```\n2. Second",
    "- a\n  - b\n\n    ```\n    code\n      more\n    ```\n",
    "````md\n```py\nx\n```\n````",
    "> Try:\n> ```\n> code\n> ```\n> and so on",
]


@pytest.mark.parametrize("text", BLOCKS, ids=[text[:25] for text in BLOCKS])
def test_code_blocks_keep_their_code(text: str) -> None:
    def code(markdown: str) -> list[str]:
        return [token.content for token in MARKDOWN.parse(markdown) if token.type == "fence"]

    assert code(sanitize_blocks(text)) == code(text)
    assert len(code(text)) == 1


def test_rule_15_code_in_a_code_block_of_ours_is_redacted_by_known_forms() -> None:
    assert sanitize_code_block("    password = get()") == "    password = get()"
    assert (
        sanitize_code_block("token = 'ghp_" + "a1B2" * 9 + "'")
        == "token = '[redacted: github-token]'"
    )


@pytest.mark.parametrize(
    ("text", "posted"),
    {
        "@victim": f"@{ZERO_WIDTH_SPACE}victim",
        "![alt](https://x.example/a.png)": "[image: alt](https://x.example/a.png)",
        "a <b> c": "a &lt;b> c",
        "a & b &copy; &#64;": "a & b &copy; &amp;#64;",
        "https://medium.com/@user/post": "https://medium.com/%40user/post",
        "[a](javascript:x)": f"[a]\\(javascript{ZERO_WIDTH_SPACE}:x)",
        "[a]: https://x.example": "[a]\\: https://x.example",
        "fixes #12": f"fixes{ZERO_WIDTH_SPACE} #12",
        "Fixed the test. See #12.": f"Fixed{ZERO_WIDTH_SPACE} the test. See #12.",
        "#12 fixed the test": "#12 fixed the test",
        "https://x.example/fixes #12": "https://x.example/fixes \u200b#12",
        "https://x.example/fixes\n#12": "https://x.example/fixes \u200b\n#12",
        "https://x.example/fixes-it #12": "https://x.example/fixes-it #12",
        "\xa0/approve": "\xa0\\/approve",
        "```\n\xa0/approve\n```": f"\n```\n\xa0/{ZERO_WIDTH_SPACE}approve\n```\n",
        "/approve": "\\/approve",
        # GitHub parses definitions and bare URLs before code spans; the parser in these tests does not
        "[`]: ` @a": f"[\\`]\\: \\` @{ZERO_WIDTH_SPACE}a",
        "https://x.example/`a @b `c": f"https://x.example/\\`a @{ZERO_WIDTH_SPACE}b \\`c",
        "www.x.example`@a`": f"www.x.example\\`@{ZERO_WIDTH_SPACE}a\\`{ZERO_WIDTH_SPACE}",
        "bors r+": f"b{ZERO_WIDTH_SPACE}ors r{ZERO_WIDTH_SPACE}+",
        "5$ and $x$": "5&#36; and &#36;x&#36;",
        "a ` b": "a \\` b",
        "wow!": f"wow!{ZERO_WIDTH_SPACE}",
        "a ~~~ b": "a \\~\\~\\~ b",
        "password=hunter2": f"password=[redacted: password]{ZERO_WIDTH_SPACE}",
        "```mermaid\nx\n```": "\n```\nx\n```\n",
        "```\npassword = swordfish\n```": "\n```\npassword = [redacted: password]\n```\n",
        "```py\n/approve\n!pip\n/usr/bin\n```": (
            f"\n```py\n/{ZERO_WIDTH_SPACE}approve\n!{ZERO_WIDTH_SPACE}pip\n/usr/bin\n```\n"
        ),
        "```\n@app.route\n@renovate go\n```": (
            f"\n```\n@app.route\n@{ZERO_WIDTH_SPACE}renovate go\n```\n"
        ),
        "- ```\n  a\n  ```": "- &nbsp;\n  ```\n  a\n  ```\n",
        "> a\ntext": "\n> a\ntext",
        "": "",
    }.items(),
    ids=lambda text: text[:25],
)
def test_sanitizing_changes_little(text: str, posted: str) -> None:
    assert sanitize_blocks(text) == posted


@pytest.mark.parametrize(
    ("text", "cell"),
    {
        "a | b": "a \\| b",
        "a \\| b \\\\| c": "a \\| b \\\\\\| c",
        "`a | b`": f"`a \\| b`{ZERO_WIDTH_SPACE}",
        "two\n\nlines": "two lines",
        "# no heading": "\\# no heading",
        "``` no fence": "\\`\\`\\` no fence",
        "": "",
    }.items(),
    ids=lambda text: text[:25],
)
def test_a_cell_is_one_line_without_bars(text: str, cell: str) -> None:
    assert sanitize_inline(text) == cell
    rows = MARKDOWN.parse(f"| x | y |\n|---|---|\n| {cell} | last |")
    assert [token.content for token in rows if token.type == "inline"][-1] == "last"


@pytest.mark.parametrize(
    ("source", "text", "posted"),
    [
        ("> line 2: `{{ x }}`", "got `a`", "> line 2: `` got `a` ``"),
        ("`{{ x }}`", "``", "``` `` ```"),
        ("``{{ x }}``", "a ```", "````` a ``` `````"),
        ("[`{{ x }}`](https://a.example)", "a`b", "[`` a`b ``](https://a.example)"),
        ("`{{ x }}`", "plain", "`plain`"),
    ],
)
def test_backticks_stay_backticks_in_a_code_span_of_a_template(
    source: str, text: str, posted: str
) -> None:
    assert comment(source, text, "") == posted
    inline = [child for token in MARKDOWN.parse(posted) for child in token.children or ()]
    assert [child.content for child in inline if child.type == "code_inline"] == [text]


def test_backticks_are_replaced_where_a_text_is_a_part_of_a_code_span() -> None:
    assert comment("`{{ x }}:{{ y }}`", "a`b", "c") == "`aˋb:c`"
    assert comment("`` a `{{ x }}` ``", "a`b", "") == "`` a `aˋb` ``"


def test_truncation_of_a_text_in_a_comment_is_visible() -> None:
    assert (
        format_for_comment("x" * 30_005, "0" * 16)
        == "x" * 30_000 + f"… [5 characters cut]{ZERO_WIDTH_SPACE}"
    )


def test_rule_10_no_credential_is_posted() -> None:
    secret = "aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5"
    for text in (f"use ghp_{secret} or ghp_\u200b{secret}", f"ghp\\_{secret}", f"ghp&#95;{secret}"):
        for source in ("{{ x }}", "`{{ x }}`", "```\n{{ x }}\n```", "<b>{{ x }}</b>"):
            posted = comment(source, text, "")
            assert secret[:6] not in posted
            assert "redacted: github-token" in posted


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "`",
            "` `` ",
            "`a",
            "\\`",
            "> ",
            "- ",
            "```\n",
            "[a](",
            "](",
            "<",
            "&",
            "@",
            "fixes ",
            "~~~\n",
            "fixes *",
        ),
        *("#1 fix ", "\u3000/", "pwd=("),
    ],
)
def test_a_hostile_text_takes_linear_time(unit: str) -> None:
    """A quadratic step would not finish here."""
    hostile = unit * (50_000 // len(unit))
    assert sanitize_blocks(hostile)
    assert sanitize_inline(hostile)
