"""Kinds of the problems that `hls check` reports. docs/problems.md explains the id of each."""

from __future__ import annotations

from difflib import get_close_matches
from enum import Enum
from typing import Literal

ProblemSeverity = Literal["error", "warning", "note"]


class Kind(Enum):
    """A cause of problems: its id, severity and title.

    An id is never changed or used again, because `check.ignore` in people's settings has it. An
    error ends `hls check` with 1 or 2; warnings and notes can be silenced.
    """

    SETTINGS_FILE = ("HLS001", "error", "the settings file cannot be read or parsed")
    UNKNOWN_KEY = ("HLS002", "error", "a key is unknown")
    MISSING_KEY = ("HLS003", "error", "a required key is missing")
    WRONG_VALUE = ("HLS004", "error", "a value is not allowed")
    CONFLICT = ("HLS005", "error", "keys do not fit together")
    UNSET_VARIABLE = ("HLS006", "error", "a variable is not set")
    SECRET_FILE = ("HLS007", "error", "`.env` or the file of a secret cannot be used")
    MISSING_PACKAGE = ("HLS008", "error", "a package is not installed")
    PROXY = ("HLS009", "error", "proxy or certificate variables are wrong")
    UNUSED_KEY = ("HLS012", "warning", "a key has no effect")
    RETIRED_MODEL = ("HLS013", "warning", "a model is retired")
    UNPROTECTED = ("HLS014", "warning", "others can read or send what they should not")
    EXPOSED_FILE = ("HLS015", "warning", "others can read a secret")
    MIRROR_OFF = ("HLS016", "warning", "a feature needs the mirror")
    SMALL_BUDGET = ("HLS017", "warning", "a budget is too small for one call")
    CONSOLE_OFF = ("HLS018", "note", "the console is off")
    NO_GIT = ("HLS019", "note", "git is not installed")
    UNKNOWN_PRICE = ("HLS020", "note", "a model has no known price")
    FALLBACK_REVIEWS = ("HLS021", "note", "a fallback reviews with another model")
    EDITED_FILE = ("HLS022", "note", "a shipped file is edited")
    UNSET_OFFLINE = ("HLS023", "note", "a variable is not set, with `--offline`")
    PROMPT_FILE = ("HLS030", "error", "a prompt file or folder cannot be used")
    FRONT_MATTER = ("HLS031", "error", "a front matter is not valid")
    PROMPT_EVENT = ("HLS032", "error", "the event of a prompt is wrong or taken")
    TEMPLATE = ("HLS033", "error", "a template cannot be parsed or rendered")
    UNKNOWN_NAME = ("HLS034", "error", "a template has an unknown name")
    UNKNOWN_PROMPT = ("HLS035", "error", "the settings name a prompt that does not exist")
    NO_PROMPT = ("HLS036", "error", "no prompt is for an enabled event")
    MISSING_VARIABLE = ("HLS037", "error", "a repository lacks a variable of its prompt")
    BLIND_REVIEW = ("HLS038", "error", "a review does not show the diff")
    UNUSED_PROMPT = ("HLS039", "warning", "no repository enables the events of a prompt")
    UNUSED_FIELD = ("HLS040", "warning", "a field or label of a prompt has no effect")
    TOKEN_EXPIRES = ("HLS059", "warning", "a token of GitHub expires within 14 days")
    MISNAMED_FILE = ("HLS060", "warning", "a file of settings is not read")
    GITHUB = ("HLS050", "error", "GitHub does not answer or rejects the credential")
    MISSING_PERMISSION = ("HLS051", "error", "a permission is missing")
    MISSING_EVENT = ("HLS052", "error", "the webhook does not send an event")
    NOT_FOUND = ("HLS053", "error", "an account or issue does not exist on GitHub")
    NO_MERGE_GROUP = ("HLS054", "note", "the App gets no events of merge queues")
    UNLISTED_LABELS = ("HLS055", "note", "a repository has too many labels for prompts")
    CLAUDE = ("HLS056", "error", "Claude does not answer or rejects the key")
    UNUSABLE_MODEL = ("HLS057", "error", "a model cannot be used")
    RETRIEVAL = ("HLS058", "error", "a service of `retrieval` cannot be used")

    def __init__(self, identifier: str, severity: ProblemSeverity, title: str) -> None:
        self.id = identifier
        self.severity = severity
        self.title = title


class Sentence(str):
    """A sentence about one problem, such as "/srv/settings.yaml:12: server.prot: unknown key", with
    its kind.
    """

    __slots__ = ("kind",)
    kind: Kind

    def __new__(cls, text: str, kind: Kind) -> Sentence:
        sentence = super().__new__(cls, text)
        sentence.kind = kind
        return sentence


def with_kind(problem: str, kind: Kind) -> Sentence:
    """Return the problem with `kind`, unless it already has a kind."""
    if isinstance(problem, Sentence):
        return problem
    return Sentence(problem, kind)


def rephrase(problem: str, text: str) -> str:
    """Return `text` with the kind of the problem, if that has one."""
    if isinstance(problem, Sentence):
        return Sentence(text, problem.kind)
    return text


def find_id_problem(name: str) -> str | None:
    """Return why `check.ignore` cannot have an id; None if it can."""
    severities = {kind.id: kind.severity for kind in Kind}
    if name not in severities:
        near = get_close_matches(name.upper(), severities, n=3, cutoff=0.5)
        advice = f"did you mean {' or '.join(near)}?"
        if not near:
            advice = "docs/problems.md lists the ids"
        return f"{name!r} is not the id of a problem; {advice}"
    if severities[name] == "error":
        return f"{name} is the id of an error, which cannot be silenced; correct its cause"
    return None
