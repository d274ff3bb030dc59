"""References of a comment to issues, pull requests and commits that its conversation does not
contain.

GitHub shows "mentioned this" on each issue and pull request that a comment refers to by `#5`,
`GH-5`, `owner/repo#5` or a URL, but not for a link to redirect.github.com. On other hosts there is
no such address, so the reference is no link.

https://docs.github.com: "Autolinked references and URLs".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from hls_handler.untrusted.cleaning import ZERO_WIDTH_SPACE, clean

GITHUB = "https://github.com"
REDIRECT = "https://redirect.github.com"

OWNER = "[A-Za-z0-9][A-Za-z0-9-]*+(?:_[A-Za-z0-9]++)?"
SHORTHAND = (
    rf"(?:(?:(?<![A-Za-z0-9./@-]){OWNER}/[\w.-]++)?\\?\#|(?<![A-Za-z0-9])GH-)"
    r"[0-9]++(?![A-Za-z0-9])"
)
"""Pattern of `#5`, `GH-5` and `owner/repo#5`, also of `\\#5`, for `re.VERBOSE` and
`re.IGNORECASE`.
"""

_SHORTHAND = re.compile(SHORTHAND, re.VERBOSE | re.IGNORECASE)
_SIGN = re.compile(r"#|GH-(?=[0-9])", re.IGNORECASE)  # an owner may be called GH-5, too
_WORD_END = re.compile(r"[A-Za-z0-9@]")
_CODE = re.compile(
    r"^[ \t>]*(`{3,}|~{3,}).*?(?:^[ \t>]*\1|\Z)|(`++)[^`\n]++\2", re.MULTILINE | re.DOTALL
)
MAX_DIGITS = 6  # longer numbers are no issues


@dataclass(frozen=True)
class References:
    """The references that a conversation contains, and how its comment shows others."""

    repository: str  # "octo/shop"
    web_url: str = GITHUB  # without the repository
    texts: tuple[str, ...] = ()  # of the conversation
    self_references: frozenset[str] = (
        frozenset()
    )  # the conversation itself, and its commit: "octo/shop#7"
    is_link_text: bool = False  # True: a template has made the text a link

    def rewrite(self, match: re.Match[str], *, in_link: bool) -> str | None:
        """Return the Markdown for a reference; None if `found` is no reference, or if the
        conversation contains it.

        `found` is a shorthand (group "reference"), a URL, a URL in angles, or the end of a link:
        "](https://...)". `in_link` means that `found` is in the text of a link.
        """
        if match.lastgroup == "reference":
            return self._rewrite_shorthand(match, in_link=in_link)
        url = self._find_foreign(match[0])
        if url is None:
            return None
        if _is_github(url):
            return self.redirect(match[0])
        return _show_as_code(match, url.end("open"))

    def redirect(self, text: str) -> str:
        """Return a URL, or the end of a link, with the address that leaves no back-link, if GitHub
        has one.
        """
        url = self._find_foreign(text)
        if url is None or not _is_github(url):
            return text
        return f"{url['open']}{REDIRECT}{text[url.start('path') :]}"

    def break_shorthand(self, match: re.Match[str]) -> str:
        """Return a shorthand so that GitHub does not link it, unless the conversation contains
        it.
        """
        if _key(*self._split(match)) in self.known and _is_separate(match):
            return match[0]
        return _SIGN.sub(rf"\g<0>{ZERO_WIDTH_SPACE}", match[0].replace("\\", ""))

    @cached_property
    def known(self) -> frozenset[str]:
        links = set(self.self_references)
        for text in self.texts:
            links.update(self._find(_CODE.sub(" ", clean(text))))
        return frozenset(links)

    def _find(self, text: str) -> Iterator[str]:
        for match in _SHORTHAND.finditer(text):
            if _is_separate(match):
                yield _key(*self._split(match))
        yield from (_key(url["repository"], url["name"]) for url in self._url.finditer(text))

    def _find_foreign(self, text: str) -> re.Match[str] | None:
        url = self._url.match(text)
        if url is None or _key(url["repository"], url["name"]) in self.known:
            return None
        return url

    @cached_property
    def _url(self) -> re.Pattern[str]:
        host = f"(?P<host>github\\.com|{re.escape(self.web_url.partition('://')[2])})"
        kind = "issues|pulls?|discussions|commits?"
        path = rf"(?P<path>/(?P<repository>[\w.-]+/[\w.-]+)/(?:{kind})/(?P<name>\w+))"
        opening = r"(?P<open>\]\([ \t]{0,9}|<|)"
        return re.compile(rf"{opening}(?:https?://(?:www\.)?|www\.){host}{path}", re.IGNORECASE)

    def _rewrite_shorthand(self, match: re.Match[str], *, in_link: bool) -> str | None:
        broken = self.break_shorthand(match)
        repository, number = self._split(match)
        is_issue = _is_separate(match) and len(number) <= MAX_DIGITS and not number.startswith("0")
        if broken == match[0] or not is_issue:
            return broken
        if in_link or self.is_link_text or self.web_url != GITHUB:
            return broken
        text = broken.replace(ZERO_WIDTH_SPACE, "")
        link = f"[{text}]({REDIRECT}/{repository}/issues/{number})"
        if match.string[match.start() - 1 : match.start()] in ("!", "\\"):
            return f"{ZERO_WIDTH_SPACE}{link}"
        return link

    def _split(self, match: re.Match[str]) -> tuple[str, str]:
        """Return ("octo/shop", "5"); without an owner, the repository is that of the
        conversation.
        """
        sign = "#" if "#" in match[0] else "-"
        repository, _, number = match[0].replace("\\", "").rpartition(sign)
        if "/" not in repository:
            repository = self.repository
        return repository, number


def _key(repository: str, name: str) -> str:
    return f"{repository}#{name}".lower()


def _is_github(url: re.Match[str]) -> bool:
    return url["host"].lower() == "github.com"


def _is_separate(match: re.Match[str]) -> bool:
    """Return False for a number behind a word, such as "C#7": GitHub may read it, but means another
    repository.
    """
    if match.start() == 0:
        return True
    return _WORD_END.match(match.string, match.start() - 1) is None


def _show_as_code(match: re.Match[str], start: int) -> str:
    """Return a URL, which begins at `start` of `found`, as code: "`https://...`", or "]
    (`https://...`)" for a link.
    """
    text = match[0][start:].split()[0]
    if match[0].startswith("]"):
        return f"] (`{text.removesuffix(')')}`)"
    url = text.rstrip(">.,;:?")
    after = text[len(url) :].strip(">")
    code = f"`{url}`{after}"
    line = match.string
    if line[match.start() - 1 : match.start()] == "`":
        code = f"{ZERO_WIDTH_SPACE}{code}"
    if not after and line.startswith("`", match.end()):
        code += ZERO_WIDTH_SPACE
    return code
