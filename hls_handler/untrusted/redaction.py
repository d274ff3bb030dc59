"""Redaction: `[redacted: KIND]` replaces credentials, found by their form or by a name such as `password=`.

Every pattern takes linear time. An unbounded repetition is possessive (`*+`), can start at one position only, or is
followed by nothing that causes backtracking. A possessive repetition repeats a single character or character class,
because with possessive groups, Python before 3.11.5 (Debian 12 has 3.11.2) loses the end of the match.
"""

from __future__ import annotations

import html
import re
from array import array
from collections.abc import Callable, Iterator, Sequence

# What a quote, string or diff puts before a line.
LINE_PREFIX = r"(?:[^A-Za-z\n]{0,20}|[LR][ ]{1,9}[0-9]{1,9}[ ][-+ ][ ])"
ENCODED = r"[A-Za-z0-9+/=]"
NEWLINES = r"(?:\\{1,4}[nr]){0,4}"  # escaped line ends: a key as a string in code

# Private keys in PEM and OpenPGP armour, also truncated, quoted, in one line or in numbered patches. Text between the
# markers that does not look like a key is not matched, because redacting it could hide code.
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


MARKDOWN_ESCAPE = re.compile(
    r"\\([!#-&(-/:-@\[-_{-~])"  # not quotation marks: in code, an escaped one is inside a string
    r"|&(?:\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
)


def _resolve_markdown(source: str) -> tuple[str, Sequence[int]]:
    r"""Resolve Markdown escapes and HTML entities. Return the text and the index in `source` of each character.

    For "gh\_a", return "gh_a" and the indexes 0, 1, 2, 4, 5. The last index is the length of `source`.
    """
    if MARKDOWN_ESCAPE.search(source) is None:
        return source, range(len(source) + 1)
    parts: list[str] = []
    origins = array("L")
    at = 0
    for found in MARKDOWN_ESCAPE.finditer(source):
        character = found[1] or html.unescape(found[0])
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
    ("jwt", re.compile(rf"{TOKEN_START}eyJ[A-Za-z0-9_-]{{8,}}+\.[A-Za-z0-9_-]{{8,}}+(?:\.[A-Za-z0-9_-]*+){{0,3}}")),
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
"""(kind, pattern) of credentials with a known form such as "ghp_...", from their vendors' documentation."""

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
    """Replace everything that looks like a credential by a marker such as `[redacted: github-token]`. Idempotent.

    Commit ids, digests and UUIDs are only replaced after a name such as `token=`. The text is searched twice, as
    written and with Markdown escapes resolved, because `ghp\\_...` is displayed as a token.
    """
    return _replace_found(_find_assignments, _replace_found(_find_by_pattern, text))


def _replace_found(find: Callable[[str], Iterator[tuple[int, int, str]]], text: str) -> str:
    spans = list(find(text))
    resolved, origins = _resolve_markdown(text)
    if resolved != text:
        spans += [(origins[start], origins[end], kind) for start, end, kind in find(resolved)]
    parts: list[str] = []
    done = 0
    for start, end, kind in sorted(spans, key=lambda span: span[0]):
        if start >= done:  # overlapping spans share one marker
            parts += [text[done:start], f"[redacted: {kind}]"]
        done = max(done, end)
    return "".join([*parts, text[done:]])


def _find_by_pattern(text: str) -> Iterator[tuple[int, int, str]]:
    yield from ((*found.span(), "private-key") for found in PRIVATE_KEY.finditer(text))
    yield from ((*found.span(), "url-credentials") for found in URL_CREDENTIALS.finditer(text))
    for pattern in (AUTHORIZATION, BEARER):
        yield from ((*found.span("secret"), "authorization") for found in pattern.finditer(text))
    for kind, pattern in CREDENTIAL_PATTERNS:
        yield from ((*found.span(), kind) for found in pattern.finditer(text))


# Secrets that follow a name: `password=...`, `"api_key": "..."`, `--token ...`. Calls, types, other names and dummy
# values are not secrets, because reviews of code that mentions passwords would report our markers. In doubtful cases,
# a value with a digit or a symbol is a secret, and a plain word is not.

