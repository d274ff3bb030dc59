"""Redaction: `[redacted: KIND]` replaces credentials, found by their form or by a name such as
`password=`.

In code, only a known form counts (`redact_code`), because a hidden value could be a call or another
name.

Every pattern takes linear time. An unbounded repetition is possessive (`*+`), can start at one
position only, or is followed by nothing that causes backtracking. A possessive repetition repeats a
single character or character class, because with possessive groups, Python before 3.11.5 (Debian 12
has 3.11.2) loses the end of the match.
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

MASK = "***"
NOTHING = "(?!)"  # a pattern that never matches
MIN_SECRET_CHARS = 4  # a shorter one would mask ordinary text, and is not secure anyway
MIN_BASE64_CHARS = 6  # a shorter part of a secret's base64 text is not masked


def mask_secrets(text: str, secrets: Iterable[str]) -> str:
    """Replace `secrets` in `text` by `***`. Secrets shorter than `MIN_SECRET_CHARS` are not
    replaced.

    Encoded secrets are also replaced: in base64 (standard or URL-safe, also inside a longer text),
    URL-encoded, or escaped as in a `repr`, JSON or HTML.
    """
    return compile_secrets(secrets).sub(MASK, text)


def compile_secrets(secrets: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern of what `mask_secrets` replaces."""
    encodings = {
        encoding
        for secret in secrets
        if len(secret) >= MIN_SECRET_CHARS
        for encoding in _encodings(secret)
    }
    longest_first = sorted(encodings, key=lambda encoding: (-len(encoding), encoding))
    return re.compile("|".join(map(re.escape, longest_first)) or NOTHING)


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
        yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)
    yield from (part for part in _base64_parts(utf8) if len(part) >= MIN_BASE64_CHARS)


