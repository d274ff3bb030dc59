"""`hls config explain`: what holds for one repository, and which line says so."""

from __future__ import annotations

from typing import Annotated

import typer

from hls_handler.cli.options import Config, fail, load
from hls_handler.cli.own_settings import Own, check_repository, load_prompts, own_settings
from hls_handler.cli.say import say
from hls_handler.events import REPOSITORY_NAME
from hls_handler.routing import RELABELS, Candidate, Feedback, Ignored, Rule, route, route_by
from hls_handler.routing.candidate import REVIEW_REQUESTED
from hls_handler.routing.filters import READ_BY_CLAUDE
from hls_handler.settings.effective import Effective, RepositoryTable, laid_over, why_before
from hls_handler.settings.github_events import complaint_of_one
from hls_handler.settings.masking import masked, secret_values
from hls_handler.settings.model import Settings, Sources
from hls_handler.settings.provenance import held
from hls_handler.settings.repository import PATH

config_commands = typer.Typer(
    help="Ask which settings hold, and which line says so.", no_args_is_help=True, rich_markup_mode=None
)

config_commands.command("check-repository")(check_repository)

PERSON = "somebody"
PROVIDED = "provided that a person does it, on a thread that is no draft and does not ask HLS to leave it alone"
PROVIDED_TOO = {
    "edited": ", and that title or text change",
    REVIEW_REQUESTED: ", and that the review is asked of HLS",
    **dict.fromkeys(RELABELS, ", and that HLS has set a label of the same field there"),
}


@config_commands.command()
def explain(
    repository: Annotated[str, typer.Argument(metavar="OWNER/REPO", help="The repository.")],
    event: Annotated[str | None, typer.Option(metavar="KEY", help="An event, such as issues.opened.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Read the repository's own file from GitHub now.")] = False,
    config: Config = None,
) -> None:
    """Tell what holds for one repository, and why.

    First the entry of `repositories` that decides, and why it wins over others that match; then each value with the
    line that says so, or `default`. With --event also by which prompt such an event would be worked on, or why it
    would be ignored: an event of a person, on a thread that is no draft and does not ask HLS to leave it alone.

    The repository's own file, .github/hls.yaml, is laid over that as the service read it last, or, with --live, as
    GitHub has it now. Else nothing is asked of GitHub, nothing ever of Claude, and no secret is shown.

    Exit codes: 0 told, and with --event it would be worked on; 1 no entry matches, or the event would be ignored;
    2 called wrongly, or settings, the database or, with --event, prompts cannot be used.
    """
    if not REPOSITORY_NAME.fullmatch(repository):
        raise typer.BadParameter("write it as owner/repo", param_hint="OWNER/REPO")
    unknown = complaint_of_one(event) if event is not None else None
    if unknown is not None:
        raise typer.BadParameter(unknown, param_hint="--event")
    settings = load(config)
    table = RepositoryTable(settings)
    matching = table.matching(repository)
    if not matching:
        where = settings.sources.where("repositories")
        fail(f"no entry of {where} matches {repository}; add `- name: {repository}` there to work on it")
    secrets = secret_values(settings)
    own = own_settings(settings, matching[0], repository, live=live)
    laid, both = laid_over(matching[0], own.settings), settings.beside(Sources(PATH, own.settings.lines))
    for line in _lines(both, (laid, *matching[1:]), own):
        say(masked(line, secrets))
    if event is None:
        return
    candidate = _by_a_person(event, repository)
    library = load_prompts(settings)
    verdict = route(candidate, settings=settings, table=table, catalogue=library, we=None)
    if isinstance(verdict, Rule):
        settings = both
        verdict = route_by(candidate, laid, settings=settings, catalogue=library, we=None)
    say(masked(f"{event} = {_told(settings, verdict)}", secrets))
    if isinstance(verdict, Ignored):
        raise typer.Exit(1)
    if isinstance(verdict, Rule) and verdict.shadow is not None:
        where = settings.sources.where(verdict.shadow.chosen_by)
        say(masked(f"  beside it, in its shadow: {verdict.shadow.prompt}   {where}", secrets))
    say(f"  {PROVIDED}{PROVIDED_TOO.get(candidate.action or '', '')}")


def _lines(settings: Settings, matching: tuple[Effective, ...], own: Own) -> list[str]:
    chosen, *others = matching
    lines = [f"name = {chosen.pattern}   {settings.sources.where(f'{chosen.key}.name')}"]
    for other in others:
        where = settings.sources.where(f"{other.key}.name")
        lines.append(f"  wins over {other.pattern}   {where}: {why_before(chosen, other)}")
    lines.append(f"{PATH} = {own.told}")
    return [*lines, *(str(value) for value in held(settings, chosen))]


def _by_a_person(key: str, repository: str) -> Candidate:
    """An event that only settings and prompts could keep out."""
    name, _, action = key.partition(".")
    return Candidate(
        event=name,
        action=action or None,
        repository=repository,
        sender=PERSON,
        sender_is_bot=False,
        author=PERSON,
        changed=READ_BY_CLAUDE if action == "edited" else frozenset(),
        comment_author=PERSON,
    )


def _told(settings: Settings, verdict: Rule | Feedback | Ignored) -> str:
    if isinstance(verdict, Ignored):
        return f"ignored ({verdict.kind})   {verdict.reason}"
    told = "feedback, no prompt" if isinstance(verdict, Feedback) else verdict.prompt
    return f"{told}   {verdict.why(settings.sources)}"
