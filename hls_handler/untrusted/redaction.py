"""Redaction: `[redacted: KIND]` replaces credentials, found by their form or by a name such as `password=`.

In code, only a known form counts (`redact_code`), because a hidden value could be a call or another name.

Every pattern takes linear time. An unbounded repetition is possessive (`*+`), can start at one position only, or is
followed by nothing that causes backtracking. A possessive repetition repeats a single character or character class,
because with possessive groups, Python before 3.11.5 (Debian 12 has 3.11.2) loses the end of the match.
"""

from __future__ import annotations

import html
import re
from array import array
from collections.abc import Callable, Iterator, Sequence

from hls_handler.untrusted.assignments import find_assignments, is_placeholder

NUMBER = r"(?:[LR][ ]{1,9}[0-9]{1,9}[ ][-+ ][ ])?"  # in a numbered patch
BEGIN_OF_LINE = re.compile(rf"\n{NUMBER}[ \t]*+")
LINE_PREFIX = rf"{NUMBER}[^A-Za-z\n]{{0,20}}"  # what a quote, string or diff puts before a line
ENCODED = r"[A-Za-z0-9+/=]"
NEWLINES = r"(?:\\{1,4}[nr]){0,4}"  # escaped line ends: a key as a string in code

BEGIN_OF_KEY = r"-----BEGIN\ [A-Z0-9 ]{0,40}PRIVATE\ KEY(?:\ BLOCK)?-----"

