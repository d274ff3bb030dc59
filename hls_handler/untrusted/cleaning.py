"""Cleaning of untrusted text: removes characters that Claude would read, but that people do not see
on GitHub.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from hls_handler.untrusted.redaction import redact, redact_code
from hls_handler.wording import inflect

LONGEST_TEXT = 60_000
"""Limit on the characters of one untrusted text in a prompt. GitHub's limit for a body is
65,536.
"""

TITLE_CHARACTERS = 200
"""Limit on the characters of a title that is stored with a delivery. GitHub's limit is 256."""

ZERO_WIDTH_SPACE = "\u200b"

RESERVED_CHARACTERS = re.compile("[\ue000-\ue01f]")
"""Characters that are removed from all input, because placeholders consist of them."""

SURROGATES = re.compile("[\ud800-\udfff]")  # JSON can contain them, UTF-8 cannot
OTHER_LINE_ENDS = re.compile("[\x0b\x0c\r\x85\u2028\u2029]")
INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters except newline and tab
    # direction: change the displayed order (CVE-2021-42574)
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    "\U000e0000-\U000e007f"  # tags: an invisible copy of ASCII. Flags of regions lose them, too
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f\u3164"
    "\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0080-\U000e0fff]"
)
JOINERS = re.compile("[\u200c\u200d\ufe0e\ufe0f]+")
MAX_JOINER_CHARS = 2  # a heart on fire: heart, "as an emoji", "joined to", fire

COMMENT_OPEN = "<!--"
COMMENT_CLOSE = "-->"
# At the start of a line, after spaces and markers of quotes and lists.
UNCLOSED_COMMENT = re.compile(r"^[ \t>*+\-0-9.)]*+<!--", re.MULTILINE)

DELIMITER = re.compile(r"<(?=\s{0,9}/?\s{0,9}untrusted\b)", re.IGNORECASE)
OPENING = re.compile(r"<untrusted (\w+)>")
CLOSING = re.compile(r"</untrusted (\w+)>")

LINE_PARTS = re.compile(r"[^\n\t]+")


class CodeText(str):
    """Untrusted text that is code, or by Claude: `clean_and_redact` keeps HTML comments and values
    after `password =`.

    In text by Claude, such values were redacted before, unless they stand in the code that it was
    shown.
    """

    __slots__ = ()


def remove_invisible(text: str) -> str:
    """Remove control and invisible characters. Keep joiners and variation selectors that letters or
    emoji may need.
    """
    return JOINERS.sub(_keep_needed_joiner, INVISIBLE.sub("", text))


def _keep_needed_joiner(match: re.Match[str]) -> str:
    before = match.string[max(match.start() - 1, 0) : match.start()]
    if len(match[0]) > MAX_JOINER_CHARS or before.isascii() or before.isspace():
        return ""  # it could hide text
    return match[0]


def remove_html_comments(text: str, *, keep_lines: bool = False) -> str:
    """Remove HTML comments as GitHub does; with `keep_lines`, the newlines inside of complete ones
    stay.

    An unclosed comment at the start of a line hides the rest of the text. A note replaces this
    rest. Inside a line, an unclosed comment is ordinary text and stays.
    """
    parts: list[str] = []
    position = 0
    while (start := text.find(COMMENT_OPEN, position)) >= 0:
        end = text.find(COMMENT_CLOSE, start + 2)  # "<!-->" is a whole comment
        if end < 0:
            break
        parts.append(text[position:start])
        # the rest must not form a new comment
        if text.endswith(("<", "<!", "<!-"), position, start):
            parts.append(" ")
        position = end + len(COMMENT_CLOSE)
        if keep_lines:
            parts.append("\n" * text.count("\n", start, position))
    rest = "".join([*parts, text[position:]])
    unclosed = UNCLOSED_COMMENT.search(rest)
    if unclosed is None:
        return rest
    start = unclosed.end() - len(COMMENT_OPEN)
    return f"{rest[:start]}[unclosed HTML comment: {_describe_cut(len(rest) - start)}]"


def clean(text: str) -> str:
    """Remove invisible characters and, unless `text` is `CodeText`, HTML comments.

    "\\r\\n" becomes "\\n". All other line ends, such as "\\r" and U+2028, become spaces.
    """
    is_code = isinstance(text, CodeText)
    text = SURROGATES.sub("\ufffd", text)
    # a numbered line must not contain a second one
    text = OTHER_LINE_ENDS.sub(" ", text.replace("\r\n", "\n"))
    # in this order, so that the result is clean
    text = remove_invisible(RESERVED_CHARACTERS.sub("", text))
    if is_code:
        return text
    return remove_html_comments(text)


