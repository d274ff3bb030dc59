"""A line of a stranger's Markdown made harmless: it shows what it showed, and does nothing.

GitHub works on our comments in two ways, and both must find nothing: its own filters read the *rendered* text, in
which `&#64;` and `\\@` are a plain `@` again, and bots read the *raw* text, in which a code span is no protection. What
stands against both is a character between the sign and the name. U+200B has no width, is no white space to Ruby,
Python and JavaScript (so "fixes", U+200B, " #1" has no `fixes\\s+#`), and is no letter (so "@", U+200B, "user" is no
`@[a-z0-9]`); Dependabot and Renovate do the same. Inside of code it would be copied along, so there it only stands
where a bot acts.

GitHub pairs backticks over a whole paragraph, and differently in table cells, link targets and bare addresses. Here a
code span is one that opens and closes on its line, away from those; every other backtick is escaped, so that GitHub
must come to the same pairs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

BREAK = "\u200b"

ENTITIES = frozenset(
    ("lt", "gt", "amp", "quot", "apos", "nbsp", "copy", "reg", "trade", "hellip", "mdash", "ndash", "times", "middot")
)
"""Entities that may stay: what they stand for has no meaning to anybody."""

NO_ENTITY = r"&(?!\#?\w{1,32};)"
ADDRESS_SIGNS = r"[\w.~%/+,;:=?\#@-]"
ADDRESS = rf"(?:{ADDRESS_SIGNS}*+(?:{NO_ENTITY}{ADDRESS_SIGNS}*+)*)"
RELATIVE = r"[\w.~%/+,;=?\#-]"
WORD_START, WORD_END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"

PHRASE = rf"""{WORD_START}(?:
    (?=(?:re-?)?test\W+this\W+please | ok\W+to\W+test | add\W+to\W+(?:white|allow)list
      | bors\W+(?:r[+=]|try|merge|delegate|ping|retry))\w
    | r(?=\+\s*$))"""
"""The first letter of what some bots obey without a sign in front of it."""

SPECIAL = re.compile(
    rf"""
      (?P<escaped_ticks>\\`+)
    | (?P<escaped>\\[!-/:-@\[-_{{-~])
    | (?P<ticks>`+)
    | (?P<entity>&\#?\w{{1,32}};)
    | (?P<autolink><https?://(?:[\w.~%/+,;:=?\#-]|{NO_ENTITY})+>)
    | (?P<angle><)
    | (?P<image>!{{1,20}}\[)
    | (?P<link>\]\([ \t]{{0,9}}(?:https?://{ADDRESS}(?:\({RELATIVE}*\){ADDRESS})?|mailto:[\w.+-]+@[\w.-]+|{RELATIVE}*+)
          (?:[ \t]{{1,9}}"[\w\s.,:;()/+-]*")?[ \t]{{0,9}}\))
    | (?P<target>\]\()
    | (?P<definition>\]:)
    | (?P<address>(?:https?://|www\.){ADDRESS})
    | (?P<email>(?<![\w.+@\#/-])(?:[A-Za-z0-9+-]|\.(?=[A-Za-z0-9])){{1,64}}(?<=[A-Za-z0-9])
          @[A-Za-z0-9-]{{1,63}}(?:\.[A-Za-z0-9-]{{1,63}}){{1,5}}(?![\w@-]))
    | (?P<mention>[@\uff20](?=\S))
    | (?P<dollar>\$)
    | (?P<tildes>~{{3,}}+)
    | (?P<scheme>{WORD_START}(?:javascript|vbscript|xmpp|data(?=:[\w/+-]{{1,60}}[;,]))(?=:))
    | (?P<closing>{WORD_START}(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?|duplicate\s+of){WORD_END})
    | (?P<phrase>{PHRASE})
    """,
    re.VERBOSE | re.IGNORECASE,
)

REFERENCE = re.compile(r"#\d|GH-\d|/(?:issues|pull|discussions)/\d", re.IGNORECASE)
WORDLESS_REST = re.compile(r"\W*+$")
COMMAND = re.compile(r"(?P<indent>\s*+)(?P<sign>[/!])(?=[A-Za-z])")
SWALLOWED = re.compile(r"(?:://|www\.)\S*+", re.IGNORECASE)  # a bare address takes backticks along
PUNCTUATION = re.compile(r"[!-&*+;-@\[-`{-~]")
HARMLESS_ACROSS_CELLS = re.compile(r"[\w\s|.,:'\"()=*+-]*")

BOTS = (
    r"dependabot|renovate|bors|homu|rustbot|mergify(?:io)?|claude|codex|copilot|coderabbitai|gemini-code-assist|jenkins"
    r"|all-?contributors|k8s-ci-robot|kodiakhq|[a-z0-9-]{1,30}bot"
)
CODE_MENTION = re.compile(rf"@(?=(?:{BOTS})\b)", re.IGNORECASE)
CODE_PHRASE = re.compile(PHRASE, re.VERBOSE | re.IGNORECASE)
CODE_COMMAND = re.compile(r"^(\s*+[/!])(?=[A-Za-z][\w-]*+(?:\s|$))")


def harden(line: str) -> str:
    """One line, without its newline, that is not part of a code block."""
    command = COMMAND.match(line)
    written = [f"{command['indent']}\\{command['sign']}"] if command else []
    at = command.end() if command else 0
    closing_ticks = _closing_ticks(line)
    last_reference = _last_reference(line)
    swallowed_until = 0
    addresses = SWALLOWED.finditer(line)
    address = next(addresses, None)
    while (found := SPECIAL.search(line, at)) is not None:
        written.append(line[at : found.start()])
        at = found.end()
        if found.lastgroup == "closing":
            written.append(f"{found[0]}{BREAK if _closes(found, last_reference) else ''}")
            continue
        if found.lastgroup != "ticks":
            written.append(_HARMLESS[found.lastgroup or ""](found[0]))
            continue
        while address is not None and address.start() < found.start():
            swallowed_until, address = address.end(), next(addresses, None)
        end = closing_ticks.get(found.start())
        if end is not None and found.start() >= swallowed_until and _is_span(line[at : end - len(found[0])]):
            written.append(harden_code(line[found.start() : end]))
            at = end
        else:
            written.append("\\`" * len(found[0]))
    return "".join([*written, line[at:]])


def harden_code(line: str) -> str:
    """A line of code, or a span with its backticks: as it was, but for bots' commands and comment markers."""
    line = CODE_COMMAND.sub(rf"\g<1>{BREAK}", line)
    line = CODE_PHRASE.sub(rf"\g<0>{BREAK}", line)
    return CODE_MENTION.sub(f"@{BREAK}", line).replace("<!--", f"<!{BREAK}--")


def without_markup(line: str) -> str:
    """One line as plain characters, whether it will be read as Markdown or inside of HTML."""
    command = COMMAND.match(line)
    written = [f"&#{ord(command['sign'])};"] if command else []
    at = command.end() if command else 0
    last_reference = _last_reference(line)
    for found in SPECIAL.finditer(line, at):
        acts = found.lastgroup in {"mention", "scheme", "phrase"}
        acts = acts or (found.lastgroup == "closing" and _closes(found, last_reference))
        ending = BREAK if acts else ""
        written += [_entities(line[at : found.start()]), _entities(found[0].replace("@", f"@{BREAK}")), ending]
        at = found.end()
    return "".join([*written, _entities(line[at:])])


def _entities(text: str) -> str:
    return PUNCTUATION.sub(lambda sign: f"&#{ord(sign[0])};", text)


def _last_reference(line: str) -> int:
    """Where the last reference to an issue starts; -1 if there is none."""
    return max((found.start() for found in REFERENCE.finditer(line)), default=-1)


def _closes(keyword: re.Match[str], last_reference: int) -> bool:
    """Whether a reference stands anywhere behind the keyword, however far, or may stand on the next line."""
    return keyword.start() < last_reference or WORDLESS_REST.match(keyword.string, keyword.end()) is not None


def _closing_ticks(line: str) -> Mapping[int, int]:
    """For each run of backticks, by its start, the end of the next run of the same length, if there is one."""
    ends: dict[int, int] = {}
    next_of_length: dict[int, int] = {}
    for run in reversed(list(re.finditer("`+", line))):
        length = len(run[0])
        if length in next_of_length:
            ends[run.start()] = next_of_length[length]
        next_of_length[length] = run.end()
    return ends


def _is_span(content: str) -> bool:
    """Whether what stands between backticks is code to GitHub too: no cell's edge and no definition cuts it."""
    return "]:" not in content and ("|" not in content or HARMLESS_ACROSS_CELLS.fullmatch(content) is not None)


def _escaped(pair: str) -> str:
    return {"\\<": "&lt;", "\\&": "&amp;", "\\@": f"@{BREAK}", "\\$": "&#36;"}.get(pair, pair)


def _entity(entity: str) -> str:
    return entity if entity[1:-1] in ENTITIES else f"&amp;{entity[1:]}"


def _address(address: str) -> str:
    """An `@` in an address is no mention until something cuts the address short."""
    return address.replace("@", "%40")


def _link(tail: str) -> str:
    return tail if tail.lstrip("]( \t").lower().startswith("mailto:") else _address(tail)


_HARMLESS: Mapping[str, Callable[[str], str]] = {
    "escaped_ticks": lambda ticks: "\\`" * (len(ticks) - 1),
    "escaped": _escaped,
    "entity": _entity,
    "autolink": str,
    "angle": lambda _: "&lt;",
    "image": lambda marks: "\\!" * (len(marks) - 2) + "[image: ",
    "link": _link,
    "target": lambda _: "]\\(",
    "definition": lambda _: "]\\:",
    "address": _address,
    "email": str,
    "mention": lambda sign: sign + BREAK,
    "dollar": lambda _: "&#36;",
    "tildes": lambda tildes: "\\~" * len(tildes),
    "scheme": lambda scheme: scheme + BREAK,
    "phrase": lambda letter: letter + BREAK,
}
