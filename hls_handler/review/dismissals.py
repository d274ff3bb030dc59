"""Dismissals: how people say in the thread of a finding that it is not to be fixed."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hls_handler.review.record import ReviewThread
from hls_handler.untrusted.command_line import read_command_line

FIXED = "fixed"
"""Key of the reply in the thread of a finding that is fixed (`EnsureReply.key`)."""

COMMAND = "command "
"""Beginning of the key of a dismissal by `/dismiss N`: "command 1a2b3c4d by mona", with the GUID of the command."""

PHRASES = (
    *("won't fix", "wont fix", "wontfix", "will not fix", "won't be fixed", "will not be fixed", "not going to fix"),
    *("no fix needed", "no change needed", "no fix required", "no change required", "doesn't need to be fixed"),
    *("not a bug", "isn't a bug", "not an issue", "isn't an issue", "this is not a problem", "isn't a problem"),
    *("by design", "intentional", "deliberate", "on purpose", "as intended", "as designed"),
    *("works as intended", "works as designed", "works as expected", "working as intended", "working as designed"),
    *("this is intended", "this is expected"),
    *("this is fine", "that's fine", "it's fine", "this is ok", "this is okay", "fine as is", "ok as is"),
    *("false positive", "false-positive", "false alarm", "out of scope", "not in scope", "not applicable", "n/a"),
    *("acceptable risk", "accepted risk", "can't happen", "cannot happen"),
)
"""Beginnings of replies that dismiss a finding, in lower case."""

_TO_SOMEBODY = r"(?:@[\w-]+(?:\[bot\])?[,:]? )?(?:(?:yes|no|nope|ok|okay|ack|sorry|thanks)[,.!] )?"
_SUBJECT = r"(?:(?:i|we|(?:this|that|it)(?:'s| is| was)?) )?(?:an? |the )?"
_DISMISSAL = re.compile(rf"{_TO_SOMEBODY}{_SUBJECT}(?:{'|'.join(map(re.escape, PHRASES))})(?!\w)")
_PROMISE = re.compile(r"(?:\bwill|'ll) fix\b")
_QUESTION = re.compile(r"(?:(?![.!] ).)*?\?(?!\w)")  # in the rest of a sentence; that of a URL does not count
_DISMISS = re.compile(r"/dismiss(?:[:,]|[ \t]+[^\W\d])", re.ASCII | re.IGNORECASE)  # with a reason
_NOT_OWN_WORDS = re.compile(r"^[ \t]*>[^\n]*|```.*?(?:```|\Z)|`[^`\n]*`|\*\*", re.MULTILINE | re.DOTALL)


def is_dismissal(text: str) -> bool:
    """Return True if a reply begins with `/dismiss`, or with one of `PHRASES` and neither asks nor promises something.

    Quoted lines and code do not count.
    """
    words = _own_words(text)
    found = None if is_promise(text) else _DISMISSAL.match(words)
    is_said = found is not None and _QUESTION.match(words, found.end()) is None
    return is_said or _DISMISS.match(text) is not None or read_command_line(text)[1] == "/dismiss"


def is_promise(text: str) -> bool:
    """Return True if a reply says that its author will fix the finding, which takes back what they said before."""
    return _PROMISE.search(_own_words(text)) is not None


def find_dismissals(thread: ReviewThread) -> Mapping[str, str]:
    """Return the logins of people who dismissed the finding of this thread, by a key such as "reply 2 by mona".

    Of a person's replies, the last one that dismisses the finding or takes the dismissal back counts. Resolving a
    thread in which HLS said that the finding is fixed dismisses nothing, also if the finding is open again.
    """
    found: dict[str, str] = {}
    if thread.is_resolved and thread.resolved_by and FIXED not in thread.own_replies:
        found[f"resolved by {thread.resolved_by}"] = thread.resolved_by
    found |= {f"thumbs down by {login}": login for login in thread.thumbs_down}
    replies: dict[str, int] = {}
    last: dict[str, str] = {}  # keys by login
    for reply in thread.replies:
        number = replies[reply.author] = replies.get(reply.author, 0) + 1
        if is_dismissal(reply.body):
            last[reply.author] = f"reply {number} by {reply.author}"
        elif is_promise(reply.body):
            last.pop(reply.author, None)
    found |= {key: login for login, key in last.items()}
    return {key: login for key, login in found.items() if not login.endswith("[bot]")}


def _own_words(text: str) -> str:
    own = _NOT_OWN_WORDS.sub(" ", text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").lower()
    return " ".join(own.split())
