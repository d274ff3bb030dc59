"""Redaction of credentials by their pattern (`[redacted: KIND]`), and of known secrets (`***`).

Every pattern takes linear time: an unbounded repetition is possessive (`*+`), or nothing after it can cause
backtracking, or it can start at one position only. Only single characters are possessive: with possessive groups,
Python before 3.11.5 (Debian 12 has 3.11.2) loses the end of the match.
`redact` is idempotent.
"""

from __future__ import annotations

import base64
import html
import json
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from hls_handler.untrusted.assigned_secrets import find_assignments

LINE_PREFIX = r"(?:[^A-Za-z\n]{0,20}|[LR][ ]{1,9}[0-9]{1,9}[ ][-+ ][ ])"  # prefix of a line in a quote, string or diff
ENCODED = r"[A-Za-z0-9+/=]"
NEWLINES = r"(?:\\{1,4}[nr]){0,4}"  # escaped, in one line of code

# Private keys in PEM and OpenPGP armour, also truncated, quoted, in one line or in numbered patches.
PRIVATE_KEY = re.compile(
    rf"""
    -----BEGIN\ [A-Z0-9 ]{{0,40}}PRIVATE\ KEY(?:\ BLOCK)?-----
    (?: [ \t]?{NEWLINES}{ENCODED}{{16,}}+
      | \n{LINE_PREFIX}{ENCODED}{{16,}}+(?=[^A-Za-z0-9\n]{{0,4}}(?:\n|\Z))(?:[^A-Za-z0-9\n]{{0,4}}(?=\n))?
      | \n{LINE_PREFIX}{ENCODED}{{40,}}+
      | \n{LINE_PREFIX}(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash):[^\n]{{0,200}}
      | \n[^A-Za-z\n]{{0,24}}(?=\n)
    )*
    (?: (?:\n{LINE_PREFIX}|[ \t]?{NEWLINES}){ENCODED}{{1,76}}+  # the last line may be short
        (?=[^A-Za-z0-9\n]{{0,4}}\n[^\n]{{0,24}}-----END|{NEWLINES}[ \t]?-----END) )?
    (?: (?:[^A-Za-z0-9\n]{{0,4}}\n{LINE_PREFIX}|[ \t]?{NEWLINES})
        -----END\ [A-Z0-9 ]{{0,40}}PRIVATE\ KEY(?:\ BLOCK)?-----)?
    """,
    re.VERBOSE,
)


