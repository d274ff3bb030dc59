"""Reads the attributes `linguist-generated` and `linguist-vendored` of a `.gitattributes` file, as git does.

https://docs.github.com/en/repositories/working-with-files/managing-files/customizing-how-changed-files-appear-on-github
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, cast, get_args

from hls_handler.settings.values import match_items

Attribute = Literal["generated", "vendored"]
State = tuple[bytes, bytes | bool | None]  # b"linguist-generated", True; None: unspecified by `!`
Item = frozenset[int] | None  # the bytes that match; None is a star

NAMES: Mapping[bytes, Attribute] = {f"linguist-{name}".encode(): cast(Attribute, name) for name in get_args(Attribute)}
VALUES: Mapping[object, bool] = {True: True, False: False, b"true": True, b"false": False}
MAX_RULES = 500  # lines that set one of the attributes, or a macro; later ones are ignored
MAX_LINE_BYTES = 2048  # git ignores longer lines

BLANKS = b" \t\r"
MACRO = b"[attr]"
STATE = re.compile(rb"([-!]?)([A-Za-z0-9_.][-A-Za-z0-9_.]*)(?:=(.*))?", re.DOTALL)
QUOTED = re.compile(rb'"((?:[^"\\]|\\(?:[abfnrtv\\"]|[0-3][0-7]{2}))*)"')
ESCAPE = re.compile(rb"\\([0-3][0-7]{2}|.)", re.DOTALL)
ESCAPES = dict(zip(b"abfnrtv", b"\a\b\f\n\r\t\v", strict=True))

# `[!a-z[:digit:]]` is a set; its first member may be `]`.
ITEM = re.compile(
    rb"\\.|\[(?P<not>[!^]?+)(?P<set>(?>\\.|\[:[^\]]*:\]|[^\\])(?>\\.|\[:[^\]]*:\]|[^\]\\])*)\]|[^\\\[]|(?P<broken>.)",
    re.DOTALL,
)
MEMBER = re.compile(rb"\[:([^\]]*):\]|(\\?.)(?:-(?!\])(\\?.))?", re.DOTALL)
STAR: Item = None
FOLDERS = (STAR, STAR)  # a part `**`: any number of folders
ANY_BYTE = frozenset(range(256))
CLASSES = {
    b"alpha": string.ascii_letters,
    b"alnum": string.ascii_letters + string.digits,
    b"digit": string.digits,
    b"lower": string.ascii_lowercase,
    b"upper": string.ascii_uppercase,
    b"xdigit": string.hexdigits,
    b"punct": string.punctuation,
    b"space": string.whitespace,
}


@dataclass(frozen=True, slots=True)
class Rule:
    parts: tuple[tuple[Item, ...], ...]  # of the pattern, one for each folder and the last for the name
    states: tuple[State, ...]


@dataclass(frozen=True, slots=True)
class LinguistAttributes:
    rules: tuple[Rule, ...] = ()
    macros: Mapping[bytes, tuple[State, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def find(self, path: str) -> Mapping[Attribute, bool]:
        """Return the attributes that are set for a file to true or false."""
        parts, states = path.encode(errors="surrogatepass").split(b"/"), dict[bytes, object]()
        for rule in reversed(self.rules):
            if match_items(rule.parts, parts, any_number=FOLDERS, item_matches=_match_name):
                self._add(states, rule.states)
        values = {attribute: VALUES.get(states.get(name)) for name, attribute in NAMES.items()}
        return {attribute: value for attribute, value in values.items() if value is not None}

    def _add(self, states: dict[bytes, object], added: tuple[State, ...]) -> None:
        """Add the states of a line and of its macros. The last one that git reads wins, so lines come in reverse."""
        for name, value in reversed(added):
            if name not in states:
                states[name] = value
                if value is True:
                    self._add(states, self.macros.get(name, ()))


NO_ATTRIBUTES = LinguistAttributes()


def parse_attributes(text: str) -> LinguistAttributes:
    """Parse the text of a `.gitattributes` of the root folder. Lines that git ignores are ignored.

    https://git-scm.com/docs/gitattributes
    """
    raw = text.removeprefix("\ufeff").encode(errors="surrogatepass")
    lines = [parsed for line in raw.split(b"\n") if (parsed := _parse_line(line)) is not None]
    names = NAMES.keys() | {pattern.removeprefix(MACRO) for pattern, _ in lines if _is_macro(pattern)}
    relevant = ((pattern, tuple(state for state in states if state[0] in names)) for pattern, states in lines)
    used = [(pattern, states) for pattern, states in relevant if states][:MAX_RULES]
    rules = (
        Rule(parts, states)
        for pattern, states in used
        if not _is_macro(pattern) and (parts := _parse_pattern(pattern)) is not None
    )
    macros = {pattern.removeprefix(MACRO): states for pattern, states in used if _is_macro(pattern)}
    return LinguistAttributes(tuple(rules), MappingProxyType(macros))


def _is_macro(pattern: bytes) -> bool:
    return pattern.startswith(MACRO) and pattern != MACRO


def _parse_line(line: bytes) -> tuple[bytes, tuple[State, ...]] | None:
    """Return the pattern, or `[attr]` and the name of a macro, and the states; None for a line that git ignores."""
    text = line.strip(BLANKS)
    if not text or text.startswith(b"#") or len(line) >= MAX_LINE_BYTES:
        return None
    quoted = QUOTED.match(text)
    if quoted is not None:
        pattern, rest = ESCAPE.sub(_unescape, quoted[1]), text[quoted.end() :]
    else:
        pattern, *others = re.split(rb"[ \t\r]+", text, maxsplit=1)
        rest = b"".join(others)
    found = [STATE.fullmatch(word) for word in re.split(rb"[ \t\r]+", rest) if word]
    states = tuple(_parse_state(one) for one in found if one is not None)
    is_invalid = len(states) < len(found) or pattern.startswith(b"!")
    return None if is_invalid else (pattern, states)


def _unescape(found: re.Match[bytes]) -> bytes:
    escaped = found[1]
    return bytes([int(escaped, 8)]) if len(escaped) > 1 else bytes([ESCAPES.get(escaped[0], escaped[0])])


def _parse_state(found: re.Match[bytes]) -> State:
    sign, name, value = found.groups()
    if sign:
        return name, False if sign == b"-" else None
    return name, True if value is None else value


def _parse_pattern(pattern: bytes) -> tuple[tuple[Item, ...], ...] | None:
    """Return the parts of a pattern; None if it matches no file."""
    if pattern.endswith(b"/"):  # only folders, which have no attributes
        return None
    parts: list[list[Item]] = [[]]
    try:
        for found in ITEM.finditer(pattern):
            if found[0].endswith(b"/") and found["set"] is None:
                parts.append([])
            else:
                parts[-1].append(_parse_item(found))
    except (IndexError, KeyError):  # a bracket that is not closed, an unknown class, or a backslash at the end
        return None
    whole = [FOLDERS if len(part) > 1 and set(part) == {STAR} else tuple(part) for part in parts]
    if b"/" not in pattern:
        return (FOLDERS, tuple(parts[0]))
    after = ((STAR,),) if whole[-1] == FOLDERS else ()
    return (*(whole if parts[0] else whole[1:]), *after)  # it may begin with /


def _parse_item(found: re.Match[bytes]) -> Item:
    """Raises `IndexError` or `KeyError` if the item is not valid."""
    if found["set"] is not None:
        members = set[int]()
        for name, first, last in MEMBER.findall(found["set"]):
            # git compares with the first byte before it reads the range, so `[b-a]` matches b
            members.update(CLASSES[name].encode() if name else (first[-1], *range(first[-1], (last or first)[-1] + 1)))
        return ANY_BYTE - members if found["not"] else frozenset(members)
    if found["broken"] is not None:
        raise IndexError
    return STAR if found[0] == b"*" else ANY_BYTE if found[0] == b"?" else frozenset(found[0][-1:])


def _match_name(pattern: tuple[Item, ...], name: bytes) -> bool:
    return match_items(
        pattern, name, any_number=STAR, item_matches=lambda wanted, found: wanted is not None and found in wanted
    )
