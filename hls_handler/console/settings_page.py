"""The page with the settings in use: those of the service, and those of one repository."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hls_handler.console.frame import Frame
from hls_handler.events import REPOSITORY_NAME
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.reports.settings_report import (
    RepositoryReport,
    describe_repository_files,
    make_mask,
    report_repository,
    report_service,
)
from hls_handler.storage import Storage


class SettingsPages:
    def __init__(
        self, frame: Frame, store: Storage, prompts: Callable[[], ReloadingLibrary]
    ) -> None:
        self._frame = frame
        self._settings = frame.settings
        self._store = store
        self._prompts = prompts

    def routes(self) -> Sequence[BaseRoute]:
        return [self._frame.page("/settings", self._show)]

    def _show(self, request: Request) -> Response:
        repository = request.query_params.get("repository", "").strip()
        report = None
        problem = ""
        status = 200
        sections: Mapping[str, object] = {}
        if repository:
            try:
                report = self._report(repository)
            except HTTPException as exc:
                problem = exc.detail
                status = exc.status_code
        else:
            sections = report_service(self._settings)
        mask = make_mask(self._settings)
        return self._frame.render(
            request,
            "settings.html",
            status=status,
            file=self._settings.sources.file,
            warnings=[mask(warning) for warning in self._settings.warnings],
            repository=repository,
            names=[
                entry.name
                for entry in self._settings.repositories
                if REPOSITORY_NAME.fullmatch(entry.name)
            ],
            report=report,
            problem=problem,
            sections=sections,
        )

    def _report(self, repository: str) -> RepositoryReport:
        """Return the settings of a repository. Raises `HTTPException` (404) with a sentence."""
        if not REPOSITORY_NAME.fullmatch(repository):
            raise HTTPException(
                404, f"{repository} is no name of a repository; write it as owner/repo."
            )
        matching = self._frame.table.find_all(repository)
        if not matching:
            where = self._settings.sources.where("repositories")
            advice = f"add `- name: {repository}` there to process its events."
            raise HTTPException(404, f"No entry of {where} matches {repository}; {advice}")
        files = describe_repository_files(
            self._settings,
            matching[0],
            repository,
            self._store.repository_files.find_by_name,
            lambda: self._prompts().latest,
        )
        return report_repository(self._settings, matching, files)
