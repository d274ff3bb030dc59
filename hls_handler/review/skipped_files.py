"""Decides which changed files no prompt shows, and which of these need no review: by size, name,
and the attributes `linguist-generated` and `linguist-vendored` of `.gitattributes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from hls_handler.github.values import Blob, ChangedFile
from hls_handler.review.patches import Patch, parse_patch
from hls_handler.settings.path_globs import ANY_FOLDERS, PathFilter, match_parts
from hls_handler.untrusted.redaction import redact

Attribute = Literal["generated", "vendored"]

NAMES: Mapping[str, Attribute] = {f"linguist-{name}": name for name in get_args(Attribute)}
SIGNS: Mapping[str, bool | None] = {"-": False, "!": None}  # None: as if no line had set it
VALUES: Mapping[str | None, bool] = {None: True, "true": True, "false": False}
STATE = re.compile(r"([-!]?)([A-Za-z0-9_.][-A-Za-z0-9_.]*)(?:=(.*))?")
BLANKS = re.compile(r"[ \t\r]+")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t\r]*(.*)')
STARS = re.compile(r"(?<![^/])\*{2,}(?![^/])")  # for git, `***` matches any folders as `**` does
MACRO = "[attr]"
MAX_RULES = 500  # lines that set one of the attributes; later ones are ignored
MAX_LINE_BYTES = 2048  # git ignores longer lines

UNREAD = re.compile(r'[][\\"?]')
"""Matches a pattern that HLS does not read as git does: sets, escapes, and `?` for one byte."""

WIDENED = re.compile(r"\[[^]]+\]|\\(?:[0-7]{3}|.)|\?")
"""Matches parts of such a pattern for which a star also matches what they match."""


@dataclass(frozen=True, slots=True)
class AttributeRule:
    parts: Sequence[str]  # of the pattern, one for each folder and the last for the name
    states: Mapping[Attribute, bool | None]


@dataclass(frozen=True, slots=True)
class LinguistAttributes:
    rules: tuple[AttributeRule, ...] = ()

    def find(self, path: str) -> Mapping[Attribute, bool]:
        """Return the attributes that are set for a file to true or false."""
        parts = path.split("/")
        values = dict[Attribute, bool | None]()
        for rule in self.rules:
            if match_parts(rule.parts, parts):
                values.update(rule.states)
        return {attribute: value for attribute, value in values.items() if value is not None}


NO_ATTRIBUTES = LinguistAttributes()


def parse_attributes(text: str) -> LinguistAttributes:
    """Parse the text of a `.gitattributes` of the root folder.

    A line with a pattern of `UNREAD` that sets an attribute is skipped, as is a macro that does. If
    it unsets one, it counts for all files that it may match: at worst, more files are read.
    https://git-scm.com/docs/gitattributes
    """
    lines = [_parse_line(line) for line in text.removeprefix("\ufeff").split("\n")]
    macros: dict[str, dict[Attribute, bool | None]] = {}
    for line in lines:
        if line.pattern.startswith(MACRO):
            unset = _find_unset(_parse_states(line.words))
            macros.setdefault(line.pattern.removeprefix(MACRO), {}).update(unset)
    rules: list[AttributeRule] = []
    for line in lines:
        if line.pattern.startswith((MACRO, "#", "!")):  # git ignores patterns that begin with !
            continue
        states = dict(_parse_states(line.words))
        for word in line.words:
            states |= macros.get(word, {})
        if UNREAD.search(line.pattern):
            states = _find_unset(states)
        if states:
            rules.append(
                AttributeRule([_widen(part) for part in _parse_pattern(line.pattern)], states)
            )
    return LinguistAttributes(tuple(rules[:MAX_RULES]))


@dataclass(frozen=True, slots=True)
class _Line:
    pattern: str
    words: Sequence[str]  # states of attributes, and names of macros


def _parse_line(line: str) -> _Line:
    if len(line.encode(errors="surrogatepass")) >= MAX_LINE_BYTES:
        return _Line("", ())
    line = line.strip(" \t\r")
    quoted = QUOTED.fullmatch(line)
    if quoted is not None:
        return _Line(quoted[1], BLANKS.split(quoted[2]))
    pattern, *words = BLANKS.split(line)
    return _Line(pattern, words)


def _parse_states(words: Sequence[str]) -> Mapping[Attribute, bool | None]:
    matches = [STATE.fullmatch(word) for word in words]
    if None in matches:  # then git ignores the line, such as one with a comment at its end
        return {}
    states = [match for match in matches if match and match[2] in NAMES]
    return {NAMES[match[2]]: SIGNS.get(match[1], VALUES.get(match[3])) for match in states}


def _find_unset(states: Mapping[Attribute, bool | None]) -> dict[Attribute, bool | None]:
    return {attribute: False for attribute, is_set in states.items() if not is_set}


def _widen(part: str) -> str:
    """Return a part of a pattern that matches at least the names that it matches for git."""
    wider = WIDENED.sub("*", part)
    return "*" if UNREAD.search(wider) else wider


def _parse_pattern(pattern: str) -> Sequence[str]:
    parts = [ANY_FOLDERS, pattern]
    if "/" in pattern:
        parts = STARS.sub(ANY_FOLDERS, pattern.removeprefix("/")).split("/")
    if parts[-1] == ANY_FOLDERS:
        parts.append("*")
    return parts


Reason = Literal[
    "binary or empty",
    "stored in Git LFS",
    "mode changed only",
    "not shown by GitHub",
    "too large for GitHub to show",
    "renamed without changes",
    "changed in blank lines only",
    "left out by settings",
    "lock file",
    "generated",
    "minified",
    "vendored",
    "perhaps generated or vendored",
    "named like a credential",
]
"""Reason why a file is not shown to Claude."""

NOT_HAND_WRITTEN: tuple[tuple[Reason, re.Pattern[str]], ...] = (
    ("vendored", re.compile(r"(^|/)(node_modules|bower_components|vendor|vendored|third_party)/")),
    (
        "lock file",
        re.compile(
            r"^(?!(?:.*/)?\.github/)(?:.*/)?"  # below .github, `lock.yml` is a workflow
            r"(?:npm-shrinkwrap\.json|bun\.lockb|\.terraform\.lock\.hcl"
            r"|[^/]*\.(?:lock|lockfile|resolved|sum)"
            r"|(?:pylock[^/]*|(?:[^/]*[-.])?lock)\.(?:json|ya?ml|toml))$"
        ),
    ),
    ("minified", re.compile(r"\.min\.(js|mjs|cjs|css)$|\.(js|css)\.map$")),
    (
        "generated",
        re.compile(
            r"(^|/)(dist|__generated__|__snapshots__)/|_pb2(_grpc)?\.pyi?$|\.pb\.(go|cc|h)$"
            r"|\.g\.dart$|\.designer\.cs$"
            r"|\.generated\.[a-z]+$|\.snap$"
        ),
    ),
)
"""(reason, pattern) of files that are not written by hand. The pattern is searched in the path in
lower case.
"""

UNSURE: Reason = "perhaps generated or vendored"
"""Only a name says that a file needs no review."""

HIDING: frozenset[Reason] = frozenset({"vendored", "minified"})
"""Reasons for which code of any kind can be hidden by a name. Only `.gitattributes` shows that it
needs no review.
"""

OVERRIDES: Mapping[Reason, Attribute] = {
    "vendored": "vendored",
    "lock file": "generated",
    "minified": "generated",
    "generated": "generated",
}
"""Linguist attribute that, if it is false, keeps a file from being skipped for a reason of
`NOT_HAND_WRITTEN`.
"""

BINARY_FILES = re.compile(
    r"\.(apng|avif|bmp|gif|heic|heif|icns|ico|jp2|jpe?g|jxl|png|psd|tiff?|webp|xcf"  # images
    r"|eot|otf|ttc|ttf|woff2?"  # fonts
    r"|7z|aab|apk|br|bz2|cab|deb|dmg|ear|egg|gz|ipa|iso|jar|lz4?|lzma"
    r"|nupkg|rar|rpm|tar|tgz|war|whl|xz|zip|zst"
    r"|aac|aiff?|flac|m4a|midi?|mp3|oga|ogg|opus|wav|wma"  # audio
    r"|avi|flv|m4v|mkv|mov|mp4|mpe?g|ogv|webm|wmv"  # video
    r"|a|beam|class|dll|dylib|exe|lib|mo|o|pdb|py[cdo]|so|swf|wasm"  # compiled
    r"|docx?|epub|od[gpst]|pdf|pptx?|xlsx?"  # documents
    r"|arrow|avro|feather|h5|hdf5|np[yz]|onnx|parquet|safetensors|sqlite3?)$"  # tables and models
)
"""Files of these formats have no lines. Any other file without a patch may have some that GitHub
does not show.
"""

CODE_FILES = re.compile(
    r"(^|/)\.github/"
    r"|(^|/)([^/]*file|(docker|make|jenkins)file\.[^/]*|(build|workspace)(\.bazel)?|codeowners)$"
    r"|(^|/)\.(env[^/]*|htaccess|[^/]*(rc|profile|ignore|attributes|config))$"
    r"|\.(c|h|cc|cpp|cxx|hh|hpp|hxx|inl|cuh?|ino|mm?|cs|cshtml|razor|vb|fs[ix]?|go|rs|swift|dart"
    r"|java|kts?|scala|groovy|gradle|clj[cs]?|edn|js|jsx|mjs|cjs|ts|tsx|mts|cts|vue|svelte|astro"
    r"|py[iwx]?|rb|erb|rake|gemspec|php\d?|phtml|inc|lua|p[lm]|t|tcl|r|rmd|jl|exs?|erl|hrl|l?hs"
    r"|mli?|coffee|elm|el|lisp|scm|rkt|zig|nim|cr|d|f|f90|for|pas|dpr|cob|cbl|cpy|asm|s|vhdl?"
    r"|svh?|v"
    r"|sol|vy|move|glsl|hlsl|vert|frag|wgsl|metal|as|applescript|ahk|bas|cls|vbs|vba"
    r"|sh|bash|zsh|fish|ksh|csh|awk|ps1|psm1|psd1|bat|cmd|reg|inf|rc|strings"
    r"|sql|psql|plsql|pk[sb]|ddl|graphql|gql|proto|thrift|avsc|wsdl|xsd|xslt?|rego"
    r"|tf|tfvars|hcl|bicep|nix|cue|jsonnet|bzl|bazel|cmake|mk|ninja|gn|gni"
    r"|html?|xhtml|css|scss|sass|less|svg|hbs|mustache|ejs|pug|j2|jinja2?|liquid|twig|te?mpl|tpl"
    r"|json[5cl]?|ya?ml|toml|ini|cfg|conf|config|properties|xml|plist|env|service|timer|desktop"
    r"|[a-z]*proj|sln|props|targets|nuspec|xaml|resx|md|mdx|rst|adoc|txt|tex|ipynb|patch|diff)$"
)
"""Code, settings and texts by their names in lower case. They should be read, also if git takes
them for binary, as it does with UTF-16."""

LFS_POINTER = re.compile(
    r"version https://git-lfs\.github\.com/spec/v1\n(ext-\d-\S+ sha256:[0-9a-f]{64}\n)*"
    r"oid sha256:[0-9a-f]{64}\nsize \d+\n"
)
"""https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md"""

EMPTY_BLOBS = (
    "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
)
"""Git's SHA-1 and SHA-256 of an empty file."""