def clean_and_redact(text: str) -> str:
    """Return the text as prompts show it; `CodeText` by the rules for code."""
    if isinstance(text, CodeText):
        return redact_code(clean(text))
    return redact(clean(text))


def clean_title(title: str) -> str:
    """Return the title of an issue or pull request in one line, redacted, with at most
    `TITLE_CHARACTERS`.

    GitHub shows HTML comments in titles, so they stay.
    """
    # the receiver cleans every title, so the usual case is fast
    if not (title.isascii() and title.isprintable()):
        title = " ".join(clean(CodeText(title)).split())
    title = redact(title)
    if len(title) > TITLE_CHARACTERS:
        title = f"{title[: TITLE_CHARACTERS - 1]}…"
    return title


def truncate(text: str, n: int) -> str:
    """Return the first `n` characters of a text. If it is longer, append the number of cut
    characters.
    """
    if len(text) <= n:
        return text
    return f"{text[:n]}… [{_describe_cut(len(text) - n)}]"


def _describe_cut(characters: int) -> str:
    return f"{characters:,} {inflect(characters, 'character')} cut"


def format_for_prompt(text: str, nonce: str, *, limit: int = LONGEST_TEXT, title: str = "") -> str:
    """Clean, redact and truncate untrusted text, and put it between delimiters that contain the
    nonce, below a line with `title`.

    The text is redacted before it is truncated, because half a credential would not be recognised.
    """
    inside = truncate(clean_and_redact(text), limit)
    if title:
        inside = f"{title}\n{inside}"
    inside = escape_delimiters(inside, nonce)
    return f"<untrusted {nonce}>{_frame(inside)}</untrusted {nonce}>"


def _frame(inside: str) -> str:
    if "\n" in inside:
        return f"\n{inside}\n"
    return inside


def count_shown(prompt: str, texts: Iterable[str]) -> Counter[str]:
    """Return how often a rendered prompt shows each code text as a whole, also below a line with a
    title. The texts are redacted.
    """
    regions: Counter[tuple[str, str]] = Counter()
    for begin, end, nonce in _find_untrusted(prompt):
        region = prompt[begin:end]
        title, _, rest = region.removeprefix("\n").partition("\n")
        regions[nonce, region] += 1
        regions[nonce, _frame(rest.removesuffix("\n"))] += bool(title and rest)
    nonces = {nonce for nonce, _ in regions}
    counts: Counter[str] = Counter()
    for text in set(texts):
        inside = clean(CodeText(text))
        for nonce in nonces:
            counts[text] += regions[nonce, _frame(escape_delimiters(inside, nonce))]
    return counts


def split_untrusted(prompt: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a rendered prompt in order, and for each whether it is untrusted text
    between delimiters.

    The delimiters themselves belong to the other parts.
    """
    position = 0
    for begin, end, _ in _find_untrusted(prompt):
        yield prompt[position:begin], False
        yield prompt[begin:end], True
        position = end
    yield prompt[position:], False


def _find_untrusted(prompt: str) -> Iterator[tuple[int, int, str]]:
    """Yield begin, end and nonce of each text between delimiters.

    A template may write openings without an end, so each character is read once: one pattern for
    both delimiters would search for the end of every opening up to the end of the prompt, and stop
    the whole process meanwhile.
    """
    last = {match[1]: match.start() for match in CLOSING.finditer(prompt)}
    end = 0
    for opening in OPENING.finditer(prompt):
        begin = opening.end()
        nonce = opening[1]
        if opening.start() >= end and begin <= last.get(nonce, -1):
            end = prompt.index(f"</untrusted {nonce}>", begin)
            yield begin, end, nonce


def escape_delimiters(text: str, nonce: str) -> str:
    """Replace the nonce and the "<" of "<untrusted", so that the text cannot imitate a
    delimiter.
    """
    return escape_opening(text.replace(nonce, "…"))


def show_name(name: str) -> str:
    """Return a short untrusted text, such as a path, as prompts show it between the delimiters."""
    return escape_opening(clean_and_redact(name))


def escape_opening(text: str) -> str:
    """Replace the "<" of "<untrusted" by "‹"."""
    return DELIMITER.sub("‹", text)


def escape_unprintable(text: str) -> str:
    """Replace each unprintable character by its escape, such as "\\n", "\\x1b" or "\\u202e"."""
    if text.isprintable():  # the usual case, many times as fast
        return text
    characters: list[str] = []
    for character in text:
        if character.isprintable():
            characters.append(character)
        else:
            characters.append(character.encode("unicode_escape").decode("ascii"))
    return "".join(characters)


def escape_unprintable_lines(text: str) -> str:
    """Escape unprintable characters, except newlines and tabs."""
    if text.isprintable():  # pages call this for each value
        return text
    return LINE_PARTS.sub(lambda part: escape_unprintable(part[0]), text)
