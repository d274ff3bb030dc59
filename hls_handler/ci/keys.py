"""Replaces every line of a private key in a log, so that no excerpt contains an unrecognized part of a key.

Redaction recognizes a key by its first line, so it would miss a key whose first line was left out.
"""

from __future__ import annotations

import re

BEGIN = "-----BEGIN "
BEGIN_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
END_PRIVATE_KEY = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
KEY_LINE = re.compile(
    r"""[^A-Za-z0-9+/=]{0,20}                                     # a quote, a list, a diff
        (?: [A-Za-z0-9+/=]{0,200}+[^A-Za-z0-9]{0,8}
          | (?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash):.{0,200} )""",
    re.VERBOSE,
)
MAX_KEY_LINES = 300  # a key of 16,384 bits has 200
REPLACEMENT = "[redacted: private-key]"


class PrivateKeyFilter:
    """Tracks keys line by line. A line that cannot be part of a key ends it, so that no other text is hidden."""

    def __init__(self) -> None:
        self._lines_left = 0  # lines that may still belong to the key

    def redact_line(self, text: str) -> str:
        """Return the line, or the replacement if it is part of a key."""
        if BEGIN in text and (begin := BEGIN_PRIVATE_KEY.search(text)) is not None:
            if END_PRIVATE_KEY.search(text, begin.end()) is not None or len(text) > begin.end() + 200:
                return text  # redaction recognizes a key in one line
            self._lines_left = MAX_KEY_LINES
            return text[: begin.start()] + REPLACEMENT
        if not self._lines_left:
            return text
        end = END_PRIVATE_KEY.search(text)
        if end is None and KEY_LINE.fullmatch(text) is None:
            self._lines_left = 0
            return text
        self._lines_left = self._lines_left - 1 if end is None else 0
        return REPLACEMENT if end is None else REPLACEMENT + text[end.end() :]
