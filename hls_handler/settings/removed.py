"""Keys that earlier versions read. A file that has one still works: the key is left out, and a
warning says what holds now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hls_handler.problems import Kind, Sentence
from hls_handler.settings.reference import quote_value
from hls_handler.settings.yaml_parser import Tree, iter_leaves, key_path, list_at, value_at


@dataclass(frozen=True, slots=True)
class RemovedKey:
    path: str  # "claude.temperature", or a whole section: "tracing"
    holds_now: str  # a clause: "models accept no temperature"
    is_secret: bool = False


NO_TRACES = "no traces are sent; /metrics and the JSON log have durations and costs"

REMOVED_KEYS = (
    RemovedKey(
        "github.slowest_write_s",
        "a comment whose request got no response is not posted again before 60 s",
    ),
    RemovedKey("claude.temperature", "models accept no temperature"),
    RemovedKey(
        "limits.max_crashes",
        "a delivery becomes a dead letter after 10 leases that expire without progress",
    ),
    RemovedKey(
        "limits.replay_window_h",
        "a body is recognised as a duplicate under another delivery id for 72 hours",
    ),
    RemovedKey("limits.lease_s", "a worker keeps its delivery for 30 s without renewing its lease"),
    RemovedKey(
        "labels.min_field_confidence", "labels of fields are set with any confidence of Claude"
    ),
    RemovedKey(
        "comments.show_prompt", "comments do not name the prompt; `hls why` and the console do"
    ),
    RemovedKey("comments.about_url", "the footer of comments has no link"),
    RemovedKey("review.linked_issues", "Claude is shown the issues that a pull request closes"),
    RemovedKey(
        "review.functions",
        "Claude is shown the lines above a hunk in its function, and other places as"
        " review.context_tokens allows",
    ),
    RemovedKey("logging.ignored", "ignored webhooks are logged with the level INFO"),
    RemovedKey("catch_up.interval_m", "missed webhooks are read every 10 minutes"),
    RemovedKey("catch_up.window_h", "missed webhooks of the last 72 hours are processed"),
    RemovedKey(
        "server.max_connections", "only the limit of open files (ulimit -n) limits connections"
    ),
    RemovedKey("server.header_timeout_s", "the head of a request has 10 s to arrive"),
    RemovedKey("server.body_timeout_s", "a body has 10 s to arrive"),
    RemovedKey("tracing.headers", NO_TRACES, is_secret=True),
    RemovedKey("tracing", NO_TRACES),
    RemovedKey("mirror.total_mb", "all mirrors together have at most 5,000 MB"),
)
"""A key of a section that an entry of `repositories`, or the file of a repository, can override is
removed there, too. A key stands before the section that it is in.
"""


def take_removed_keys(
    tree: Tree, keys: Sequence[RemovedKey] = REMOVED_KEYS
) -> tuple[Sentence, ...]:
    """Delete the removed keys from a file, and return a warning for each value: "settings.yaml:12
    (claude.temperature): 0.2 has no effect, ...".
    """
    parts = {"": tree.root}
    for index, entry in enumerate(list_at(tree.root, "repositories")):
        parts[f"repositories[{index}]"] = entry
    return tuple(
        _describe(tree, key, path, value)
        for key in keys
        for prefix, part in parts.items()
        for path, value in iter_leaves(_take(part, key.path), key_path(prefix, key.path))
        if value is not None  # a section whose keys are comments
    )


def take_shadow_prompts(tree: Tree) -> dict[str, str]:
    """Delete the entries of `prompts.use` with `shadow: true`, and return the prompt of each by its
    key path: {"prompts.use.issues.opened": "issues/strict"}.
    """
    maps = {"prompts.use": value_at(tree.root, "prompts.use")}
    for index, entry in enumerate(list_at(tree.root, "repositories")):
        maps[f"repositories[{index}].prompts.use"] = value_at(entry, "prompts.use")
    prompts: dict[str, str] = {}
    for path, use in maps.items():
        if not isinstance(use, dict):
            continue
        for event, value in [*use.items()]:
            if isinstance(value, dict) and value.get("shadow") is True:
                del use[event]
                prompts[key_path(path, event)] = str(value.get("prompt"))
    return prompts


def describe_shadow_prompts(tree: Tree, prompts: Mapping[str, str]) -> Iterator[Sentence]:
    """Yield a warning for each entry that `take_shadow_prompts` returned."""
    for path, prompt in prompts.items():
        text = (
            f"the shadow prompt {prompt} does not run any more, and its `on:` has no effect;"
            " `hls prompts try` tries it: write `on: []` in the prompt, then remove the entry"
        )
        yield Sentence(f"{tree.sources.where(path)}: {text}", Kind.UNUSED_KEY)


def _take(part: object, path: str) -> object:
    """Delete a key from a part of a file, and return its value; if it is missing, an empty map,
    which has no leaves.
    """
    section, _, name = path.rpartition(".")
    if section:
        part = value_at(part, section)
    return part.pop(name, {}) if isinstance(part, dict) else {}


def _describe(tree: Tree, key: RemovedKey, path: str, value: object) -> Sentence:
    quoted = "the value" if key.is_secret else quote_value(value)
    text = f"{quoted} has no effect, because the key was removed: {key.holds_now}; remove the key"
    return Sentence(f"{tree.sources.where(path)}: {text}", Kind.UNUSED_KEY)
