"""Conversion of Markdown to safe HTML, with the same appearance as on GitHub."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup

from hls_handler.review.patches import Side, parse_patch

HARMLESS = re.compile(r"</?(?:details|summary|sub|sup|kbd|br)\s*/?>", re.IGNORECASE)
"""Harmless tags that GitHub allows; only without attributes."""

COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
TASK = re.compile(r"^\[([ xX])\] ")


class _Renderer(RendererHTML):
    def html_block(self, tokens: Sequence[Token], idx: int, *_: Any) -> str:
        return _safe_html(tokens[idx].content)

    def html_inline(self, tokens: Sequence[Token], idx: int, *_: Any) -> str:
        return _safe_html(tokens[idx].content)

    def image(self, tokens: Sequence[Token], idx: int, *_: Any) -> str:
        source = html.escape(str(tokens[idx].attrs.get("src", "")))
        return f'<span class="image">image, not loaded here: {source}</span>'

    def fence(self, tokens: Sequence[Token], idx: int, *_: Any) -> str:
        token = tokens[idx]
        if token.info.strip() not in {"diff", "suggestion"}:
            return f"<pre><code>{html.escape(token.content)}</code></pre>\n"
        return f"<pre><code>{diff_lines(token.content)}</code></pre>\n"

    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        tokens[idx].attrSet("rel", "nofollow noreferrer noopener")
        return self.renderToken(tokens, idx, options, env)

    def list_item_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        text = next((token for token in tokens[idx + 1 : idx + 3] if token.type == "inline"), None)
        first = text.children[0] if text is not None and text.children else None
        task = TASK.match(first.content) if first is not None and first.type == "text" else None
        opened = self.renderToken(tokens, idx, options, env)
        if first is None or task is None:
            return opened
        first.content = first.content[task.end() :]
        box = "\u2611" if task[1] in "xX" else "\u2610"
        return f'{opened}<span class="box">{box}</span> '


def rendered(body: str) -> str:
    """Convert Markdown to safe HTML."""
    parser = MarkdownIt("commonmark", {"html": True}, renderer_cls=_Renderer).enable(["table", "strikethrough"])
    return str(parser.render(body))


def _safe_html(raw: str) -> str:
    shown = COMMENT.sub("", raw)
    tags = HARMLESS.findall(shown)
    parts = [html.escape(part) for part in HARMLESS.split(shown)]
    return "".join(part + tag for part, tag in zip(parts, [*(tag.lower() for tag in tags), ""], strict=True))


def diff_lines(text: str) -> str:
    """Return a diff as HTML, in which each line has a class such as "plus" for its colour."""
    lines = text.removesuffix("\n").split("\n")
    return "\n".join(f"<span{_diff_class(line)}>{html.escape(line)}</span>" for line in lines)


def _diff_class(line: str) -> str:
    kinds = {"+": ' class="plus"', "-": ' class="minus"', "@": ' class="hunk"'}
    return kinds.get(line[:1], "")


def numbered_lines(patch: str, side: Side) -> Markup:
    """Return a patch as HTML with line numbers. Lines of one side have anchors such as "L7", as at GitHub."""
    shown = []
    for hunk in parse_patch(patch).hunks:
        shown.append(f'<span class="hunk">{html.escape(hunk.header)}</span>')
        for line in hunk.lines:
            anchor = f' id="L{line.number}"' if line.side == side else ""
            style = _diff_class(line.mark)
            shown.append(f"<span{style}{anchor}>{line.number:>4} {line.mark}{html.escape(line.text)}</span>")
    return Markup("<pre><code>{}</code></pre>").format(Markup("\n".join(shown))) if shown else Markup("")