REASONS_WITHOUT_REVIEW: frozenset[Reason] = frozenset(
    {
        "binary or empty",
        "stored in Git LFS",
        "mode changed only",
        "renamed without changes",
        "changed in blank lines only",
        "left out by settings",
        "lock file",
        "generated",
        "minified",
        "vendored",
    }
)
"""Reasons why a file needs no review. Files with another reason should have been read and were
not.
"""


@dataclass(frozen=True, slots=True)
class SkippedFile:
    path: str
    reason: Reason
    previous_path: str | None = None  # if renamed

    @property
    def needs_review(self) -> bool:
        return self.reason not in REASONS_WITHOUT_REVIEW


def count_lines(files: Iterable[ChangedFile], skipped: Iterable[SkippedFile]) -> int:
    """Return the number of changed lines of the files that a review reads, or would read if GitHub
    showed them.
    """
    unread = {
        skipped_file.path
        for skipped_file in skipped
        if not skipped_file.needs_review or skipped_file.reason == UNSURE
    }
    return sum(file.additions + file.deletions for file in files if file.path not in unread)


def looks_like_code(path: str) -> bool:
    return CODE_FILES.search(path.lower()) is not None


def decide_unshown(file: ChangedFile, on_base: Blob | None, content: Blob | None) -> Reason | None:
    """Return why GitHub shows no line of a changed file; None if it is not known.

    The file is one that `SkipRules.is_compared`. `on_base` is the file on the base branch, unless
    it was added or removed. `content` is its present text; of a removed file, its last one. Both
    are None if they were not read.
    """
    is_renamed = file.status == "renamed"
    if is_renamed and on_base is None:
        return None
    if on_base is not None and on_base.sha == file.sha:
        if is_renamed:
            return "renamed without changes"
        return "mode changed only"
    if content is None or looks_like_code(file.path):
        return "not shown by GitHub"
    if content.is_binary:
        return "binary or empty"
    if LFS_POINTER.fullmatch(content.text):
        return "stored in Git LFS"
    return "not shown by GitHub"