PASSWORD_NAMES = r"pass(?:word|wd|phrase|code)|pwd|(?<=[_-])pass"  # noqa: S105 (a pattern)
KEY_NAMES = (
    r"(?:api|access|account|private|secret|encryption|signing|master|shared|auth)[_-]?key"
    r"|secret(?:[_-]?access[_-]?key)?|token"
)

ASSIGNMENT = re.compile(
    rf"""
    (?: (?P<name>{PASSWORD_NAMES}|{KEY_NAMES}) [0-9]{{0,3}} \\{{0,3}}["'`]?\]?
        (?P<before>[ \t]{{0,8}}) (?P<sign> => | := | ={{1,3}}(?!>) | :(?!:) ) (?P<after>[ \t]{{0,8}})
      | --(?:[a-z]{{1,20}}-){{0,3}} (?P<flag>{PASSWORD_NAMES}|{KEY_NAMES}) [ ]{{1,4}}(?!-)
      | <(?P<tag>{PASSWORD_NAMES}|{KEY_NAMES})>(?=[^<\n]{{1,300}}</)
    )
    (?P<value>
        (?:[bfru]{{1,2}}(?=["']))?
        (?P<quote>["'`]) (?P<quoted>(?: \\[^\n] | (?!(?P=quote))[^\\\n] )*) (?P<closed>(?P=quote))?
      | (?P<escaped_quote>\\{{1,3}}["'`])
        (?P<escaped>(?: (?!(?P=escaped_quote))[^\n] )*) (?P<escaped_closed>(?P=escaped_quote))?
      | (?P<bare>[^\s"'`<>]{{1,300}}+  # enough to classify, and short enough to scan again if it is rejected
          (?:(?<=\[redacted:)[ ][^\s"'`<>]{{1,300}}+){{0,4}})
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)

DUMMY_VALUE = re.compile(
    r"""[*x.…•_-]{2,} | [<$%{#!&] .* | .*(?: \$\{ | \{\w*\} | \{\{ | %\(\w+\)s | %s ).* | \[redacted.*
      | (?:your|example|changeme|change_me|change-me|placeholder|redacted|dummy|insert|replace).*
      | null | nil | none | true | false | undefined | str | string | bytes | text | varchar | char | bool | boolean
      | int | integer | number | object | any | unknown | never | void | optional | required | inherit | hidden
      | secretstr""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
URL_OR_PATH = re.compile(r"https?://|\.{0,2}/|~/|[A-Za-z]:\\")  # a URL or path may lead to a secret, but is none
DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(?:(?:\.|::|->|\?\.)[A-Za-z_]\w*)+")
CODE_PUNCTUATION = re.compile(r"[()\[\]{},;&|]")
REST_OF_BARE = re.compile(r"[^\s\"'`<>()\[\]{},;&|]*+")
REST_OF_ENVIRONMENT_LINE = re.compile(r"[^\s\"'`<>]*+")
REST_OF_LINE_IS_BLANK = re.compile(r"[ \t]{0,80}(?:\n|\Z)")
SECRET_WORD = re.compile(r"pass|pwd|secret|token|key", re.IGNORECASE)
PASSPHRASE = re.compile(r"[a-z]{3,9}(?: [a-z]{3,9}){3,9}")
OPEN_REDACTION_MARKER = re.compile(r"\[redacted: [a-z-]{0,30}\Z")  # the kind in a marker is not a name for `ASSIGNMENT`

MIN_KEY_CHARS = 8
MIN_WORD_KEY_CHARS = 16  # for a key without a digit or a symbol


def _find_assignments(text: str) -> Iterator[tuple[int, int, str]]:
    at = 0
    while (found := ASSIGNMENT.search(text, at)) is not None:
        group = next(name for name in ("quoted", "escaped", "bare") if found[name] is not None)
        at = found.start(group)  # continue inside the value, which may contain an assignment
        before = text[max(found.start() - 40, 0) : found.start()]
        if text.startswith("]", found.end("name")) and OPEN_REDACTION_MARKER.search(before):
            continue
        count = _bare_secret_length if group == "bare" else _quoted_secret_length
        length = count(found, found[group])
        if length:
            yield at, at + length, _kind(found)
            at += length


def _kind(found: re.Match[str]) -> str:
    name = str(found["name"] or found["flag"] or found["tag"]).casefold().replace("_", "-")
    return "password" if name.startswith("pass") or name == "pwd" else name


def _quoted_secret_length(found: re.Match[str], value: str) -> int:
    closed = (found["closed"] or found["escaped_closed"]) is not None
    if DUMMY_VALUE.fullmatch(value) or URL_OR_PATH.match(value):
        return 0
    kind = _kind(found)
    if any(character.isspace() for character in value):
        is_secret = closed and kind == "password" and PASSPHRASE.fullmatch(value) is not None
    elif kind == "password":
        names_a_password = re.search("passw|pwd", value, re.IGNORECASE)
        is_secret = len(value) >= 3 and (_has_digit_or_symbol(value) or not names_a_password)
    else:
        is_secret = _is_key(value) or (kind == "secret" and len(value) >= 6 and _is_word(value))
    return len(value) if is_secret else 0


def _bare_secret_length(found: re.Match[str], value: str) -> int:
    is_environment_line = _is_environment_line(found)
    cut = None if is_environment_line else CODE_PUNCTUATION.search(value)
    core, mark = (value[: cut.start()], cut[0]) if cut else (value, "")
    core = core.rstrip(".:!?")
    if not core or mark in {"(", "[", "{"} or DUMMY_VALUE.fullmatch(core) or URL_OR_PATH.match(core):
        return 0
    is_listed = mark in {";", "&"} and _has_plain_sign(found)  # user=x;password=y; or ?user=x&password=y&
    names_a_variable = mark and core.isidentifier() and not _is_key(core) and not is_listed
    if names_a_variable or DOTTED_NAME.fullmatch(core):
        return 0
    if _kind(found) == "password":
        is_secret = len(core) >= 4 if core.isdigit() else _has_digit_or_symbol(core) or _is_plain_setting(found, core)
    else:
        is_secret = _is_key(core) or (is_environment_line and len(core) >= MIN_KEY_CHARS and _is_word(core))
    if not is_secret:
        return 0
    rest = (REST_OF_ENVIRONMENT_LINE if is_environment_line else REST_OF_BARE).match(found.string, found.end())
    return rest.end() - found.start("bare") if rest and rest[0] and not cut else len(core)


def _is_key(value: str) -> bool:
    if len(value) < MIN_KEY_CHARS or value.isdigit():
        return False
    return _has_digit_or_symbol(value) or (len(value) >= MIN_WORD_KEY_CHARS and _is_word(value))


def _has_digit_or_symbol(value: str) -> bool:
    return any(character.isdigit() or not (character.isalnum() or character in "_-.:") for character in value)


def _is_word(value: str) -> bool:
    return value.isalpha() and not SECRET_WORD.search(value)


def _has_plain_sign(found: re.Match[str]) -> bool:
    return found["sign"] == "=" and not found["before"] and not found["after"]


def _is_environment_line(found: re.Match[str]) -> bool:
    return _has_plain_sign(found) and found["name"].isupper()  # DB_PASSWORD=...


def _is_plain_setting(found: re.Match[str], value: str) -> bool:
    """Return True if the value is a word in a line such as `password=word`, `password: word` or `DB_PASSWORD=word`."""
    if not _is_word(value):
        return False
    if _is_environment_line(found):
        return True
    if not REST_OF_LINE_IS_BLANK.match(found.string, found.end()):
        return False
    before = found.string[max(found.start() - 80, 0) : found.start()].rpartition("\n")[2]
    if found["sign"] == "=":
        return not before and _has_plain_sign(found)
    return found["sign"] == ":" and value.islower() and re.fullmatch(r"[\s\w-]*", before) is not None