def _find_private_keys(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and kind of each key. Text between the markers that does not look like a key is not included,
    because redacting it could hide code.
    """
    return ((*found.span(), "private-key") for found in PRIVATE_KEY.finditer(text))


MARKDOWN_ESCAPE = re.compile(
    r"\\([!#-&(-/:-@\[-_{-~])"  # quotes stay escaped: in code they are inside a string
    r"|&(?:\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
)


@dataclass(frozen=True, slots=True)
class _Resolved:
    """Text, and for each of its characters and its end the index in the source."""

    text: str
    origins: Sequence[int]


def _resolve_markdown(source: str) -> _Resolved:
    """Resolve one level of escapes everywhere, even in code, where Markdown does not."""
    if MARKDOWN_ESCAPE.search(source) is None:
        return _Resolved(source, range(len(source) + 1))
    parts: list[str] = []
    origins = array("L")
    at = 0
    for found in MARKDOWN_ESCAPE.finditer(source):
        character = found[1] or html.unescape(found[0])
        if len(character) != 1:  # not a reference, or to more than one character, which no credential contains
            continue
        parts += [source[at : found.start()], character]
        origins.extend(range(at, found.start() + 1))
        at = found.end()
    origins.extend(range(at, len(source) + 1))
    return _Resolved("".join([*parts, source[at:]]), origins)


JSON_ESCAPE = r"(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{4})"  # of JSON strings: its letters do not belong to the next word
WORD_START = rf"(?:(?<![A-Za-z0-9_])|{JSON_ESCAPE})"  # not inside a word
TOKEN_START = rf"(?:(?<![A-Za-z0-9_-])|{JSON_ESCAPE})"
WORD_END = r"(?![A-Za-z0-9_])"

CREDENTIAL_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("github-token", re.compile(rf"{WORD_START}github_pat_[A-Za-z0-9_]{{20,}}+")),
    ("github-token", re.compile(rf"{WORD_START}gh[pousr]_[A-Za-z0-9_]{{20,}}+(?:\.[A-Za-z0-9_-]++){{0,2}}")),
    ("github-token", re.compile(rf"{WORD_START}v1\.[0-9a-f]{{40}}{WORD_END}")),
    ("gitlab-token", re.compile(rf"{WORD_START}gl(?:pat|dt|rt|cbt|ptt|soat)-[A-Za-z0-9_-]{{20,}}+")),
    ("aws-key", re.compile(rf"{WORD_START}(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{{16}}{WORD_END}")),
    ("slack-token", re.compile(rf"{WORD_START}xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{{10,}}+")),
    ("slack-token", re.compile(rf"{WORD_START}xapp-[0-9]-[A-Za-z0-9-]{{10,}}+")),
    ("slack-webhook", re.compile(r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9_/-]{8,}+")),
    ("discord-webhook", re.compile(r"https://(?:\w{1,9}\.)?discord(?:app)?\.com/api/webhooks/[0-9]{5,25}/[\w-]{20,}+")),
    (
        "jwt",
        re.compile(rf"{TOKEN_START}eyJ[A-Za-z0-9_-]{{8,}}+\.[A-Za-z0-9_-]{{8,}}+(?:\.[A-Za-z0-9_-]*+){{0,3}}"),
    ),
    ("anthropic-key", re.compile(rf"{WORD_START}sk-ant-[A-Za-z0-9_-]{{16,}}+")),
    ("openai-key", re.compile(rf"{WORD_START}sk-(?:proj|svcacct|admin|None|or-v1)-[A-Za-z0-9_-]{{20,}}+")),
    ("openai-key", re.compile(rf"{WORD_START}sk-[A-Za-z0-9]{{32,}}+")),
    ("google-key", re.compile(rf"{TOKEN_START}AIza[A-Za-z0-9_-]{{35}}(?![A-Za-z0-9_-])")),
    ("google-key", re.compile(rf"{WORD_START}(?:GOCSPX-[A-Za-z0-9_-]{{20,}}+|ya29\.[A-Za-z0-9_-]{{20,}}+)")),
    ("stripe-key", re.compile(rf"{WORD_START}[sr]k_(?:live|test)_[A-Za-z0-9]{{16,}}+")),
    ("stripe-key", re.compile(rf"{WORD_START}whsec_[A-Za-z0-9+/=]{{24,}}+")),
    ("npm-token", re.compile(rf"{WORD_START}npm_[A-Za-z0-9]{{36,}}+")),
    ("pypi-token", re.compile(rf"{WORD_START}pypi-[A-Za-z0-9_-]{{50,}}+")),
    ("docker-token", re.compile(rf"{WORD_START}dckr_(?:pat|oat)_[A-Za-z0-9_-]{{20,}}+")),
    ("huggingface-token", re.compile(rf"{WORD_START}hf_[A-Za-z0-9]{{30,}}+")),
    ("sendgrid-key", re.compile(rf"{WORD_START}SG\.[A-Za-z0-9_-]{{16,32}}\.[A-Za-z0-9_-]{{32,}}+")),
    ("digitalocean-token", re.compile(rf"{WORD_START}do[opr]_v1_[0-9a-f]{{64}}{WORD_END}")),
    ("telegram-token", re.compile(rf"{WORD_START}[0-9]{{8,10}}:AA[A-Za-z0-9_-]{{33}}(?![A-Za-z0-9_-])")),
    ("age-key", re.compile(rf"{WORD_START}AGE-SECRET-KEY-1[A-Z0-9]{{50,}}+")),
)
"""Kind and pattern of credentials that are recognisable without context, from their vendors' documentation."""

URL_CREDENTIALS = re.compile(
    r"""(?<=://)
    (?: [^\s/?#@:"'<>\[\]{}$]{0,100} : (?![${<\[%*]) [^\s/?#"'<>]{1,300} (?=@)   # user:password@, up to the last @
      | [A-Za-z0-9_-]{20,300} (?=@) )                                            # token@
    """,
    re.VERBOSE,
)

AUTHORIZATION = re.compile(
    r"""authorization [\\"'\]]{0,4} [ \t]{0,8} [:=,] [ \t]{0,8} [\\"'`(]{0,4}
        (?:Bearer|Basic|Token|Digest|ApiKey|Negotiate) [ \t]{1,8}
    (?P<secret> [A-Za-z0-9+/=._~:-]{6,}+ )""",
    re.VERBOSE | re.IGNORECASE,
)
BEARER = re.compile(
    rf"{WORD_START}Bearer[ \t]{{1,8}}(?P<secret>(?=[A-Za-z+/=._~-]{{0,100}}[0-9])[A-Za-z0-9+/=._~-]{{20,}}+)"
)


def redact(text: str) -> str:
    """Replace everything that looks like a credential by its kind, such as `[redacted: github-token]`.

    Commit ids, digests and UUIDs are credentials only after a name such as `token=`. The text is searched twice, as
    written and with Markdown escapes resolved, because `ghp\\_...` is displayed as a token.
    """
    return _replace_found(find_assignments, _replace_found(_find_by_pattern, text))


def _replace_found(find: Callable[[str], Iterator[tuple[int, int, str]]], text: str) -> str:
    """Replace the matches of `find` in the text and in its Markdown-resolved form; overlapping matches as one."""
    spans = list(find(text))
    resolved = _resolve_markdown(text)
    if resolved.text != text:
        spans += [(resolved.origins[start], resolved.origins[end], kind) for start, end, kind in find(resolved.text)]
    parts: list[str] = []
    done = 0
    for start, end, kind in sorted(spans, key=lambda span: span[0]):
        if start >= done:
            parts += [text[done:start], f"[redacted: {kind}]"]
        done = max(done, end)
    return "".join([*parts, text[done:]])


def _find_by_pattern(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and kind of each match. Matches may overlap; of two with the same start the first counts."""
    yield from _find_private_keys(text)
    yield from ((*found.span(), "url-credentials") for found in URL_CREDENTIALS.finditer(text))
    for pattern in (AUTHORIZATION, BEARER):
        yield from ((*found.span("secret"), "authorization") for found in pattern.finditer(text))
    for kind, pattern in CREDENTIAL_PATTERNS:
        yield from ((*found.span(), kind) for found in pattern.finditer(text))


MASK = "***"
MIN_SECRET_CHARS = 4  # a shorter one would mask ordinary text, and is not secure anyway
MIN_BASE64_CHARS = 6  # characters of base64


def mask_secrets(text: str, secrets: Iterable[str]) -> str:
    """Replace known secrets by `***`, in all encodings in which a log line or an exception may contain them.

    Encodings: plain, base64 (both alphabets, at any offset inside a longer value), URL-encoded, escaped for a `repr`,
    JSON or HTML.
    """
    encodings = {text for secret in secrets if len(secret) >= MIN_SECRET_CHARS for text in _encodings(secret)}
    if not encodings:
        return text
    longest_first = sorted(encodings, key=lambda encoding: (-len(encoding), encoding))
    return re.sub("|".join(re.escape(encoding) for encoding in longest_first), MASK, text)


def _encodings(secret: str) -> Iterator[str]:
    yield secret
    yield repr(secret)[1:-1]
    yield repr(secret.encode("utf-8", "surrogatepass"))[2:-1]
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield html.escape(secret)
    utf8 = secret.encode("utf-8", "surrogatepass")
    for encoded in (quote(utf8, safe=""), quote(utf8), quote_plus(utf8)):
        yield encoded
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), encoded)
    yield from (part for part in _base64_parts(utf8) if len(part) >= MIN_BASE64_CHARS)


def _base64_parts(secret: bytes) -> Iterator[str]:
    """Base64 characters that depend only on the secret, for each offset within a group of three bytes."""
    for offset, mixed in ((0, 0), (1, 2), (2, 3)):  # bytes before the secret; characters that depend on them
        end = (offset + len(secret)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * offset + secret).decode()[mixed:end]