@dataclass(frozen=True, slots=True)
class SkipRules:
    """Decides which changed files no prompt shows."""

    ignored_paths: PathFilter
    attributes: LinguistAttributes | None = NO_ATTRIBUTES  # None: they could not be read
    # the results of `decide_unshown`, by path
    unshown: Mapping[str, Reason] = field(default_factory=dict)

    def find_reason(self, file: ChangedFile, patch: Patch) -> Reason | None:
        """Return the reason not to show a file; None if it is shown."""
        by_path = self._find_reason_of_path(file.path)
        if patch.is_submodule and by_path != "left out by settings":
            return None
        if by_path not in (None, UNSURE):
            return by_path
        by_content = self._find_reason_of_content(file, patch)
        if by_content in REASONS_WITHOUT_REVIEW:
            return by_content
        return by_path or by_content

    def leaves_out(self, path: str) -> bool:
        """Return True if a file is not shown because of its path."""
        return self._find_reason_of_path(path) is not None

    def is_compared(self, file: ChangedFile) -> bool:
        """Return True if GitHub shows no line of a file, and its name does not say why."""
        if file.patch or file.additions or file.deletions or file.sha is None:
            return False
        if _is_empty(file):
            return False
        return self._find_reason_of_path(file.path) in (None, UNSURE)

    def has_left_hidden_place(self, file: ChangedFile) -> bool:
        """Return True if a file was renamed, and no review read it at its earlier path: its
        unchanged lines are new.
        """
        if file.status != "renamed" or file.previous_path is None:
            return False
        return self._find_reason_of_path(file.previous_path) is not None

    def _find_reason_of_content(self, file: ChangedFile, patch: Patch) -> Reason | None:
        has_left = self.has_left_hidden_place(file)
        if patch.hunks:
            # stored facts are redacted, and two files would have one name
            if redact(file.path) != file.path:
                return "named like a credential"
            if patch.changes_text or has_left or is_shortened(file):
                return None
            return "changed in blank lines only"
        if file.additions or file.deletions:
            return "too large for GitHub to show"
        unshown = self.unshown.get(file.path)
        if unshown not in (None, "renamed without changes"):
            return unshown
        if file.status == "renamed" and not has_left:
            return "renamed without changes"
        if _is_empty(file):
            return "binary or empty"
        return "not shown by GitHub"

    def _find_reason_of_path(self, path: str) -> Reason | None:
        if self.ignored_paths.excludes(path):
            return "left out by settings"
        attributes = (self.attributes or NO_ATTRIBUTES).find(path)
        for attribute, is_set in attributes.items():
            if is_set:
                return attribute
        for reason, pattern in NOT_HAND_WRITTEN:
            if pattern.search(path.lower()) and attributes.get(OVERRIDES[reason]) is not False:
                if self.attributes is None or reason in HIDING:
                    return UNSURE
                return reason
        return None


def _is_empty(file: ChangedFile) -> bool:
    return file.sha in EMPTY_BLOBS or BINARY_FILES.search(file.path.lower()) is not None


def is_hand_written(path: str) -> bool:
    return not any(pattern.search(path.lower()) for _, pattern in NOT_HAND_WRITTEN)


def is_shortened(file: ChangedFile) -> bool:
    """Return True if GitHub left out lines of a long patch. It gives no notice: only the numbers of
    lines show it.
    """
    return file.additions + file.deletions > parse_patch(file.patch or "").changed_lines