# Private keys in PEM and OpenPGP armour, also truncated, quoted, in one line or in numbered patches. Text between the
# markers that does not look like a key is not matched, because redacting it could hide code.
PRIVATE_KEY = re.compile(
    rf"""
    {BEGIN_OF_KEY}
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
LONE_MARKER = re.compile(rf"""(?<![^\s"'`(]){BEGIN_OF_KEY}(?![^\s"'`)\\])""")
"""A match of `PRIVATE_KEY` that hides no key: it is in code that looks for keys."""

HEADER_IN_KEY = re.compile(r"^@@ -[0-9,]{1,19} \+[0-9,]{1,19} @@\n?", re.MULTILINE)
"""Header of a hunk within a match of `PRIVATE_KEY`. It stays, because it says where the lines below it are."""


ESCAPE = re.compile(
    r"\\([!#-&(-/:-@\[-_{-~])"  # not quotation marks: in code, an escaped one is inside a string
    r"|&(?:\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
    r"|%(?:25){0,2}(?P<hex>[2-7][0-9A-Fa-f]|0[AaDd9])"  # %3D, and %253D if it was encoded twice
)


def _resolve_escapes(source: str) -> tuple[str, Sequence[int]]:
    r"""Resolve escapes of Markdown, HTML and URLs. Return the text and the index in `source` of each character.

    For "gh\_a", return "gh_a" and the indexes 0, 1, 2, 4, 5. The last index is the length of `source`.
    """
    if ESCAPE.search(source) is None:
        return source, range(len(source) + 1)
    parts: list[str] = []
    origins = array("L")
    at = 0
    for found in ESCAPE.finditer(source):
        character = chr(int(found["hex"], 16)) if found["hex"] else found[1] or html.unescape(found[0])
        if len(character) != 1:  # several characters, or not an entity; credentials contain neither
            continue
        parts += [source[at : found.start()], character]
        origins.extend(range(at, found.start() + 1))
        at = found.end()
    origins.extend(range(at, len(source) + 1))
    return "".join([*parts, source[at:]]), origins


JSON_ESCAPE = r"(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{4})"  # after an escape in a JSON string, a word begins
WORD_START = rf"(?:(?<![A-Za-z0-9_])|{JSON_ESCAPE})"  # not inside a word
TOKEN_START = rf"(?:(?<![A-Za-z0-9_-])|{JSON_ESCAPE})"
WORD_END = r"(?![A-Za-z0-9_])"


def _credential(kind: str, pattern: str, literals: str) -> tuple[str, re.Pattern[str], tuple[str, ...]]:
    return kind, re.compile(pattern), tuple(literals.split())


CREDENTIALS = (
    _credential("github-token", rf"{WORD_START}github_pat_[A-Za-z0-9_]{{20,}}+", "github_pat_"),
    _credential(
        "github-token",
        rf"{WORD_START}gh[pousr]_[A-Za-z0-9_]{{20,}}+(?:\.[A-Za-z0-9_-]++){{0,2}}",
        "ghp_ gho_ ghu_ ghs_ ghr_",
    ),
    _credential("github-token", rf"{WORD_START}v1\.[0-9a-f]{{40}}{WORD_END}", "v1."),
    _credential(
        "gitlab-token",
        rf"{WORD_START}gl(?:pat|dt|rt|cbt|ptt|soat)-[A-Za-z0-9_-]{{20,}}+",
        "glpat- gldt- glrt- glcbt- glptt- glsoat-",
    ),
    _credential("aws-key", rf"{WORD_START}(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{{16}}{WORD_END}", "AKIA ASIA ABIA ACCA"),
    _credential("slack-token", rf"{WORD_START}xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{{10,}}+", "xox"),
    _credential("slack-token", rf"{WORD_START}xapp-[0-9]-[A-Za-z0-9-]{{10,}}+", "xapp-"),
    _credential(
        "slack-webhook",
        r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9_/-]{8,}+",
        "https://hooks.slack.com/",
    ),
    _credential(
        "discord-webhook",
        r"https://(?:\w{1,9}\.)?discord(?:app)?\.com/api/webhooks/[0-9]{5,25}/[\w-]{20,}+",
        "/api/webhooks/",
    ),
    _credential(
        "jwt", rf"{TOKEN_START}eyJ[A-Za-z0-9_-]{{8,}}+\.[A-Za-z0-9_-]{{8,}}+(?:\.[A-Za-z0-9_-]*+){{0,3}}", "eyJ"
    ),
    _credential("anthropic-key", rf"{WORD_START}sk-ant-[A-Za-z0-9_-]{{16,}}+", "sk-ant-"),
    _credential("openai-key", rf"{WORD_START}sk-(?:proj|svcacct|admin|None|or-v1)-[A-Za-z0-9_-]{{20,}}+", "sk-"),
    _credential("openai-key", rf"{WORD_START}sk-[A-Za-z0-9]{{32,}}+", "sk-"),
    _credential("google-key", rf"{TOKEN_START}AIza[A-Za-z0-9_-]{{35}}(?![A-Za-z0-9_-])", "AIza"),
    _credential(
        "google-key", rf"{WORD_START}(?:GOCSPX-[A-Za-z0-9_-]{{20,}}+|ya29\.[A-Za-z0-9_-]{{20,}}+)", "GOCSPX- ya29."
    ),
    _credential("stripe-key", rf"{WORD_START}[sr]k_(?:live|test)_[A-Za-z0-9]{{16,}}+", "k_live_ k_test_"),
    _credential("stripe-key", rf"{WORD_START}whsec_[A-Za-z0-9+/=]{{24,}}+", "whsec_"),
    _credential("npm-token", rf"{WORD_START}npm_[A-Za-z0-9]{{36,}}+", "npm_"),
    _credential("pypi-token", rf"{WORD_START}pypi-[A-Za-z0-9_-]{{50,}}+", "pypi-"),
    _credential("docker-token", rf"{WORD_START}dckr_(?:pat|oat)_[A-Za-z0-9_-]{{20,}}+", "dckr_"),
    _credential("huggingface-token", rf"{WORD_START}hf_[A-Za-z0-9]{{30,}}+", "hf_"),
    _credential("sendgrid-key", rf"{WORD_START}SG\.[A-Za-z0-9_-]{{16,32}}\.[A-Za-z0-9_-]{{32,}}+", "SG."),
    _credential("digitalocean-token", rf"{WORD_START}do[opr]_v1_[0-9a-f]{{64}}{WORD_END}", "_v1_"),
    _credential("telegram-token", rf"{WORD_START}[0-9]{{8,10}}:AA[A-Za-z0-9_-]{{33}}(?![A-Za-z0-9_-])", ":AA"),
    _credential("age-key", rf"{WORD_START}AGE-SECRET-KEY-1[A-Z0-9]{{50,}}+", "AGE-SECRET-KEY-1"),
)
"""Kind and pattern of credentials with a known form such as "ghp_...", from their vendors' documentation.

Each match contains one of the words that follow the pattern. Most texts contain none, and to look for a literal is
a hundred times as fast as to search for a pattern.
"""

LITERALS = tuple({literal for _, _, literals in CREDENTIALS for literal in literals})

URL_CREDENTIALS = re.compile(
    r"""(?<=://)
    (?: [^\s/?#@:"'<>\[\]{}$]{0,100} : (?![${<\[%*]) [^\s/?#"'<>]{1,300} (?=@)   # user:password@, up to the last @
      | [A-Za-z0-9_-]{20,300} (?=@) )                                            # token@
    """,
    re.VERBOSE,
)
URL_CREDENTIALS_IN_CODE = re.compile(
    r"""(?<=://)
    (?: (?P<user>[A-Za-z0-9._~%!+-]{0,100}) : (?!%[sdv]@) (?P<password>[A-Za-z0-9._~%!+-]{1,300})
      | [A-Za-z0-9_-]{20,300} )
    @(?P<host>[A-Za-z0-9.-]{0,100})""",
    re.VERBOSE,
)
EXAMPLE = re.compile(
    r"example|x{6}|[sr]k_test_"
    r"|eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9l",  # the payload of jwt.io: John Doe
    re.IGNORECASE,
)
"""Found in a credential that its vendor documents, and in keys that are only good for tests."""
EXAMPLE_HOST = re.compile(r"(?:\A|\.)(?:localhost|127\.0\.0\.1|example|example\.(?:com|org|net)|test|invalid)\Z")

AUTHORIZATION = re.compile(
    r"""authorization [\\"'\]]{0,4} [ \t]{0,8} [:=,] [ \t]{0,8} [\\"'`(]{0,4}
        (?:Bearer|Basic|Token|Digest|ApiKey|Negotiate) [ \t]{1,8}
    (?P<secret> [A-Za-z0-9+/=._~:-]{6,}+ )""",
    re.VERBOSE | re.IGNORECASE,
)
BEARER = re.compile(
    rf"{WORD_START}Bearer[ \t]{{1,8}}(?P<secret>(?=[A-Za-z+/=._~-]{{0,100}}[0-9])[A-Za-z0-9+/=._~-]{{20,}}+)"
)


Span = tuple[int, int, str]  # start, end, kind


def redact(text: str) -> str:
    """Replace everything that looks like a credential by a marker such as `[redacted: github-token]`. Idempotent.

    This is for text that is not code: the value after a name such as `token=` is replaced whatever it looks like.
    Commit ids, digests and UUIDs are replaced only there. The text is searched twice, as written and with escapes
    resolved, because `ghp\\_...` is displayed as a token and `password%3D...` is decoded.
    """
    return _replace(text, _find_in_text, find_assignments)


def redact_code(text: str) -> str:
    """Replace credentials of a known form in a patch, a file or a part of one. Idempotent.

    Known forms are private keys, `CREDENTIALS`, and passwords and tokens in URLs. `password = "..."` stays. The number
    of lines stays, too: each line of a key gets a marker.
    """
    return _replace(text, _find_in_code, keeps_lines=True)


def list_credentials(text: str) -> list[Span]:
    """Return what `redact_code` hides, but for test keys, placeholders and vendors' examples."""
    return [span for span in _find_spans(text, _find_in_code) if not _is_example(text, *span[:2])]


def _is_example(text: str, start: int, end: int) -> bool:
    in_url = URL_CREDENTIALS_IN_CODE.match(text, start)
    if in_url is not None and next(_find_forms(text[start:end]), None) is None:  # a token is one on any host
        password, host = in_url["password"], in_url["host"].casefold()
        is_dummy = password is not None and (is_placeholder(password) or password == in_url["user"])
        return is_dummy or EXAMPLE_HOST.search(host) is not None
    return EXAMPLE.search(text, start, end) is not None


def _replace(text: str, *finders: Callable[[str], Iterator[Span]], keeps_lines: bool = False) -> str:
    for find in finders:
        parts: list[str] = []
        done = 0
        for start, end, kind in _find_spans(text, find):
            begins = BEGIN_OF_LINE.findall(text, start, end) if keeps_lines else []
            parts += [text[done:start], *(f"{begin}[redacted: {kind}]" for begin in ("", *begins))]
            done = end
        text = "".join([*parts, text[done:]])
    return text


def _find_spans(text: str, find: Callable[[str], Iterator[Span]]) -> list[Span]:
    """Return what is found in the text as written and with escapes resolved, in order; overlapping spans are joined."""
    spans = list(find(text))
    resolved, origins = _resolve_escapes(text)
    if resolved != text:
        spans += [(origins[start], origins[end], kind) for start, end, kind in find(resolved)]
    joined: list[Span] = []
    for start, end, kind in sorted(spans, key=lambda span: span[0]):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end), joined[-1][2])
        else:
            joined.append((start, end, kind))
    return joined


