"""Load the event that a command line names: a recorded payload, a file, or an issue or pull request
on GitHub.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr

from hls_handler.analysis import Prompt
from hls_handler.cli.github_names import find_conversation
from hls_handler.cli.options import abort, lacks_github_token, utc_now
from hls_handler.git.mirror import Mirrors
from hls_handler.github.client import ReadOnlyGithub, connect_read_only
from hls_handler.prompting import recorded
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.recorded import Recorded, UnknownPayload
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.settings.providers import HAIKU

PAYLOAD_HELP = (
    "Name of a recorded payload (issues.opened, demo/question, ...) or a JSON file (./event.json). "
    "`hls send --list` prints the names."
)


def load_payload(name: str, event: str | None) -> Recorded:
    """Load a recorded payload by name, or a JSON file. `event` is the file's event name. Exits with
    2 on failure.
    """
    try:
        if name.endswith(".json") or Path(name).is_file():
            return recorded.from_file(Path(name).absolute(), event)
        return recorded.load(name)
    except UnknownPayload as exc:
        abort(str(exc))
    except OSError as exc:
        abort(f"{Path(name).absolute()}: {exc.strerror}")


SUBJECT_HELP = (
    "Name of a recorded payload (issues.opened, demo/question, ...), a JSON file (./event.json), or"
    " an issue or pull request on GitHub (https://github.com/OWNER/REPO/issues/7, OWNER/REPO#7)."
    " `hls send --list` prints the names."
)
LIVE_HELP = "Read the facts about a payload from GitHub. (Facts about a GitHub URL always are.)"

SubjectName = Annotated[str, typer.Argument(metavar="EVENT.json|NAME|URL", help=SUBJECT_HELP)]
EventName = Annotated[
    str | None,
    typer.Option(
        "--event", metavar="EVENT", help="The event's name, if the file does not contain it."
    ),
]
Live = Annotated[bool, typer.Option("--live", help=LIVE_HELP)]


@dataclass(frozen=True, slots=True)
class Subject(Recorded):
    """An event named on the command line. If `live`, facts about the event come from GitHub, else
    from the sandbox.
    """

    live: bool

    @property
    def origin(self) -> str:
        """Name of the event and source of the facts, for output: "demo/bug; facts from GitHub"."""
        if self.live:
            return f"{self.name}; facts from GitHub"
        return f"{self.name}; facts from the built-in sandbox"


def load_subject(name: str, event: str | None, *, live: bool, settings: Settings) -> Subject:
    """Load the event that `given` names. Without a token, GitHub is read anonymously.

    Exits with 2 if the event does not exist.
    """
    conversation = find_conversation(name, base_url=settings.github.base_url)
    if conversation is None:
        recording = load_payload(name, event)
        return Subject(recording.name, recording.event, recording.action, recording.body, live)
    if event is not None:
        abort(
            "--event is only for files; for an issue or a pull request, the event is always"
            " `opened`"
        )
    with closing(
        connect_read_only(settings.github, now=utc_now, anonymous=lacks_github_token(settings))
    ) as github:
        opened = github.opened(*conversation)
    return Subject(name, opened.name, "opened", json.dumps(opened.payload).encode(), live=True)


@contextmanager
def use_sandbox(
    subject: Subject, settings: Settings, *, for_claude: bool = False
) -> Iterator[Settings]:
    """Yield settings with which a sandbox that has the event is GitHub, unless `subject.live`, and
    perhaps Claude.
    """
    if subject.live and not for_claude:
        yield settings
        return
    from hls_sandbox.server import Sandbox  # here: `hls serve` does not need it

    with Sandbox() as sandbox:
        fallback = _make_fallback_issue(subject, settings)
        if fallback is not None:
            sandbox.state.seed("issues", fallback)
        sandbox.state.seed(subject.event, subject.payload)
        github = settings.github
        claude = settings.claude
        if not subject.live:
            access = {
                "token": SecretStr(sandbox.token),
                "base_url": sandbox.github_url,
                "app": None,
                "tokens": None,
            }
            github = github.model_copy(update=access)
        if for_claude:
            access = {
                "api_key": SecretStr(sandbox.api_key),
                "base_url": sandbox.claude_url,
                "fallbacks": (),
            }
            if claude.kind != "anthropic":
                access |= {"kind": "anthropic", "model": HAIKU, "review_model": None}
            claude = claude.model_copy(update=access)
        yield settings.model_copy(update={"github": github, "claude": claude})


def _make_fallback_issue(subject: Subject, settings: Settings) -> dict[str, Any] | None:
    """Return a payload with the issue that `comments.post_to` names for the event, if any."""
    payload = subject.payload
    repository = payload.get("repository") or {}
    effective = RepositoryTable(settings).find(str(repository.get("full_name")))
    number = effective and effective.find_fallback_number(subject.key)
    if number is None:
        return None
    opened = recorded.load("issues.opened").payload
    issue = {**opened["issue"], "number": number, "id": number, "title": "Reports", "labels": []}
    return {**opened, "repository": repository, "issue": issue}


def connect_github(
    subject: Subject, settings: Settings, *, assume_open: bool = False
) -> closing[ReadOnlyGithub]:
    """Return a client that never writes. Without a token, it reads GitHub anonymously."""
    anonymous = subject.live and lacks_github_token(settings)
    mirrors = None
    if subject.live:
        mirrors = Mirrors(lambda: settings.mirror)
    return closing(
        connect_read_only(
            settings.github,
            now=utc_now,
            assume_open=assume_open,
            anonymous=anonymous,
            mirrors=mirrors,
        )
    )


def get_prompt(library: Library, name_or_id: str) -> Prompt:
    """Return the prompt with this name ("issues/analyze") or id ("issues/analyze@3f9c2a"). Exits
    with 2 for others.
    """
    name, separator, _ = name_or_id.partition("@")
    prompt = library.prompts.get(name)
    if prompt is None:
        abort(f"there is no prompt {name}; there are {', '.join(library.prompts)}")
    if separator and name_or_id != prompt.id:
        abort(f"{name_or_id} is another version; the current one is {prompt.id}")
    return prompt
