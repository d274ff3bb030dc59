"""Sanitizes untrusted Markdown: its mentions, closing keywords, images and bot commands have no
effect in comments.

GitHub's filters read the *rendered* text, in which `&#64;` and `\\@` are a plain `@` again. Bots
read the *raw* text, in which a code span does not protect. Therefore U+200B is inserted after the
`@` of a mention and after a closing keyword. This character has no width and is no white space in
Ruby, Python and JavaScript: "fixes", U+200B, " #1" does not match `fixes\\s+#`. It is no letter:
"@", U+200B, "user" does not match `@[a-z0-9]`. Dependabot and Renovate use U+200B, too. People who
copy code would copy U+200B, so in code it is inserted only where a bot would react.

GitHub pairs backticks over a whole paragraph, and differently in table cells, link targets and bare
URLs. Here a code span must open and close on the same line, outside of cells, targets and URLs.
Every other backtick is escaped, so that GitHub finds the same pairs.

Blocks are rewritten so that GitHub parses them as we did. A code block gets a fence longer than any
run of backticks in the block. The fence is indented by at most three spaces, and each line of code
by at least as many, so that GitHub recognises the block in any list or quote. Quotes start at the
left margin, with a marker on every line.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from hls_handler.untrusted.cleaning import (
    ZERO_WIDTH_SPACE,
    CodeText,
    clean,
    clean_and_redact,
    truncate,
)
from hls_handler.untrusted.redaction import redact, redact_code
from hls_handler.untrusted.references import SHORTHAND, References

LONGEST_TEXT = 30_000  # characters in a comment; GitHub's limit for all of it is 65,536

FENCE = re.compile(
    r"(?P<indent>[ \t]*+)(?P<marks>(?:(?:[-*+]|[0-9]{1,9}[.)])[ \t]+)*)"
    r"(?P<fence>`{3,}+(?=[^`]*$)|~{3,}+)(?P<language>[ \t]*[\w+#.-]*)"
)
QUOTE = re.compile(r" {0,3}> ?")
MAX_QUOTE_DEPTH = 5

RENDERED_LANGUAGES = frozenset({"mermaid", "math", "geojson", "topojson", "stl", "suggestion"})
"""Languages of code blocks that GitHub renders as something other than code."""

UNSAFE_SCHEME = re.compile(r"(?!https?:|mailto:)[a-z][a-z0-9+.-]*:", re.IGNORECASE)

JOINING_ENDS = ("!", "]", "&", "@", "\uff20", "`", "\\")
"""Last characters of a text that could form an image, link, entity, mention or code with the text
that follows it.
"""

BLOCK_MARKER = re.compile(r"(?:[#>+*=-]|[0-9]{1,9}(?=[.)]))")
FENCE_IN_FENCE = re.compile(r"^([ \t>]*[`~])(?=[`~]{2})", re.MULTILINE)


def sanitize_blocks(text: str, references: References | None = None) -> str:
    """Sanitize Markdown of several lines. If it begins or ends with a quote or code block, add a
    newline there.

    With `references`, a reference that the conversation does not contain leaves no back-link.
    """
    cleaned = _clean_text(truncate(text, LONGEST_TEXT))
    lines = _sanitize_blocks(cleaned.split("\n"), references, depth=0)
    if FENCE.match(lines[0]) or QUOTE.match(lines[0]):
        lines.insert(0, "")
    if FENCE.match(lines[-1]) or QUOTE.match(lines[-1]):
        lines.append("")
    return _seal("\n".join(lines))


def sanitize_inline(text: str, references: References | None = None) -> str:
    """Sanitize a text as one line of Markdown, for table cells, headings and list items; see
    `sanitize_blocks`.
    """
    line = _sanitize_line(_one_line(text), references)
    line = re.sub(r"\\.|\|", lambda match: "\\|" if match[0] == "|" else match[0], line)
    mark = BLOCK_MARKER.match(line)
    if mark is not None:
        end = mark.end() if mark[0].isdigit() else 0
        line = f"{line[:end]}\\{line[end:]}"
    return _seal(line)


def sanitize_code_span(text: str) -> str:
    """Sanitize a text for a part of a code span: one line without backticks, "|" escaped."""
    return _code_line(text.replace("`", "ˋ"))


def format_code_span(text: str) -> str:
    """Return a sanitized text as a whole code span. Its delimiters are longer than each run of
    backticks in the text, as CommonMark demands.
    """
    line = _code_line(text)
    delimiter = _find_free_backticks(line)
    if len(delimiter) == 1:
        return f"`{line}`"
    return f"{delimiter} {line} {delimiter}"


def _code_line(text: str) -> str:
    line = _one_line(text).replace("|", "\\|")
    return _sanitize_code(line) or " "  # an empty code span is not code


def sanitize_code_block(text: str) -> str:
    """Sanitize code for a code block, so that no line closes the fence. It is redacted as code, not
    as prose.
    """
    lines = clean_and_redact(CodeText(truncate(text, LONGEST_TEXT))).split("\n")
    code = "\n".join(map(_sanitize_code, lines))
    return FENCE_IN_FENCE.sub(rf"\g<1>{ZERO_WIDTH_SPACE}", code)


def sanitize_fenced(text: str, references: References | None = None) -> str:  # noqa: ARG001
    """Return a whole text, of any length, as a code block in a fence that no line of it closes. It
    begins and ends with a newline, so that the fence is one in each context.
    """
    lines = clean_and_redact(CodeText(text)).split("\n")
    code = "\n".join(map(_sanitize_code, lines))
    fence = _make_fence(code)
    return f"\n{fence}text\n{code}\n{fence}\n"


def _make_fence(code: str) -> str:
    return _find_free_backticks(code).ljust(3, "`")


def _find_free_backticks(text: str) -> str:
    """Return the shortest run of backticks that is longer than each one in the text."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    return "`" * (longest + 1)


def sanitize_link_target(text: str, references: References | None = None) -> str:
    """Sanitize a text for a link target: it cannot end the target, and its scheme is safe. See
    `sanitize_blocks`.
    """
    url = quote(_one_line(text).replace(" ", ""), safe="/:?#=&%+,;~").replace("&", "&amp;")
    if references is not None:
        url = references.redirect(url)
    if UNSAFE_SCHEME.match(url):
        return url.replace(":", "%3A")
    return url


def sanitize_html(text: str, references: References | None = None) -> str:
    """Return the text as one line that is safe between HTML tags, such as in `<summary>`. See
    `sanitize_blocks`.
    """
    return _escape_markup(_one_line(text), references)


def _one_line(text: str) -> str:
    return " ".join(_clean_text(truncate(text, LONGEST_TEXT)).split())


def _clean_text(text: str) -> str:
    # as code, because HTML comments must stay: the callers escape them
    cleaned = clean(CodeText(text))
    if isinstance(text, CodeText):
        return redact_code(cleaned)
    return redact(cleaned)


def _seal(text: str) -> str:
    if text.endswith(JOINING_ENDS):
        return f"{text}{ZERO_WIDTH_SPACE}"
    return text


def _sanitize_blocks(
    lines: Sequence[str], references: References | None, *, depth: int
) -> list[str]:
    sanitized: list[str] = []
    index = 0
    while index < len(lines):
        fence = FENCE.match(lines[index])
        if fence is not None:
            marks = fence["fence"]
            closing = re.compile(rf"[ \t]*+{re.escape(marks)}{re.escape(marks[0])}*+[ \t]*")
            end = next(
                (i for i in range(index + 1, len(lines)) if closing.fullmatch(lines[i])), len(lines)
            )
            sanitized += _sanitize_code_block(fence, lines[index + 1 : end])
            index = end + 1
        elif depth < MAX_QUOTE_DEPTH and QUOTE.match(lines[index]):
            end = next(
                (i for i in range(index, len(lines)) if not QUOTE.match(lines[i])), len(lines)
            )
            quoted = [QUOTE.sub("", line, count=1) for line in lines[index:end]]
            inside = _sanitize_blocks(quoted, references, depth=depth + 1)
            sanitized += [f"> {line}" for line in inside]
            index = end
        else:
            sanitized.append(_sanitize_line(lines[index], references))
            index += 1
    return sanitized


def _sanitize_code_block(opening: re.Match[str], code: Sequence[str]) -> list[str]:
    before = f"{opening['indent']}{opening['marks']}"
    columns = len(before.expandtabs(4))
    indent = " " * min(columns, 3)
    fence = indent + _make_fence("\n".join(code))
    language = opening["language"].strip()
    if language.lower() in RENDERED_LANGUAGES:
        language = ""
    inside = [_sanitize_code(f"{indent}{_dedent(line, columns)}".rstrip(" ")) for line in code]
    block = [f"{fence}{language[:40]}", *inside, fence]
    if opening["marks"]:
        # A list marker without text would make the line before it a heading.
        block.insert(0, f"{before}&nbsp;")
    return block


def _dedent(line: str, columns: int) -> str:
    text = line.lstrip(" \t")
    width = len(line[: len(line) - len(text)].expandtabs(4))
    return " " * max(width - columns, 0) + text


KEPT_ENTITY = re.compile(
    "&(lt|gt|amp|quot|apos|nbsp|copy|reg|trade|hellip|mdash|ndash|times|middot);"
)
"""HTML entities that are kept (`&copy;`), because their characters have no function in Markdown or
for bots.
"""

NO_ENTITY = r"&(?!\#?\w{1,32};)"
URL_CHARACTERS = r"[\w.~%/+,;:=?\#@-]"
URL = rf"(?:{URL_CHARACTERS}*+(?:{NO_ENTITY}{URL_CHARACTERS}*+)*)"
RELATIVE = r"[\w.~%/+,;=?\#-]"
WORD_START = r"(?<![A-Za-z0-9])"
WORD_END = r"(?![A-Za-z0-9])"
CLOSING_KEYWORD = rf"{WORD_START}(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?|duplicate\s+of)"

BOT_PHRASE = rf"""{WORD_START}(?:
    (?=(?:re-?)?test\W+this\W+please | ok\W+to\W+test | add\W+to\W+(?:white|allow)list
      | bors\W+(?:r[+=]|try|merge|delegate|ping|retry))\w
    | r(?=\+\s*$))"""
"""Matches the first letter of a bot command that needs no "/" or "@": "retest this please",
"r+".
"""

SPECIAL = re.compile(
    rf"""
      (?P<reference>{SHORTHAND})
    | (?P<escaped_ticks>\\`+)
    | (?P<escaped>\\[!-/:-@\[-_{{-~])
    | (?P<ticks>`+)
    | (?P<entity>&\#?\w{{1,32}};)
    | (?P<autolink><https?://(?:[\w.~%/+,;:=?\#-]|{NO_ENTITY})+>)
    | (?P<angle><)
    | (?P<image>!{{1,20}}\[)
    | (?P<link>\]\([ \t]{{0,9}}
          (?:https?://{URL}(?:\({RELATIVE}*\){URL})?|mailto:[\w.+-]+@[\w.-]+|{RELATIVE}*+)
          (?:[ \t]{{1,9}}"[\w\s.,:;()/+-]*")?[ \t]{{0,9}}\))
    | (?P<target>\]\()
    | (?P<definition>\]:)
    | (?P<address>(?:https?://|www\.){URL})
    | (?P<email>(?<![\w.+@\#/-])(?:[A-Za-z0-9+-]|\.(?=[A-Za-z0-9])){{1,64}}(?<=[A-Za-z0-9])
          @[A-Za-z0-9-]{{1,63}}(?:\.[A-Za-z0-9-]{{1,63}}){{1,5}}(?![\w@-]))
    | (?P<mention>[@\uff20](?=\S))
    | (?P<dollar>\$)
    | (?P<tildes>~{{3,}}+)
    | (?P<scheme>{WORD_START}(?:javascript|vbscript|xmpp|data(?=:[\w/+-]{{1,60}}[;,]))(?=:))
    | (?P<closing>{CLOSING_KEYWORD}{WORD_END})
    | (?P<phrase>{BOT_PHRASE})
    """,
    re.VERBOSE | re.IGNORECASE,
)

_URL_GROUPS = ("autolink", "address", "email")
_REFERENCE_GROUPS = ("reference", "link", "autolink", "address")
LINK_TEXT = re.compile(r"\[[^\[\]]*+\](?=\()")
REFERENCE = re.compile(r"#\d|GH-\d|/(?:issues|pull|discussions)/\d", re.IGNORECASE)
# GitHub reads it in a URL, too
KEYWORD_AT_END = re.compile(rf"{CLOSING_KEYWORD}:?>?$", re.IGNORECASE)
REST_WITHOUT_WORDS = re.compile(r"\W*+$")
COMMAND = re.compile(r"(?P<indent>\s*+)(?P<sign>[/!])(?=[A-Za-z])")
BARE_URL = re.compile(r"(?:://|www\.)\S*+", re.IGNORECASE)  # a bare URL includes backticks
PUNCTUATION = re.compile(r"[!-&*+;-@\[-`{-~]")
SAFE_ACROSS_CELLS = re.compile(r"[\w\s|.,:'\"()=*+-]*")

BOTS = (
    r"dependabot|renovate|bors|homu|rustbot|mergify(?:io)?|claude|codex|copilot|coderabbitai"
    r"|gemini-code-assist|jenkins|all-?contributors|k8s-ci-robot|kodiakhq|[a-z0-9-]{1,30}bot"
)
CODE_MENTION = re.compile(rf"@(?=(?:{BOTS})\b)", re.IGNORECASE)
CODE_BOT_PHRASE = re.compile(BOT_PHRASE, re.VERBOSE | re.IGNORECASE)
CODE_COMMAND = re.compile(r"^(\s*+[/!])(?=[A-Za-z][\w-]*+(?:\s|$))")


def _sanitize_line(line: str, references: References | None) -> str:
    """Return a line outside of code blocks with a replacement for each match of `SPECIAL`."""
    parts: list[str] = []
    position = 0
    command = COMMAND.match(line)
    if command is not None:
        parts.append(f"{command['indent']}\\{command['sign']}")
        position = command.end()
    code_spans = _find_code_spans(line)
    last_reference = _find_last_reference(line)
    links = [link.span() for link in LINK_TEXT.finditer(line)]
    while (match := SPECIAL.search(line, position)) is not None:
        parts.append(line[position : match.start()])
        position = match.end()
        if match.lastgroup == "ticks":
            end = code_spans.get(match.start())
            if end is None:
                parts.append("\\`" * len(match[0]))
            else:
                parts.append(_sanitize_code(line[match.start() : end]))
                position = end
            continue
        if match.lastgroup == "closing":
            parts.append(match[0])
            if _closes_issue(match, last_reference):
                parts.append(ZERO_WIDTH_SPACE)
            continue
        text = match[0]
        if references is not None and match.lastgroup in _REFERENCE_GROUPS:
            in_link = _is_inside(match.start(), links)
            text = references.rewrite(match, in_link=in_link) or text
        parts.append(_REPLACEMENTS[match.lastgroup or ""](text))
        is_url = match.lastgroup in _URL_GROUPS
        if is_url and KEYWORD_AT_END.search(match[0]) and _closes_issue(match, last_reference):
            space = len(line) - position - len(line[position:].lstrip())
            # not inside the URL
            parts.append(f"{line[position : position + space] or ' '}{ZERO_WIDTH_SPACE}")
            position += space
    return "".join([*parts, line[position:]])


def _is_inside(position: int, spans: Sequence[tuple[int, int]]) -> bool:
    """Return whether one of the sorted spans contains the position, not as its first one."""
    index = bisect(spans, (position,)) - 1
    return index >= 0 and position < spans[index][1]


def _sanitize_code(line: str) -> str:
    line = CODE_COMMAND.sub(rf"\g<1>{ZERO_WIDTH_SPACE}", line)
    line = CODE_BOT_PHRASE.sub(rf"\g<0>{ZERO_WIDTH_SPACE}", line)
    return CODE_MENTION.sub(f"@{ZERO_WIDTH_SPACE}", line).replace("<!--", f"<!{ZERO_WIDTH_SPACE}--")


def _escape_markup(line: str, references: References | None) -> str:
    parts: list[str] = []
    position = 0
    command = COMMAND.match(line)
    if command is not None:
        parts.append(f"&#{ord(command['sign'])};")
        position = command.end()
    last_reference = _find_last_reference(line)
    for match in SPECIAL.finditer(line, position):
        text = match[0].replace("@", f"@{ZERO_WIDTH_SPACE}")
        if references is not None and match.lastgroup == "reference":
            text = references.break_shorthand(match)
        parts += [_to_entities(line[position : match.start()]), _to_entities(text)]
        closes_issue = match.lastgroup == "closing" and _closes_issue(match, last_reference)
        if closes_issue or match.lastgroup in {"mention", "scheme", "phrase"}:
            parts.append(ZERO_WIDTH_SPACE)
        position = match.end()
    return "".join([*parts, _to_entities(line[position:])])


def _to_entities(text: str) -> str:
    # The result is plain text as Markdown, too: GitHub may parse Markdown between HTML tags.
    return PUNCTUATION.sub(lambda sign: f"&#{ord(sign[0])};", text)


def _find_last_reference(line: str) -> int:
    return max((match.start() for match in REFERENCE.finditer(line)), default=-1)


def _closes_issue(keyword: re.Match[str], last_reference: int) -> bool:
    # If no word follows on this line, the next line may begin with a reference.
    return (
        keyword.start() < last_reference
        or REST_WITHOUT_WORDS.match(keyword.string, keyword.end()) is not None
    )


def _find_code_spans(line: str) -> Mapping[int, int]:
    """Map the start of each code span to its end: {0: 5} for "`abc`". It ends with the next
    backticks of the same number, and does not begin in a bare URL.
    """
    urls = [url.span() for url in BARE_URL.finditer(line)]
    spans: dict[int, int] = {}
    next_of_length: dict[int, int] = {}
    for run in reversed(list(re.finditer("`+", line))):
        length = len(run[0])
        end = next_of_length.get(length)
        next_of_length[length] = run.end()
        if end is None or _is_inside(run.start(), urls):
            continue
        if _is_code_span(line[run.end() : end - length]):
            spans[run.start()] = end
    return spans


def _is_code_span(content: str) -> bool:
    # GitHub could read "]:" as a link definition, and "|" as the border of table cells with active
    # Markdown.
    return "]:" not in content and (
        "|" not in content or SAFE_ACROSS_CELLS.fullmatch(content) is not None
    )


def _escape_url(url: str) -> str:
    # a program that ends the link at an "@" would read the rest as a mention
    return url.replace("@", "%40")


def _show_entity(entity: str) -> str:
    if KEPT_ENTITY.fullmatch(entity):
        return entity
    return f"&amp;{entity[1:]}"


def _show_link_end(tail: str) -> str:
    if tail.lstrip("]( \t").lower().startswith("mailto:"):
        return tail
    return _escape_url(tail)


ESCAPED = {"\\<": "&lt;", "\\&": "&amp;", "\\@": f"@{ZERO_WIDTH_SPACE}", "\\$": "&#36;"}

_REPLACEMENTS: Mapping[str, Callable[[str], str]] = {
    "reference": str,
    "escaped_ticks": lambda run: "\\`" * (len(run) - 1),
    "escaped": lambda pair: ESCAPED.get(pair, pair),
    "entity": _show_entity,
    "autolink": str,
    "angle": lambda _: "&lt;",
    "image": lambda marks: "\\!" * (len(marks) - 2) + "[image: ",
    "link": _show_link_end,
    "target": lambda _: "]\\(",
    "definition": lambda _: "]\\:",
    "address": _escape_url,
    "email": str,
    "mention": lambda sign: sign + ZERO_WIDTH_SPACE,
    "dollar": lambda _: "&#36;",
    "tildes": lambda run: "\\~" * len(run),
    "scheme": lambda scheme: scheme + ZERO_WIDTH_SPACE,
    "phrase": lambda letter: letter + ZERO_WIDTH_SPACE,
}
