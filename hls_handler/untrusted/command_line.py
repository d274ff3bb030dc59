"""Reads a command such as `/review` from the first line of a comment."""

from __future__ import annotations

import re

CHERRY_PICK_WORD = "/cherry-pick"

_BLANKS = re.compile("[\t\r \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_INDENTED_CODE = re.compile(r" {0,3}\t| {4}")
_FIRST_LINE = re.compile(
    r"(?:@(?P<login>[\w-]+)(?:\[bot\])?[,:]? )?(?:please,? )?"
    r"(?P<command>/(?:[a-z][\w-]{0,40}[?:,]?(?: [!-~]{1,41}?){0,3}?|(?:un)?dismiss[:,]? .+?"
    r"|cherry-pick [!-~]{1,250}?))"
    r"(?:,? please)? ?[.!]{0,3}",
    re.ASCII | re.IGNORECASE,
)

COMMAND_LINE = re.compile(
    r"/(stop|resume|review full|review|help|(?:un)?dismiss)"
    r"(?:(?<=dismiss)(?:(?: (?:finding #?|#(?![0-9]+ (?!because\b)[^\W\d_]))?([0-9]{1,6}))?"
    r"(?:[:,.]? [^\w#/]*[^\W\d_].*)?| #[0-9]+ [^\W\d_].*))?"
)
"""Matches a command as `read_command_line` returns it. What follows the number of a finding, a
letter behind punctuation, is the reason. "#12 tracks it" is one, too: it names an issue; "#12
because ..." names a finding.
"""


def read_command_line(text: str) -> tuple[str, str]:
    """Return whom the first line addresses, and its command: ("hls", "/dismiss 3") of "@hls, please
    /dismiss  3."

    The line begins with a slash and a word, at most three further words follow, or a reason for
    `/dismiss`, and blank lines may precede it. The login is without "[bot]", and "" without an
    address. Returns ("", "") for any other text, such as quotes and code. Text with invisible or
    similar characters is no command, except in that reason. The command is in lower case, except
    the branch of `/cherry-pick`.
    """
    for line in text.split("\n"):
        words = _BLANKS.sub(" ", line).strip(" ")
        if not words:
            continue
        match = _FIRST_LINE.fullmatch(words)
        if match is None or _INDENTED_CODE.match(line):
            break
        word, blank, rest = match["command"].partition(" ")
        word = word.lower()
        if word != CHERRY_PICK_WORD:
            rest = rest.lower()
        return match["login"] or "", f"{word}{blank}{rest}"
    return "", ""
