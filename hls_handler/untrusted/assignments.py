"""Secrets that follow a name: `password=...`, `"api_key": "..."`, `--token ...`, `**Password:** ...`.

Calls, types, other names and dummy values are not secrets, because reviews of code that mentions passwords would report
our markers. In doubtful cases, a value with a digit or a symbol is a secret, and a plain word is not. Words such as
correct-horse-battery are a password where they are neither code nor prose: `_is_made_of_words`.

Every pattern takes linear time (`redaction.py`), and each match examines at most a few hundred characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

PASSWORD_NAMES = r"pass(?:word|wd|phrase|code)|pwd|(?<![A-Za-z0-9])pass"  # noqa: S105 (a pattern)
KEY_NAMES = (
    r"(?:api|access|account|private|secret|encryption|signing|master|shared|auth)[_-]?key"
    r"|secret(?:[_-]?access[_-]?key)?|token"
)
PARTS_OF_NAMES = ("pass", "pwd", "key", "secret", "token")
"""Each name contains one of these. To look for them is much faster than to search for an assignment."""

# `value:` after `name: DB_PASSWORD`, in the next line (which may be one of a patch) or after a comma
ENTRY_VALUE = r"""
    (?: ,?[ \t]{0,8}\n (?:[LR][ ]{1,9}[0-9]{1,9}[ ][-+ ])? [ \t>+-]{0,80} | ,[ \t]{0,8} ) ["']?value["']?[ \t]{0,4}:
"""

ASSIGNMENT = re.compile(
    rf"""
    (?: (?P<name>{PASSWORD_NAMES}|{KEY_NAMES}) [0-9]{{0,3}} \\{{0,3}}["'`]?\]? (?:[*_]{{1,3}}|</[a-z]{{1,10}}>)?
        (?P<before>[ \t]{{0,8}}) (?P<sign> => | := | ={{1,3}}(?!>) | :(?!:) | \|(?!\|) | (?P<entry>{ENTRY_VALUE}) )
        (?P<after>(?:[*_]{{1,3}}(?=[ \t])|</[a-z]{{1,10}}>)?[ \t]{{0,8}})
      | (?-i:ENV|setx)[ ]{{1,4}}[A-Z0-9_]{{0,60}}?
        (?P<variable>{PASSWORD_NAMES}|{KEY_NAMES})[0-9]{{0,3}}[ ]{{1,4}}(?!=)
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
      | (?:changeme|change_me|change-me|placeholder|redacted|dummy).*
      | (?:your|example|insert|replace)(?:[\W_].*|[a-z]*)
      | null | nil | none | true | false | undefined | str | string | bytes | text | varchar | char | bool | boolean
      | int | integer | number | object | any | unknown | never | void | optional | required | inherit | hidden
      | secretstr""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
URL_OR_PATH = re.compile(r"https?://|\.{0,2}/|~/|[A-Za-z]:\\")  # a URL or path may lead to a secret, but is none
DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(?:(?:\.|::|->|\?\.)[A-Za-z_]\w*)+")
CODE_PUNCTUATION, PROSE_PUNCTUATION = re.compile(r"[()\[\]{},;&|]"), re.compile(r"[()\[\]{},;|]")
REST_OF_BARE = re.compile(r"[^\s\"'`<>()\[\]{},;&|]*+")
REST_OF_ENVIRONMENT_LINE = re.compile(r"[^\s\"'`<>]*+")
REST_OF_LINE_IS_BLANK = re.compile(r"[ \t]{0,80}(?:\n|\Z)")
OPTION = re.compile(r"--(?:[a-z]{1,20}-){0,3}\Z")
OPTION_FOLLOWS = re.compile(r"[ \t]{1,80}-")
START_OF_SETTING = re.compile(r"[\s\w+>|-]*+")  # indentation, a list item, a quote, the marks of a patch
START_OF_LINE = re.compile(r"(?:[LR] {1,9}[0-9]{1,9} [-+ ] |[-+]|> ?)?")
START_OF_PROPERTY = re.compile(  # "spring.datasource."
    START_OF_LINE.pattern + r"(?:(?!(?:self|this|cls)\.)[a-z][\w-]{0,40}(?:\.[\w-]{1,40}){0,8}\.[\w-]{0,40})?"
)
START_OF_TABLE_ROW = re.compile(START_OF_LINE.pattern + r"[ \t]{0,80}\|")
END_OF_CELL = re.compile(r"[*_`]{0,4}[ \t]{0,80}\|")
NAME_OF_ENTRY = re.compile(r"""\bname["']?[ \t]{0,4}:[ \t]{0,4}["']?[\w.-]*+\Z""")
SECRET_WORD = re.compile(  # in a word of a name such as db_password; not in "monkey"
    r"(?i:passw|pwd|secret|token|credential)|\b(?i:(?:by)?pass|(?:access|account|api|private|public)?keys?\b)"
    r"|Key(?![a-z])"
)
WORD_SEPARATOR = re.compile(r"[-_.+]")  # in a query string, "+" is a space
CODE_WORDS = frozenset(
    """
    about account actual address after all and any app apps arg args argument arguments array attr attribute auth
    automatic based because before blank body bool boolean both builtin but bytes call cannot case cert char check class
    client cmd code command common component computed confirm confirmation config configuration const content context
    cookie create created current custom data database default defined delete deprecated derived described description
    details disabled display does driver dummy element email empty enabled encoded encrypted end entered entry enum env
    environment equal error errors event example examples exceeded existing exists expired expression external factory
    failed false field fields file files filled first flag following for forgot forgotten form format from func function
    generated get given global group guide had handler hand has hash hashed have header help here hidden host how input
    insert instance instead int integer interactive internal invalid item its json key kind label last length less let
    level like line link list literal local login long lookup made mail managed manual many map masked match max maybe
    member message method min minimum mismatch missing mode model more multi must name named names new next nil node non
    none not nothing null number object off old omitted one only open option optional options other our out output
    override own page param parameter params part parts path pattern per plain policy present private prompt properties
    property props protected protocol provided provider public query random raw read readonly record ref reference regex
    related remote request required res reset resolved response result results return role row rule same sample save
    schema script section see self sent serialized server service session set setting settings setup shared short should
    shown single size some source spec specific state status step still stdin store stored str string strings strong
    style such supplied support syntax system tag task template temp temporary text than that the their them then there
    these they third this those through time title tls together too true two type typed types undefined unique unknown
    unset until update updated upper url usage use used user username users uses using valid validate validated
    validation validator value values var variable variables vault version via view weak well when where which while
    whole whose will with without word words write wrong yet you your
    """.split()  # noqa: SIM905 (a list would be 400 lines)
)
"""Words of names, types and prose: a value that contains them is probably no password."""
PASSPHRASE = re.compile(r"[a-z]{3,9}(?: [a-z]{3,9}){3,9}")
OPEN_REDACTION_MARKER = re.compile(r"\[redacted: [a-z-]{0,30}\Z")  # the kind in a marker is not a name for `ASSIGNMENT`

MIN_KEY_CHARS = 8
MIN_WORD_KEY_CHARS = 16  # for a key without a digit or a symbol


def find_assignments(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and kind of each secret that follows a name. For "token=ab12cd34ef", yield (6, 16, "token")."""
    folded = text.casefold()
    if not any(part in folded for part in PARTS_OF_NAMES):
        return
    at = 0
    while (found := ASSIGNMENT.search(text, at)) is not None:
        group = next(name for name in ("quoted", "escaped", "bare") if found[name] is not None)
        at = found.start(group)  # continue inside the value, which may contain an assignment
        before = text[max(found.start() - 40, 0) : found.start()]
        if text.startswith("]", found.end("name")) and OPEN_REDACTION_MARKER.search(before):
            continue
        count = _bare_secret_length if group == "bare" else _quoted_secret_length
        length = count(found, found[group]) if _is_in_place(found) else 0
        if length:
            yield at, at + length, _kind(found)
            at += length


def _kind(found: re.Match[str]) -> str:
    name = str(found["name"] or found["variable"] or found["flag"] or found["tag"]).casefold().replace("_", "-")
    return "password" if name.startswith("pass") or name == "pwd" else name


def _is_in_place(found: re.Match[str]) -> bool:
    """Return False for a form that is only an assignment at one place of a line, if it is somewhere else."""
    if found["variable"]:  # ENV and setx
        is_last = REST_OF_LINE_IS_BLANK.match(found.string, found.end()) is not None
        return is_last and START_OF_LINE.fullmatch(_line_before(found)) is not None
    if found["entry"]:
        return NAME_OF_ENTRY.search(_line_before(found)) is not None
    if found["sign"] == "|":
        bare = found["bare"]
        end = found.end("closed") if bare is None else found.start("bare") + len(bare.partition("|")[0])
        is_row = START_OF_TABLE_ROW.match(_line_before(found)) is not None
        return is_row and end > 0 and END_OF_CELL.match(found.string, end) is not None
    return True


def _line_before(found: re.Match[str]) -> str:
    return found.string[max(found.start() - 80, 0) : found.start()].rpartition("\n")[2]


def _quoted_secret_length(found: re.Match[str], value: str) -> int:
    closed = (found["closed"] or found["escaped_closed"]) is not None
    if DUMMY_VALUE.fullmatch(value) or URL_OR_PATH.match(value):
        return 0
    kind = _kind(found)
    if _needs_proof(found):
        return len(value) if _is_unmistakable(value, min_words=3 if found["sign"] == "|" else 1) else 0
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
    is_prose = found["sign"] == ":" and found["after"] != ""
    cut = None if is_environment_line else (PROSE_PUNCTUATION if is_prose else CODE_PUNCTUATION).search(value)
    core, mark = (value[: cut.start()], cut[0]) if cut else (value, "")
    core = core.rstrip(".:!?")
    plain = core.strip("*_~") if core[:1] in {"*", "_", "~"} else core  # without emphasis
    if not plain or mark in {"(", "[", "{"} or DUMMY_VALUE.fullmatch(plain) or URL_OR_PATH.match(plain):
        return 0
    if _needs_proof(found):
        return len(core) if _is_unmistakable(plain, min_words=3) else 0
    is_listed = mark in {";", "&"} and _has_plain_sign(found)  # user=x;password=y; or ?user=x&password=y&
    kind = _kind(found)
    is_pair = found["sign"] == ":" and not is_prose and mark == "," and _is_long_phrase(plain)  # password:a_b_c,
    names_a_variable = mark and plain.isidentifier() and not _is_key(plain) and not is_listed and not is_pair
    names_an_attribute = DOTTED_NAME.fullmatch(plain) and not (is_environment_line and kind == "password")
    if names_a_variable or names_an_attribute:
        return 0
    if kind == "password" and plain.isdigit():
        is_secret = len(plain) >= 4
    elif kind == "password":
        is_secret = _has_digit_or_symbol(plain.replace("+", "-")) or _is_made_of_words(found, plain)
    elif is_environment_line and len(plain) >= MIN_KEY_CHARS:
        is_phrase = kind.startswith("secret") and _is_phrase(WORD_SEPARATOR.split(plain))
        is_secret = _is_key(plain) or _is_word(plain) or is_phrase
    else:
        is_secret = _is_key(plain) or (_names_a_secret(found, kind) and _is_long_phrase(plain))
    if not is_secret:
        return 0
    rest = (REST_OF_ENVIRONMENT_LINE if is_environment_line else REST_OF_BARE).match(found.string, found.end())
    return rest.end() - found.start("bare") if rest and rest[0] and not cut else len(core)


def _needs_proof(found: re.Match[str]) -> bool:
    """Return True for a cell of a table and for the name "pass", because most of these are no credentials."""
    return found["sign"] == "|" or ((found["name"] or "").casefold() == "pass" and not _is_prefixed(found))


def _is_unmistakable(value: str, *, min_words: int) -> bool:
    if len(value) < MIN_KEY_CHARS:
        return False
    is_mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value)) and not {"_", "/", " "}.intersection(value)
    return is_mixed or _is_long_phrase(value, min_words=min_words)


def _names_a_secret(found: re.Match[str], kind: str) -> bool:
    """Return True for "client_secret" and "secret_key"; the value of "secret" may be the name of a secret."""
    return kind.startswith("secret") and (kind != "secret" or _is_prefixed(found))


def _is_prefixed(found: re.Match[str]) -> bool:
    return found.string[max(found.start() - 1, 0) : found.start()] in ("-", "_")


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
    """Return True for `DB_PASSWORD=...`, `ENV DB_PASSWORD ...`, and `value: ...` after `name: DB_PASSWORD`."""
    if found["variable"]:
        return True
    return (_has_plain_sign(found) or found["entry"] is not None) and found["name"].isupper()


def _is_made_of_words(found: re.Match[str], value: str) -> bool:
    """Return True if the value is a word, or words such as correct-horse-battery, in the place of a password.

    Few words may also be a variable, a type or prose, so fewer places count for them.
    """
    words = WORD_SEPARATOR.split(value)
    if _is_environment_line(found):
        return all(map(_is_word, words)) and not all(word.casefold() in CODE_WORDS for word in words)
    if not _is_phrase(words) or (len(words) > 1 and value.isupper()):  # FIRST_SECOND is a constant
        return False
    if len(words) > 2:
        return True
    before = _line_before(found)
    is_last = REST_OF_LINE_IS_BLANK.match(found.string, found.end()) is not None
    if len(words) == 1 and found["flag"]:
        return OPTION_FOLLOWS.match(found.string, found.end()) is not None
    if len(words) == 1 and found["sign"] == "=":
        starts_line = is_last and START_OF_PROPERTY.fullmatch(before) is not None
        is_listed = before.endswith((";", "&", "?"))
        return _has_plain_sign(found) and (starts_line or is_listed or OPTION.search(before) is not None)
    if found["flag"] or _has_plain_sign(found):
        return True
    is_setting = is_last and START_OF_SETTING.fullmatch(before) is not None
    return is_setting and ((found["sign"] == ":" and value.islower()) or "-" in value)


def _is_long_phrase(value: str, *, min_words: int = 3) -> bool:
    words = WORD_SEPARATOR.split(value)
    return len(words) >= min_words and _is_phrase(words) and not value.isupper()


def _is_phrase(words: list[str]) -> bool:
    """Return True for words of three letters or more, of which at most a quarter are typical of code or prose."""
    code_words = sum(word.casefold() in CODE_WORDS for word in words)
    return all(len(word) > 2 and _is_word(word) for word in words) and code_words * 4 <= len(words)
