"""Redaction: what looks like a credential is replaced by its kind, and a secret that we know by `***`.

Every pattern takes linear time: an unbounded repetition is possessive (`*+`), or nothing behind it can send it back, or
its run can begin in one place only. Possessive are single characters only: of groups, Python before 3.11.5 (Debian 12
has 3.11.2) gets it wrong and loses the end of the match.
`redact` applied twice is the same as applied once.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, quote_plus

from hls_handler.untrusted.assignments import find_assignments
from hls_handler.untrusted.private_keys import find_private_keys
from hls_handler.untrusted.resolved import resolve

ESCAPE = r"(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{4})"  # of JSON and the like: its letters are no part of a word behind it
START = rf"(?:(?<![A-Za-z0-9_])|{ESCAPE})"  # nothing that could be the front part of the same word
APART = rf"(?:(?<![A-Za-z0-9_-])|{ESCAPE})"
END = r"(?![A-Za-z0-9_])"

SHAPES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("github-token", re.compile(rf"{START}github_pat_[A-Za-z0-9_]{{20,}}+")),
    ("github-token", re.compile(rf"{START}gh[pousr]_[A-Za-z0-9_]{{20,}}+(?:\.[A-Za-z0-9_-]++){{0,2}}")),
    ("github-token", re.compile(rf"{START}v1\.[0-9a-f]{{40}}{END}")),
    ("gitlab-token", re.compile(rf"{START}gl(?:pat|dt|rt|cbt|ptt|soat)-[A-Za-z0-9_-]{{20,}}+")),
    ("aws-key", re.compile(rf"{START}(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{{16}}{END}")),
    ("slack-token", re.compile(rf"{START}xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{{10,}}+")),
    ("slack-token", re.compile(rf"{START}xapp-[0-9]-[A-Za-z0-9-]{{10,}}+")),
    ("slack-webhook", re.compile(r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9_/-]{8,}+")),
    ("discord-webhook", re.compile(r"https://(?:\w{1,9}\.)?discord(?:app)?\.com/api/webhooks/[0-9]{5,25}/[\w-]{20,}+")),
    (
        "jwt",
        re.compile(rf"{APART}eyJ[A-Za-z0-9_-]{{8,}}+\.[A-Za-z0-9_-]{{8,}}+(?:\.[A-Za-z0-9_-]*+){{0,3}}"),
    ),
    ("anthropic-key", re.compile(rf"{START}sk-ant-[A-Za-z0-9_-]{{16,}}+")),
    ("openai-key", re.compile(rf"{START}sk-(?:proj|svcacct|admin|None|or-v1)-[A-Za-z0-9_-]{{20,}}+")),
    ("openai-key", re.compile(rf"{START}sk-[A-Za-z0-9]{{32,}}+")),
    ("google-key", re.compile(rf"{APART}AIza[A-Za-z0-9_-]{{35}}(?![A-Za-z0-9_-])")),
    ("google-key", re.compile(rf"{START}(?:GOCSPX-[A-Za-z0-9_-]{{20,}}+|ya29\.[A-Za-z0-9_-]{{20,}}+)")),
    ("stripe-key", re.compile(rf"{START}[sr]k_(?:live|test)_[A-Za-z0-9]{{16,}}+")),
    ("stripe-key", re.compile(rf"{START}whsec_[A-Za-z0-9+/=]{{24,}}+")),
    ("npm-token", re.compile(rf"{START}npm_[A-Za-z0-9]{{36,}}+")),
    ("pypi-token", re.compile(rf"{START}pypi-[A-Za-z0-9_-]{{50,}}+")),
    ("docker-token", re.compile(rf"{START}dckr_(?:pat|oat)_[A-Za-z0-9_-]{{20,}}+")),
    ("huggingface-token", re.compile(rf"{START}hf_[A-Za-z0-9]{{30,}}+")),
    ("sendgrid-key", re.compile(rf"{START}SG\.[A-Za-z0-9_-]{{16,32}}\.[A-Za-z0-9_-]{{32,}}+")),
    ("digitalocean-token", re.compile(rf"{START}do[opr]_v1_[0-9a-f]{{64}}{END}")),
    ("telegram-token", re.compile(rf"{START}[0-9]{{8,10}}:AA[A-Za-z0-9_-]{{33}}(?![A-Za-z0-9_-])")),
    ("age-key", re.compile(rf"{START}AGE-SECRET-KEY-1[A-Z0-9]{{50,}}+")),
)
"""Credentials that are known by their shape alone, from their makers' documentation."""