def _base64_parts(secret: bytes) -> Iterator[str]:
    # In the base64 of a longer text, such as "user:secret", the secret's characters depend on its
    # offset modulo 3.
    # bytes before the secret; characters that encode them
    for offset, mixed in ((0, 0), (1, 2), (2, 3)):
        end = (offset + len(secret)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\0" * offset + secret).decode()
            yield encoded[mixed:end]
            yield encoded[mixed:].rstrip("=")


PASSWORDS = (
    r"pass(?:word|wd|phrase|code)|pwd|(?<=[A-Za-z0-9][_-])pass"
    # a test's "pass: 12" is none
    r"""|(?<![A-Za-z0-9_-])pass(?=["'`]?[ \t]{0,8}[:=]>?[ \t]{0,8}["'])"""
)
KEYS = (
    r"(?:api|access|account|private|secret|encryption|signing|master|shared|auth)[ _-]?key"
    r"|secret(?:[ _-]?access[ _-]?key)?|token"
)
PARTS_OF_NAMES = ("pass", "pwd", "key", "secret", "token")
"""Each name contains one of these. To look for them is much faster than to search for an
assignment.
"""

SIGNS = ("=", ":", "|", "<", "--", "ENV", "setx")
"""Each match of `BEFORE_VALUE` contains one of these, too; most sentences contain none."""

NAME = rf"(?:{PASSWORDS}|{KEYS})[0-9]{{0,3}}"

BEFORE_VALUE = re.compile(
    rf"""
    (?P<name>{NAME}) \\{{0,3}}(?:["'`]\]?)?(?:[*_]{{1,3}}|</[a-z]{{1,10}}>)? [ \t]{{0,8}}
      (?P<sign>=>|:=|={{1,3}}|:(?!:)) (?:[*_]{{1,3}}(?=\s)|</[a-z]{{1,10}}>)?
  | --(?:[a-z]{{1,20}}-){{0,3}}(?P<option>{NAME})(?=[ ]{{1,8}}[^ -])
  | ^[ \t>+-]{{0,20}}(?-i:ENV|setx)[ ]{{1,4}}
      [A-Z0-9_]{{0,60}}?(?P<variable>{NAME})(?=[ ]{{1,4}}[^ =])
  # | password | value |
  | \|[ \t*_`]{{0,20}}[\w-]{{0,40}}?(?P<cell>{NAME})[ \t*_`]{{0,20}}\|(?!\|)
  | <(?P<tag>{NAME})>
  # name: PASSWORD, then value:
  | \bname["']?[ \t]{{0,4}}:[ \t]{{0,4}}["']?[\w.-]{{0,60}}?(?P<entry>{NAME})["']?
      (?:,?[ \t]{{0,8}}\n[ \t>+-]{{0,80}}|,[ \t]{{0,8}})["']?value["']?[ \t]{{0,4}}:
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
NAMES = ("name", "option", "variable", "cell", "tag", "entry")
QUOTED = re.compile(
    r"""[ \t]{0,8}(?:[bfru]{1,2}(?=["']))?
    (?: (?P<quote>(?P<mark>["'`])(?:(?P=mark){2})?)
        (?P<value>(?: \\[^\n] | (?!(?P=quote))[^\\\n] )*)
      | (?P<escape>\\{1,3}["'`]) (?P<escaped>(?: (?!(?P=escape))[^\n] )*) )""",
    re.VERBOSE | re.IGNORECASE,
)
ELEMENT = re.compile(r"[^<\n]{1,300}(?=</)")
MAX_PLACEHOLDER = 200
# not the "&" of "token=x&user=y"
UNIT = r"""(?:\[redacted:[ ][a-z-]{1,30}\]|(?![&;][\w.-]{1,40}=)[^\s"'`<>])"""
BARE = re.compile(rf"[ \t]{{0,8}}(?P<value>{UNIT}{{1,{MAX_PLACEHOLDER}}})")
REST_OF_BARE = re.compile(rf"{UNIT}*")
WORD_BEFORE_WORD = re.compile(r"[ \t]{0,8}[^\W\d_]{1,40}[.,:;!?)]{0,3}[ \t]{1,8}[\w(]")
END_PUNCTUATION = ".,:;!?)}|"

PLACEHOLDER = re.compile(
    rf"""[\W_]* | [x*.…•_-]+ | \$\w* | (?:\$[({{]|\{{|%[({{]|<|&[#\w]+;).*
      | %[sdv] | %\w+% | \[redacted.* | \[[a-z _-]*\]?
      | (?:change[_-]?me|placeholder|redacted|dummy|hidden|masked|filtered|removed)[\W_]*
      | (?:your|insert|replace|example)[\W_].* | your[a-z]* | example
      | null|nil|none|true|false|undefined|empty|unset|str|string|bytes|text|varchar|char|bool
      | boolean|int|integer|number|object|any|unknown|never|void|optional|required|invalid|expired
      | missing|inherit|secretstr
      | pass|{PASSWORDS}|{KEYS}""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


def is_placeholder(value: str) -> bool:
    """Return True for "${TOKEN}", "your-token", "xxx", "null", "string" or "password", which are no
    secrets.
    """
    start = value[: MAX_PLACEHOLDER + 1]
    return (
        PLACEHOLDER.fullmatch(start) is not None
        or PLACEHOLDER.fullmatch(start.rstrip(END_PUNCTUATION)) is not None
    )


def find_assignments(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and kind of each secret that follows a name. For "token=ab12cd34ef", yield
    (6, 16, "token").
    """
    folded = text.casefold()
    if not any(map(folded.__contains__, PARTS_OF_NAMES)):
        return
    if not any(map(text.__contains__, SIGNS)):
        return
    position = 0
    while (match := BEFORE_VALUE.search(text, position)) is not None:
        position = match.end()
        value = _find_value(match)
        if value is not None and not is_placeholder(text[slice(*value)]):
            yield *value, _kind(match)
            position = value[1]


def _find_value(match: re.Match[str]) -> tuple[int, int] | None:
    text = match.string
    position = match.end()
    if match["tag"]:
        element = ELEMENT.match(text, position)
        return element.span() if element is not None else None
    quoted = QUOTED.match(text, position)
    if quoted is not None:
        group = "value" if quoted["quote"] else "escaped"
        return quoted.span(group)
    bare = BARE.match(text, position)
    if bare is None or (
        match["sign"] not in ("=", ":=") and WORD_BEFORE_WORD.match(text, position)
    ):
        return None
    start, end = bare.span("value")
    if not is_placeholder(bare["value"]):
        rest = REST_OF_BARE.match(text, end)
        assert rest is not None  # it may be empty
        end = rest.end()
    return start, start + len(text[start:end].rstrip(END_PUNCTUATION))


def _kind(match: re.Match[str]) -> str:
    name = next(match[group] for group in NAMES if match[group]).casefold().rstrip("0123456789")
    if name.startswith("pass") or name == "pwd":
        return "password"
    return name.replace("_", "-").replace(" ", "-")


NUMBER = r"(?:[LR][ ]{1,9}[0-9]{1,9}[ ][-+ ][ ])?"  # in a numbered patch
BEGIN_OF_LINE = re.compile(rf"\n{NUMBER}[ \t]*+")
LINE_PREFIX = rf"{NUMBER}[^A-Za-z\n]{{0,20}}"  # what a quote, string or diff puts before a line
ENCODED = r"[A-Za-z0-9+/=]"
NEWLINES = r"(?:\\{1,4}[nr]){0,4}"  # escaped line ends: a key as a string in code
END_OF_LINE = rf"{NEWLINES}[^A-Za-z0-9\n]{{0,6}}\n"
END_OF_STRING = rf"{NEWLINES}[\\\"'`,+.\ \t\r]{{0,6}}\n"  # each line may be a string: "...\n" +

BEGIN_OF_KEY = r"-----BEGIN\ [A-Z0-9 ]{0,40}PRIVATE\ KEY(?:\ BLOCK)?-----"

# Private keys in PEM and OpenPGP armour, also truncated, quoted, in one line or in numbered
# patches. Text between the markers that does not look like a key is not matched, because redacting
# it could hide code.
PRIVATE_KEY = re.compile(
    rf"""
    {BEGIN_OF_KEY}
    (?: [ \t]?{NEWLINES}{ENCODED}{{16,}}+
      | {END_OF_STRING}{LINE_PREFIX}{ENCODED}{{16,}}+
        (?={END_OF_LINE}|[^A-Za-z0-9\n]{{0,4}}\Z)(?:[^A-Za-z0-9\n]{{0,4}}(?=\n))?
      | {END_OF_STRING}{LINE_PREFIX}{ENCODED}{{40,}}+
      | \n{LINE_PREFIX}(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash):[^\n]{{0,200}}
      | \n[^A-Za-z\n]{{0,24}}(?=\n)
    )*
    (?: (?:{END_OF_STRING}{LINE_PREFIX}|[ \t]?{NEWLINES}){ENCODED}{{1,76}}+  # the last may be short
        (?={END_OF_LINE}[^\n]{{0,24}}-----END|{NEWLINES}[ \t]?-----END) )?
    (?: (?:{END_OF_LINE}{LINE_PREFIX}|[ \t]?{NEWLINES})
        -----END\ [A-Z0-9 ]{{0,40}}PRIVATE\ KEY(?:\ BLOCK)?-----)?
    """,
    re.VERBOSE,
)
MARKER = re.compile(
    BEGIN_OF_KEY
    + r"(?:\\[nr]|[^A-Za-z]|\bR\b)*(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
)
"""A match of `PRIVATE_KEY` that is only this hides no key: it is in code that looks for keys, or in
an example.
"""

LIKE_KEY = re.compile(
    rf"^{LINE_PREFIX}(?:{ENCODED}{{40,}}+{END_OF_LINE}|-----END\ [A-Z0-9 ]{{0,40}}PRIVATE\ KEY)",
    re.MULTILINE,
)
"""A line that may be of a private key which begins above the text."""

REDACTED_KEY = "[redacted: private-key]"

HEADER_IN_KEY = re.compile(r"^@@ -[0-9,]{1,19} \+[0-9,]{1,19} @@\n?", re.MULTILINE)
"""Header of a hunk within a match of `PRIVATE_KEY`. It stays, because it says where the lines below
it are.
"""


ESCAPE = re.compile(
    r"\\([!#-&(-/:-@\[-_{-~])"  # not quotation marks: in code, an escaped one is inside a string
    r"|&(?:\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
    r"|%(?:25){0,2}(?P<hex>[2-7][0-9A-Fa-f]|0[AaDd9])"  # %3D, and %253D if it was encoded twice
)


@dataclass(frozen=True, slots=True)
class _Resolved:
    r"""A text with its escapes resolved: for "gh\_a", "gh_a" and the indexes 0, 1, 2, 4, 5."""

    text: str
    origins: Sequence[int]
    """The index of each character in the text as written, and the length of that text."""


def _resolve_escapes(source: str) -> _Resolved:
    """Resolve escapes of Markdown, HTML and URLs."""
    if ESCAPE.search(source) is None:
        return _Resolved(source, range(len(source) + 1))
    parts: list[str] = []
    origins = array("L")
    position = 0
    for match in ESCAPE.finditer(source):
        character = match[1] or html.unescape(match[0])
        if match["hex"]:
            character = chr(int(match["hex"], 16))
        if len(character) != 1:  # several characters, or not an entity; credentials contain neither
            continue
        parts += [source[position : match.start()], character]
        origins.extend(range(position, match.start() + 1))
        position = match.end()
    origins.extend(range(position, len(source) + 1))
    return _Resolved("".join([*parts, source[position:]]), origins)


JSON_ESCAPE = (
    r"(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{4})"  # after an escape in a JSON string, a word begins
)
WORD_START = rf"(?:(?<![A-Za-z0-9_])|{JSON_ESCAPE})"  # not inside a word
TOKEN_START = rf"(?:(?<![A-Za-z0-9_-])|{JSON_ESCAPE})"
WORD_END = r"(?![A-Za-z0-9_])"
NO_MORE = r"(?![A-Za-z0-9_-])"


@dataclass(frozen=True, slots=True)
class CredentialForm:
    """A known form of credentials, such as "ghp_" and at least 20 letters and digits."""

    kind: str  # "github-token"
    prefixes: tuple[str, ...]
    pattern: str  # which `re` compiles when a text has a prefix: few texts have one


def _form(kind: str, prefixes: str, rest: str, *, start: str = WORD_START) -> CredentialForm:
    """Return the form of credentials that begin with one of the prefixes, which blanks separate."""
    starts = tuple(prefixes.split())
    return CredentialForm(kind, starts, rf"{start}(?:{'|'.join(map(re.escape, starts))}){rest}")


FORMS = (
    _form("github-token", "github_pat_", r"[A-Za-z0-9_]{20,}+"),
    _form(
        "github-token", "ghp_ gho_ ghu_ ghs_ ghr_", r"[A-Za-z0-9_]{20,}+(?:\.[A-Za-z0-9_-]++){0,2}"
    ),
    _form("github-token", "v1.", rf"[0-9a-f]{{40}}{WORD_END}"),
    _form("gitlab-token", "glpat- gldt- glrt- glcbt- glptt- glsoat-", r"[A-Za-z0-9_-]{20,}+"),
    _form("aws-key", "AKIA ASIA ABIA ACCA", rf"[A-Z0-9]{{16}}{WORD_END}"),
    _form("slack-token", "xox", r"[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}+"),
    _form("slack-token", "xapp-", r"[0-9]-[A-Za-z0-9-]{10,}+"),
    _form(
        "slack-webhook",
        "https://hooks.slack.com/",
        r"(?:services|workflows|triggers)/[A-Za-z0-9_/-]{8,}+",
        start="",
    ),
    CredentialForm(
        "discord-webhook",
        ("/api/webhooks/",),
        r"https://(?:\w{1,9}\.)?discord(?:app)?\.com/api/webhooks/[0-9]{5,25}/[\w-]{20,}+",
    ),
    _form(
        "jwt",
        "eyJ",
        r"[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+){0,3}",
        start=TOKEN_START,
    ),
    _form("anthropic-key", "sk-ant-", r"[A-Za-z0-9_-]{16,}+"),
    _form(
        "openai-key", "sk-proj- sk-svcacct- sk-admin- sk-None- sk-or-v1-", r"[A-Za-z0-9_-]{20,}+"
    ),
    _form("openai-key", "sk-", r"[A-Za-z0-9]{32,}+"),
    _form("google-key", "AIza", rf"[A-Za-z0-9_-]{{35}}{NO_MORE}", start=TOKEN_START),
    _form("google-key", "GOCSPX- ya29.", r"[A-Za-z0-9_-]{20,}+"),
    _form("stripe-key", "sk_live_ sk_test_ rk_live_ rk_test_", r"[A-Za-z0-9]{16,}+"),
    _form("stripe-key", "whsec_", r"[A-Za-z0-9+/=]{24,}+"),
    _form("npm-token", "npm_", r"[A-Za-z0-9]{36,}+"),
    _form("pypi-token", "pypi-", r"[A-Za-z0-9_-]{50,}+"),
    _form("docker-token", "dckr_pat_ dckr_oat_", r"[A-Za-z0-9_-]{20,}+"),
    _form("huggingface-token", "hf_ api_org_", r"[A-Za-z0-9]{30,}+"),
    _form("sendgrid-key", "SG.", r"[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,}+"),
    _form("digitalocean-token", "dop_v1_ doo_v1_ dor_v1_", rf"[0-9a-f]{{64}}{WORD_END}"),
    CredentialForm(
        "telegram-token",
        (":AA",),
        rf"{WORD_START}[0-9]{{8,10}}:AA[A-Za-z0-9_-]{{33}}{NO_MORE}",
    ),
    _form("age-key", "AGE-SECRET-KEY-1", r"[A-Z0-9]{50,}+"),
    _form("vault-token", "hvs. hvb. hvr.", r"[A-Za-z0-9_-]{24,}+"),
    _form("databricks-token", "dapi", rf"[0-9a-f]{{32}}(?:-[0-9])?{WORD_END}"),
    _form("grafana-token", "glsa_", rf"[A-Za-z0-9]{{32}}_[0-9A-Fa-f]{{8}}{WORD_END}"),
    _form("grafana-token", "glc_", r"[A-Za-z0-9+/]{32,}+={0,3}"),
    _form("sentry-token", "sntrys_", r"[A-Za-z0-9+/=_-]{40,}+"),
    _form("sentry-token", "sntryu_", rf"[0-9a-f]{{64}}{WORD_END}"),
    _form("shopify-token", "shpat_ shpss_ shpca_ shppa_", rf"[0-9A-Fa-f]{{32}}{WORD_END}"),
    _form("notion-token", "ntn_", r"[A-Za-z0-9]{40,}+"),
    _form("notion-token", "secret_", rf"(?=[A-Za-z]{{0,42}}[0-9])[A-Za-z0-9]{{43}}{WORD_END}"),
    _form("linear-key", "lin_api_", r"[A-Za-z0-9]{32,}+"),
    _form("figma-token", "figd_", r"[A-Za-z0-9_-]{36,}+"),
    _form("supabase-token", "sbp_", rf"[0-9a-z]{{40,}}+{WORD_END}"),
    _form("atlassian-token", "ATATT3", r"[A-Za-z0-9_=-]{60,}+"),
    _form("postman-key", "PMAK-", rf"[0-9A-Za-z]{{24}}-[0-9A-Za-z]{{34}}{WORD_END}"),
    _form("doppler-token", "dp.pt. dp.ct. dp.sa.", r"[A-Za-z0-9]{40,}+"),
    _form("pulumi-token", "pul-", rf"[0-9a-f]{{40}}{WORD_END}"),
    CredentialForm(
        "terraform-token",
        (".atlasv1.",),
        rf"{WORD_START}[A-Za-z0-9]{{14}}\.atlasv1\.[A-Za-z0-9_=-]{{60,}}+",
    ),
    _form("fly-token", "fo1_", r"[A-Za-z0-9_-]{40,}+"),
    _form("netlify-token", "nfp_", r"[A-Za-z0-9]{36,}+"),
    _form("new-relic-key", "NRAK-", rf"[A-Z0-9]{{27}}{WORD_END}"),
    _form("dynatrace-token", "dt0c01.", rf"[A-Z0-9]{{24}}\.[A-Z0-9]{{64}}{WORD_END}"),
    _form("planetscale-token", "pscale_tkn_ pscale_pw_", r"[A-Za-z0-9_.=-]{32,}+"),
    _form("prefect-key", "pnu_", rf"[A-Za-z0-9]{{36}}{WORD_END}"),
    _form("rubygems-key", "rubygems_", rf"[0-9a-f]{{48}}{WORD_END}"),
    _form("groq-key", "gsk_", r"[A-Za-z0-9]{48,}+"),
    _form("perplexity-key", "pplx-", r"[A-Za-z0-9]{40,}+"),
    _form("xai-key", "xai-", r"[A-Za-z0-9_]{70,}+"),
    _form("tailscale-key", "tskey-", r"[a-z]{3,10}-[A-Za-z0-9]{6,}+-[A-Za-z0-9]{16,}+"),
    _form("mailgun-key", "key-", rf"[0-9a-f]{{32}}{NO_MORE}", start=TOKEN_START),
    _form("square-token", "sq0atp- sq0csp-", r"[A-Za-z0-9_-]{22,}+"),
    _form("square-token", "EAAA", r"[A-Za-z0-9_-]{60}(?![A-Za-z0-9_+/=-])", start=TOKEN_START),
    CredentialForm("azure-storage-key", ("AccountKey=",), r"(?<=AccountKey=)[A-Za-z0-9+/]{86}=="),
    _form("onepassword-token", "ops_eyJ", r"[A-Za-z0-9+/_-]{100,}+={0,3}"),
)
"""The known forms. The older ones, and those of Sentry, Tailscale and Azure, are as their vendors
describe them.

Where vendors tell only the prefix, the rest is from the rules of other scanners: of Vault,
Dynatrace, Fly, New Relic, Perplexity and 1Password from gitleaks; of Figma, Supabase, Netlify,
Groq, xAI and `sq0csp-` from trufflehog; of Databricks, Grafana, Shopify, Notion, Linear, Atlassian,
Postman, Doppler, Pulumi, Terraform, PlanetScale, Prefect, RubyGems, Mailgun and Square from both.
Forms with a shorter prefix than four characters are left out, but `hf_`.

Each match contains one of the form's prefixes. Most texts contain none, and to look for a literal
is a hundred times as fast as to search for a pattern.
"""

PREFIXES = tuple({prefix for form in FORMS for prefix in form.prefixes})
LONG_WORD = re.compile(r"\S{15}")
"""Each match of a form contains one. Most titles contain none."""

URL_CREDENTIALS = re.compile(
    r"""(?<=://)
    # user:password@, up to the last @
    (?: [^\s/?#@:"'<>\[\]{}$]{0,100} : (?![${<\[%*]) [^\s/?#"'<>]{1,300} (?=@)
      | [A-Za-z0-9_-]{20,300} (?=@) )  # token@
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
    r"example|x{6}|[sr]k_test_|(?<=[-_.])your[-_]|/YOUR/"
    r"|eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9l"  # the payload of jwt.io: John Doe
    # of every emulator of Azure Storage
    r"|Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq"
    r"|scott:tiger",  # Oracle's
    re.IGNORECASE,
)
"""Found in a credential that its vendor documents, and in keys that are only good for tests."""
LEAST_PASSWORD_CHARS = 4  # a shorter one is in a test of URLs, and would protect nothing
EXAMPLE_HOST = re.compile(
    r"(?:\A|\.)(?:localhost|127\.0\.0\.1|example|example\.(?:com|org|net)|test|invalid)\Z"
)

AUTHORIZATION = re.compile(
    r"""authorization [\\"'\]]{0,4} [ \t]{0,8} [:=,] [ \t]{0,8} [\\"'`(]{0,4}
        (?:Bearer|Basic|Token|Digest|ApiKey|Negotiate) [ \t]{1,8}
    (?P<secret> [A-Za-z0-9+/=._~:-]{6,}+ )""",
    re.VERBOSE | re.IGNORECASE,
)
BEARER = re.compile(
    rf"{WORD_START}Bearer[ \t]{{1,8}}"
    r"(?P<secret>(?=[A-Za-z+/=._~-]{0,100}[0-9])[A-Za-z0-9+/=._~-]{20,}+)"
)
COOKIE = re.compile(
    r"""
    (?<![A-Za-z0-9_])(?:set-)?cookie[\\"'`\]]{0,4}[ \t]{0,8}:[ \t]{0,8}[\\"'`]{0,4}
      (?P<header> [\w.-]{1,80}=[^\n"'`\\]*+ )
  | (?:session|sess|sid)(?:[_-]?id)?=
      (?P<session> (?=[A-Za-z%._~+/:-]{0,100}[0-9])[A-Za-z0-9%._~+/:=-]{8,}+ )
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Matches the cookies of a header, and a session that a cookie or an address names."""


Span = tuple[int, int, str]  # start, end, kind


def redact(text: str) -> str:
    """Replace everything that looks like a credential by a marker such as
    `[redacted: github-token]`. Idempotent.

    This is for text that is not code: the value after a name such as `token=` is replaced whatever
    it looks like. Commit ids, digests and UUIDs are replaced only there. The text is searched
    twice, as written and with escapes resolved, because `ghp\\_...` is displayed as a token and
    `password%3D...` is decoded.
    """
    return _replace(text, _find_in_text, find_assignments)


def redact_lines(lines: Sequence[str]) -> list[str]:
    """Redact the lines of a text as `redact` does. The number of lines stays: each line of a key
    gets a marker.
    """
    text = "\n".join(lines)
    return _replace(text, _find_in_text, find_assignments, keeps_lines=True).split("\n")


def redact_reply(text: str, code: Sequence[str]) -> str:
    """Redact a text by Claude as `redact` does, but leave what stands in the code that Claude was
    shown.

    `code` is redacted: a value that was hidden from Claude is not in it. Credentials of a known
    form never stay.
    """
    return _replace(_replace(text, _find_forms), _find_in_text, find_assignments, code=code)


def _stands_in(value: str, code: Sequence[str]) -> bool:
    """Return whether a text of `code` has the value, and not as a part of a longer word."""
    whole = re.compile(rf"(?<!\w){re.escape(value)}(?!\w)")
    return any(value in text and whole.search(text) for text in code)


def redact_code(text: str) -> str:
    """Replace credentials of a known form in a patch, a file or a part of one. Idempotent.

    Known forms are private keys, `FORMS`, and passwords and tokens in URLs. `password = "..."`
    stays. The number of lines stays, too: each line of a key gets a marker.
    """
    return _replace(text, _find_in_code, keeps_lines=True)


def list_credentials(text: str) -> list[Span]:
    """Return what `redact_code` hides, but for test keys, placeholders and vendors' examples."""
    return [span for span in _find_spans(text, _find_in_code) if not _is_example(text, *span[:2])]


def _is_example(text: str, start: int, end: int) -> bool:
    if EXAMPLE.search(text, start, end) is not None:
        return True
    in_url = URL_CREDENTIALS_IN_CODE.match(text, start)
    # a token is one on any host
    if in_url is None or next(_find_forms(text[start:end]), None) is not None:
        return False
    password = in_url["password"]
    is_short = password is not None and len(password) < LEAST_PASSWORD_CHARS
    is_dummy = password is not None and (is_placeholder(password) or password == in_url["user"])
    return is_short or is_dummy or EXAMPLE_HOST.search(in_url["host"].casefold()) is not None


def _replace(
    text: str,
    *finders: Callable[[str], Iterator[Span]],
    keeps_lines: bool = False,
    code: Sequence[str] = (),
) -> str:
    for find in finders:
        parts: list[str] = []
        done = 0
        for start, end, kind in _find_spans(text, find):
            if _stands_in(text[start:end], code):
                continue
            marker = f"[redacted: {kind}]"
            parts += [text[done:start], marker]
            if keeps_lines:  # one marker for each further line, behind its number
                parts += [begin + marker for begin in BEGIN_OF_LINE.findall(text, start, end)]
            done = end
        text = "".join([*parts, text[done:]])
    return text


def _find_spans(text: str, find: Callable[[str], Iterator[Span]]) -> list[Span]:
    """Return what is found in the text as written and with escapes resolved, in order; overlapping
    spans are joined.
    """
    spans = list(find(text))
    resolved = _resolve_escapes(text)
    if resolved.text != text:
        origins = resolved.origins
        spans += [(origins[start], origins[end], kind) for start, end, kind in find(resolved.text)]
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
        yield from ((*match.span(), "url-credentials") for match in URL_CREDENTIALS.finditer(text))
    folded = text.casefold()
    if any(name in folded for name in ("cookie", "sess", "sid")):
        for match in COOKIE.finditer(text):
            yield *match.span(match.lastgroup or 0), "cookie"
    if "author" in folded:
        yield from (
            (*match.span("secret"), "authorization") for match in AUTHORIZATION.finditer(text)
        )
    if "Bearer" in text:
        yield from ((*match.span("secret"), "authorization") for match in BEARER.finditer(text))


def _find_in_code(text: str) -> Iterator[Span]:
    yield from _find_forms(text)
    if "://" in text:
        for match in URL_CREDENTIALS_IN_CODE.finditer(text):
            yield match.start(), match.start("host") - 1, "url-credentials"


def _find_forms(text: str) -> Iterator[Span]:
    if "-----BEGIN " in text:
        for key in PRIVATE_KEY.finditer(text):
            if MARKER.fullmatch(key[0]) is None:
                yield from ((start, end, "private-key") for start, end in _spare_headers(key))
    # the usual cases, and faster than the loop
    if LONG_WORD.search(text) is None or not any(map(text.__contains__, PREFIXES)):
        return
    for form in FORMS:
        if any(map(text.__contains__, form.prefixes)):
            yield from ((*match.span(), form.kind) for match in re.finditer(form.pattern, text))


def _spare_headers(key: re.Match[str]) -> Iterator[tuple[int, int]]:
    start = key.start()
    for header in HEADER_IN_KEY.finditer(key.string, start, key.end()):
        if start < header.start():
            yield start, header.start() - 1
        start = header.end()
    if start < key.end():
        yield start, key.end()
