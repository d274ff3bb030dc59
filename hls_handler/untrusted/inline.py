"""Sanitizing of one line of untrusted Markdown: it looks the same, but triggers nothing.

Comments are interpreted in two ways: GitHub's filters read the *rendered* text, in which `&#64;` and `\\@` are a plain
`@` again, and bots read the *raw* text, in which a code span does not protect. A character between the sign and the
name prevents both. U+200B has no width, is not white space in Ruby, Python and JavaScript (so "fixes", U+200B, " #1"
does not match `fixes\\s+#`), and is not a letter (so "@", U+200B, "user" does not match `@[a-z0-9]`); Dependabot and
Renovate use it, too. In code it would be copied along, so there it is inserted only where a bot would react.

GitHub pairs backticks over a whole paragraph, and differently in table cells, link targets and bare URLs. Here a code
span must open and close on the same line, outside of those; every other backtick is escaped, so that GitHub finds the
same pairs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

BREAK = "\u200b"

ENTITIES = frozenset(
    ("lt", "gt", "amp", "quot", "apos", "nbsp", "copy", "reg", "trade", "hellip", "mdash", "ndash", "times", "middot")
)
"""Entities that are kept, because their characters have no function in Markdown or for bots."""

NO_ENTITY = r"&(?!\#?\w{1,32};)"
URL_CHARACTERS = r"[\w.~%/+,;:=?\#@-]"
URL = rf"(?:{URL_CHARACTERS}*+(?:{NO_ENTITY}{URL_CHARACTERS}*+)*)"
RELATIVE = r"[\w.~%/+,;=?\#-]"
WORD_START, WORD_END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"

BOT_PHRASE = rf"""{WORD_START}(?:
    (?=(?:re-?)?test\W+this\W+please | ok\W+to\W+test | add\W+to\W+(?:white|allow)list
      | bors\W+(?:r[+=]|try|merge|delegate|ping|retry))\w
    | r(?=\+\s*$))"""
"""First letter of commands that some bots accept without a sign in front of them."""

SPECIAL = re.compile(
    rf"""
      (?P<escaped_ticks>\\`+)
    | (?P<escaped>\\[!-/:-@\[-_{{-~])
    | (?P<ticks>`+)
    | (?P<entity>&\#?\w{{1,32}};)
    | (?P<autolink><https?://(?:[\w.~%/+,;:=?\#-]|{NO_ENTITY})+>)
    | (?P<angle><)
    | (?P<image>!{{1,20}}\[)
    | (?P<link>\]\([ \t]{{0,9}}(?:https?://{URL}(?:\({RELATIVE}*\){URL})?|mailto:[\w.+-]+@[\w.-]+|{RELATIVE}*+)
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
    | (?P<closing>{WORD_START}(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?|duplicate\s+of){WORD_END})
    | (?P<phrase>{BOT_PHRASE})
    """,
    re.VERBOSE | re.IGNORECASE,
)

REFERENCE = re.compile(r"#\d|GH-\d|/(?:issues|pull|discussions)/\d", re.IGNORECASE)
REST_WITHOUT_WORDS = re.compile(r"\W*+$")
COMMAND = re.compile(r"(?P<indent>\s*+)(?P<sign>[/!])(?=[A-Za-z])")
BARE_URL = re.compile(r"(?:://|www\.)\S*+", re.IGNORECASE)  # a bare URL includes backticks
PUNCTUATION = re.compile(r"[!-&*+;-@\[-`{-~]")
SAFE_ACROSS_CELLS = re.compile(r"[\w\s|.,:'\"()=*+-]*")

BOTS = (
    r"dependabot|renovate|bors|homu|rustbot|mergify(?:io)?|claude|codex|copilot|coderabbitai|gemini-code-assist|jenkins"
    r"|all-?contributors|k8s-ci-robot|kodiakhq|[a-z0-9-]{1,30}bot"
)
CODE_MENTION = re.compile(rf"@(?=(?:{BOTS})\b)", re.IGNORECASE)
CODE_BOT_PHRASE = re.compile(BOT_PHRASE, re.VERBOSE | re.IGNORECASE)
CODE_COMMAND = re.compile(r"^(\s*+[/!])(?=[A-Za-z][\w-]*+(?:\s|$))")


def sanitize_line(line: str) -> str:
    """Sanitize one line, without its newline, that is not part of a code block."""
    command = COMMAND.match(line)
    parts = [f"{command['indent']}\\{command['sign']}"] if command else []
    at = command.end() if command else 0
    closing_backticks = _find_closing_backticks(line)
    last_reference = _find_last_reference(line)
    url_end = 0
    urls = BARE_URL.finditer(line)
    url = next(urls, None)
    while (found := SPECIAL.search(line, at)) is not None:
        parts.append(line[at : found.start()])
        at = found.end()
        if found.lastgroup == "closing":
            parts.append(f"{found[0]}{BREAK if _closes_issue(found, last_reference) else ''}")
            continue
        if found.lastgroup != "ticks":
            parts.append(_REPLACEMENTS[found.lastgroup or ""](found[0]))
            continue
        while url is not None and url.start() < found.start():
            url_end, url = url.end(), next(urls, None)
        end = closing_backticks.get(found.start())
        if end is not None and found.start() >= url_end and _is_code_span(line[at : end - len(found[0])]):
            parts.append(sanitize_code(line[found.start() : end]))
            at = end
        else:
            parts.append("\\`" * len(found[0]))
    return "".join([*parts, line[at:]])


def sanitize_code(line: str) -> str:
    """Sanitize a line of code, or a code span with its backticks: change only bot commands and comment markers."""
    line = CODE_COMMAND.sub(rf"\g<1>{BREAK}", line)
    line = CODE_BOT_PHRASE.sub(rf"\g<0>{BREAK}", line)
    return CODE_MENTION.sub(f"@{BREAK}", line).replace("<!--", f"<!{BREAK}--")


def escape_markup(line: str) -> str:
    """Escape one line so that it is plain text both as Markdown and inside HTML."""
    command = COMMAND.match(line)
    parts = [f"&#{ord(command['sign'])};"] if command else []
    at = command.end() if command else 0
    last_reference = _find_last_reference(line)
    for found in SPECIAL.finditer(line, at):
        is_active = found.lastgroup in {"mention", "scheme", "phrase"}
        is_active = is_active or (found.lastgroup == "closing" and _closes_issue(found, last_reference))
        ending = BREAK if is_active else ""
        parts += [_to_entities(line[at : found.start()]), _to_entities(found[0].replace("@", f"@{BREAK}")), ending]
        at = found.end()
    return "".join([*parts, _to_entities(line[at:])])


def _to_entities(text: str) -> str:
    return PUNCTUATION.sub(lambda sign: f"&#{ord(sign[0])};", text)


def _find_last_reference(line: str) -> int:
    """Start of the last reference to an issue; -1 if there is none."""
    return max((found.start() for found in REFERENCE.finditer(line)), default=-1)


def _closes_issue(keyword: re.Match[str], last_reference: int) -> bool:
    """Return True if a reference follows the keyword anywhere on the line, or may follow on the next line."""
    return keyword.start() < last_reference or REST_WITHOUT_WORDS.match(keyword.string, keyword.end()) is not None


def _find_closing_backticks(line: str) -> Mapping[int, int]:
    """Start of each run of backticks to the end of the next run of the same length, if there is one."""
    ends: dict[int, int] = {}
    next_of_length: dict[int, int] = {}
    for run in reversed(list(re.finditer("`+", line))):
        length = len(run[0])
        if length in next_of_length:
            ends[run.start()] = next_of_length[length]
        next_of_length[length] = run.end()
    return ends


def _is_code_span(content: str) -> bool:
    """Return True if GitHub also reads the content as code: no table cell or link definition splits it."""
    return "]:" not in content and ("|" not in content or SAFE_ACROSS_CELLS.fullmatch(content) is not None)


def _sanitize_escape(pair: str) -> str:
    return {"\\<": "&lt;", "\\&": "&amp;", "\\@": f"@{BREAK}", "\\$": "&#36;"}.get(pair, pair)


def _sanitize_entity(entity: str) -> str:
    return entity if entity[1:-1] in ENTITIES else f"&amp;{entity[1:]}"


def _escape_url(url: str) -> str:
    """Escape `@`, which would become a mention if something truncated the URL."""
    return url.replace("@", "%40")


def _sanitize_link(tail: str) -> str:
    return tail if tail.lstrip("]( \t").lower().startswith("mailto:") else _escape_url(tail)


_REPLACEMENTS: Mapping[str, Callable[[str], str]] = {
    "escaped_ticks": lambda run: "\\`" * (len(run) - 1),
    "escaped": _sanitize_escape,
    "entity": _sanitize_entity,
    "autolink": str,
    "angle": lambda _: "&lt;",
    "image": lambda marks: "\\!" * (len(marks) - 2) + "[image: ",
    "link": _sanitize_link,
    "target": lambda _: "]\\(",
    "definition": lambda _: "]\\:",
    "address": _escape_url,
    "email": str,
    "mention": lambda sign: sign + BREAK,
    "dollar": lambda _: "&#36;",
    "tildes": lambda run: "\\~" * len(run),
    "scheme": lambda scheme: scheme + BREAK,
    "phrase": lambda letter: letter + BREAK,
}