URL_CREDENTIALS = re.compile(
    r"""(?<=://)
    (?: [^\s/?#@:"'<>\[\]{}$]{0,100} : (?![${<\[%*]) [^\s/?#"'<>]{1,300} (?=@)   # user:password@, the last @ counts
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
    rf"{START}Bearer[ \t]{{1,8}}(?P<secret>(?=[A-Za-z+/=._~-]{{0,100}}[0-9])[A-Za-z0-9+/=._~-]{{20,}}+)"
)


def redact(text: str) -> str:
    """Replace what looks like a credential by `[redacted: github-token]` or another kind; the rest stays as it is.

    Commit ids, digests and UUIDs are no credentials, unless a name such as `token=` says that they are. A text is read
    twice, as it is written and as Markdown shows it: `ghp\\_...` is the same token to whoever reads the comment.
    """
    return _without(find_assignments, _without(_find_shaped, text))


def _without(find: Callable[[str], Iterator[tuple[int, int, str]]], text: str) -> str:
    """What `find` finds in the text and in what Markdown makes of it is replaced; what overlaps, as one."""
    spans = list(find(text))
    resolved = resolve(text)
    if resolved.text != text:
        spans += [(resolved.origins[start], resolved.origins[end], kind) for start, end, kind in find(resolved.text)]
    kept: list[str] = []
    done = 0
    for start, end, kind in sorted(spans, key=lambda span: span[0]):
        if start >= done:
            kept += [text[done:start], f"[redacted: {kind}]"]
        done = max(done, end)
    return "".join([*kept, text[done:]])


def _find_shaped(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and kind of each; they may overlap, and of two that start together the first has the better kind."""
    yield from find_private_keys(text)
    yield from ((*found.span(), "url-credentials") for found in URL_CREDENTIALS.finditer(text))
    for pattern in (AUTHORIZATION, BEARER):
        yield from ((*found.span("secret"), "authorization") for found in pattern.finditer(text))
    for kind, shape in SHAPES:
        yield from ((*found.span(), kind) for found in shape.finditer(text))


MASK = "***"
SHORTEST_SECRET = 4  # a shorter one would black out ordinary text, and keeps nobody out
SHORTEST_PIECE = 6  # of base64


def mask_secrets(text: str, secrets: Iterable[str]) -> str:
    """Replace secrets that we know, in whatever form a log line or an exception may carry them, by `***`.

    Forms: plain, base64 (both alphabets, at any offset inside of a longer value), URL-encoded, escaped for a `repr`,
    JSON or HTML.
    """
    forms = {form for secret in secrets if len(secret) >= SHORTEST_SECRET for form in _forms(secret)}
    if not forms:
        return text
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    return re.sub("|".join(re.escape(form) for form in longest_first), MASK, text)


def _forms(secret: str) -> Iterator[str]:
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
    yield from (form for form in _base64_forms(utf8) if len(form) >= SHORTEST_PIECE)


def _base64_forms(secret: bytes) -> Iterator[str]:
    """The characters that a secret alone decides, for each place that it can have in groups of three bytes."""
    for before, mixed in ((0, 0), (1, 2), (2, 3)):  # bytes before it; characters that those have a part in
        decided = (before + len(secret)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * before + secret).decode()[mixed:decided]