def _find_in_text(text: str) -> Iterator[Span]:
    yield from _find_forms(text)
    if "://" in text:
        yield from ((*found.span(), "url-credentials") for found in URL_CREDENTIALS.finditer(text))
    if "author" in text.casefold():
        yield from ((*found.span("secret"), "authorization") for found in AUTHORIZATION.finditer(text))
    if "Bearer" in text:
        yield from ((*found.span("secret"), "authorization") for found in BEARER.finditer(text))


def _find_in_code(text: str) -> Iterator[Span]:
    yield from _find_forms(text)
    if "://" in text:
        for found in URL_CREDENTIALS_IN_CODE.finditer(text):
            yield found.start(), found.start("host") - 1, "url-credentials"


def _find_forms(text: str) -> Iterator[Span]:
    if "-----BEGIN " in text:
        for key in PRIVATE_KEY.finditer(text):
            lone = LONE_MARKER.match(text, key.start())
            if lone is None or lone.end() < key.end():
                yield from ((start, end, "private-key") for start, end in _spare_headers(key))
    if not any(map(text.__contains__, LITERALS)):  # the usual case, and faster than the loop
        return
    for kind, pattern, literals in CREDENTIALS:
        if any(literal in text for literal in literals):
            yield from ((*found.span(), kind) for found in pattern.finditer(text))


def _spare_headers(key: re.Match[str]) -> Iterator[tuple[int, int]]:
    start = key.start()
    for header in HEADER_IN_KEY.finditer(key.string, start, key.end()):
        if start < header.start():
            yield start, header.start() - 1
        start = header.end()
    if start < key.end():
        yield start, key.end()
