"""Decides whether a fix may be offered as a suggestion, which GitHub commits with one click, or
only shown as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from hls_handler.untrusted.cleaning import CodeText, clean
from hls_handler.untrusted.markdown import sanitize_code_block

REDACTION_MARKER = "[redacted: "

STRING = re.compile(r""""(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\\n])*`""")
# that of "don't", not that of f't'
APOSTROPHE = re.compile(r"(?<=[A-Za-z])'(?=(?:t|s|re|ve|ll|d|m)\b(?!'))")
DELIMITER = re.compile(r"""[()\[\]{}"'`]""")
PAIRS = frozenset(("()", "[]", "{}"))


def is_presentable(fix: str, replaced: Sequence[str]) -> bool:
    """Return True if a fix changes its lines, and a code block shows it, and them, as they are."""
    old = "\n".join(replaced)
    is_plain = all(
        clean(CodeText(text)) == text and REDACTION_MARKER not in text for text in (fix, old)
    )
    return fix != old and is_plain and sanitize_code_block(fix) == fix


def is_applicable(
    fix: str, replaced: Sequence[str], beside: Sequence[str], hunk: Iterable[str]
) -> bool:
    """Return True if a fix can replace its lines without harm to the lines around them.

    `beside` are the lines before and after, and `hunk` all lines around. The fix repeats no line
    beside it, leaves the same brackets and quotes open as before, and is indented with the
    characters of its lines, or of lines around.
    """
    new = fix.split("\n")
    ends = zip(beside, (new[0], new[-1]), (replaced[0], replaced[-1]), strict=True)
    is_repeated = any(
        text.strip() and before.split() == text.split() != other.split()
        for text, before, other in ends
    )
    # Claude may leave the indentation out
    is_indented = new[0][:1].isspace() or not replaced[0][:1].isspace()
    indentation = _indentation(replaced) or _indentation(hunk)
    is_indented = is_indented and (not indentation or _indentation(new) <= indentation)
    return is_indented and not is_repeated and _find_open(fix) == _find_open("\n".join(replaced))


def _indentation(lines: Iterable[str]) -> set[str]:
    """Return the characters with which lines begin: behind a tab, a space may align a comment."""
    return {line[0] for line in lines if line.strip() and line[0] in " \t"}


def _find_open(code: str) -> str:
    """Return the brackets and quotes without a counterpart, in order: "})(" for "}) if f(". Strings
    are left out.
    """
    fences: list[str] = []
    lines = code.split("\n")
    for index, line in enumerate(lines):
        if line.count("'") == 1:
            lines[index] = APOSTROPHE.sub("", line)
    for delimiter in DELIMITER.findall(STRING.sub("", "\n".join(lines))):
        if fences and fences[-1] + delimiter in PAIRS:
            fences.pop()
        else:
            fences.append(delimiter)
    return "".join(fences)
