"""Private keys in a log: each line of one is replaced, so that no cut leaves a part that is not recognised as a key.

A key whose first line is left out would pass redaction, which knows keys by that line.
"""

from __future__ import annotations

import re

BEGIN = "-----BEGIN "
WHOLE = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
PART = re.compile(
    r"""[^A-Za-z0-9+/=]{0,20}                                     # a quote, a list, a diff
        (?: [A-Za-z0-9+/=]{0,200}+[^A-Za-z0-9]{0,8}
          | (?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash):.{0,200} )""",
    re.VERBOSE,
)
MOST_LINES = 300  # a key of 16,384 bits has 200
HIDDEN = "[redacted: private-key]"


class Keys:
    """Goes along with a log, line by line. What does not look like a part of a key ends it: code cannot hide there."""

    def __init__(self) -> None:
        self._left = 0  # lines that may still be of the key

    def hide(self, text: str) -> str:
        """The line, or what is shown in its place."""
        if BEGIN in text and (begin := WHOLE.search(text)) is not None:
            if END.search(text, begin.end()) is not None or len(text) > begin.end() + 200:
                return text  # a key in one line is redaction's
            self._left = MOST_LINES
            return text[: begin.start()] + HIDDEN
        if not self._left:
            return text
        end = END.search(text)
        if end is None and PART.fullmatch(text) is None:
            self._left = 0
            return text
        self._left = self._left - 1 if end is None else 0
        return HIDDEN if end is None else HIDDEN + text[end.end() :]
