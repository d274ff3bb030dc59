"""Dockerfile, .dockerignore and compose.yaml, as far as they can be tested without Docker.

The service runs from a read-only copy of the files in the image, as an unprivileged user.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from hls_handler.settings.model import Limits, Mirror
from tests.e2e.service import ROOT, Service, free_port

DOCKERFILE = (ROOT / "Dockerfile").read_text()
LINES = [
    line.strip()
    for line in DOCKERFILE.replace("\\\n", " ").splitlines()
    if line.strip() and not line.lstrip().startswith("#")
]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = {name: COMPOSE["services"][name] for name in ("web", "worker")}


def instructions(name: str) -> list[str]:
    """Arguments of each instruction with this name, in order."""
    return [line.removeprefix(name).strip() for line in LINES if line.startswith(f"{name} ")]


def copied_paths() -> list[str]:
    """Paths copied from the build context: "requirements.txt", "prompts/"."""
    return [path for copy in instructions("COPY") if not copy.startswith("--from") for path in copy.split()[:-1]]


def seconds(duration: str) -> int:
    """Parse a duration: 45 for "45s"."""
    return int(re.fullmatch(r"(\d+)s", duration)[1])  # type: ignore[index]


def test_copied_paths_exist_and_are_in_the_build_context() -> None:
    requirements = [
        "requirements.txt",
        "requirements-otel.txt",
        "requirements-qdrant.txt",
        "requirements-providers.txt",
    ]
    assert copied_paths() == [*requirements, "prompts/", "config/", "docs/", "hls_handler/"]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    for path in copied_paths():
        assert (ROOT / path).exists()
        assert f"!{path}" in ignored


def test_rule_21_image_runs_as_an_unprivileged_user() -> None:
    assert instructions("USER") == ["10001:10001"]
    last_run = max(n for n, line in enumerate(LINES) if line.startswith("RUN"))
    assert LINES.index("USER 10001:10001") > last_run
    assert "PYTHONDONTWRITEBYTECODE=1" in " ".join(instructions("ENV"))
    assert all(re.fullmatch(r"python:3\.11-slim-bookworm( AS built)?", image) for image in instructions("FROM"))


def test_image_contains_git_and_a_folder_for_mirrors_that_the_containers_share() -> None:
    installed = " ".join(instructions("RUN"))
    assert "apt-get install --yes --no-install-recommends git " in installed
    assert "mkdir -p /app/data/mirror && chown -R hls:hls /app/data" in installed
    assert all("mirror:/app/data/mirror" in service["volumes"] for service in SERVICES.values())
    assert Mirror().directory == Path("data/mirror")


def test_grace_period_covers_the_shutdown() -> None:
    for service in SERVICES.values():
        assert seconds(service["stop_grace_period"]) >= Limits().shutdown_s + 20


@pytest.mark.parametrize("name", ["web", "worker", "database"])
def test_rule_21_containers_have_a_read_only_root_and_no_capabilities(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"


def test_compose_file_has_one_web_and_two_worker_containers() -> None:
    assert {name: service["command"] for name, service in SERVICES.items()} == {
        "web": ["serve", "--host", "0.0.0.0", "--role", "web"],
        "worker": ["serve", "--role", "worker"],
    }
    assert SERVICES["worker"]["deploy"]["replicas"] == 2
    assert all(service["user"] == "10001:10001" for service in SERVICES.values())
    assert all(service["depends_on"]["database"]["condition"] == "service_healthy" for service in SERVICES.values())
    assert all(
        service["environment"]["HLS_STORAGE_URL"].startswith("postgresql+psycopg://") for service in SERVICES.values()
    )
    assert [service["ports"] for service in SERVICES.values() if "ports" in service] == [["127.0.0.1:8000:8000"]]
    assert COMPOSE["services"]["database"]["volumes"] == ["database:/var/lib/postgresql/data"]
    assert "pg_isready" in COMPOSE["services"]["database"]["healthcheck"]["test"][1]


def copied_files() -> Iterator[Path]:
    """Yield the files that are copied into the image."""
    ignored_paths = [
        line[3:].strip("/") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:3] == "**/"
    ]
    for name in copied_paths():
        path = ROOT / name
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            parts = file.relative_to(ROOT).parts
            if file.is_file() and not any(
                fnmatch.fnmatch(part, pattern) for part in parts for pattern in ignored_paths
            ):
                yield file


@pytest.fixture
def image() -> Iterator[Path]:
    """A read-only copy of the files in the image, in a folder that every user may enter."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="hls-image-")))
        app = home / "app"
        for file in copied_files():
            target = app / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        for path in [app, *app.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
            if os.geteuid() == 0:
                shutil.chown(path, "nobody")  # the owner could change the mode, so the service must not own the file
        (home / "data").mkdir()
        (home / "data").chmod(0o777)
        home.chmod(0o755)
        yield home
        for path in [app, *(path for path in app.rglob("*") if path.is_dir())]:
            path.chmod(path.stat().st_mode | stat.S_IWUSR)


def drop_capabilities() -> list[str]:
    """Command prefix that drops all capabilities of root; empty for other users, who have none."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"]


def test_service_runs_from_a_read_only_copy_of_the_image(image: Path) -> None:
    port = free_port()
    settings = (image / "app/config/settings.example.yaml").read_text()
    assert "  # url: " in settings
    settings_file = image / "settings.yaml"
    settings_file.write_text(
        settings.replace("  # port: 8000 ", f"  port: {port} ").replace(
            "  # url: ", f'  url: "sqlite:///{image}/data/hls.db"  # ', 1
        )
    )
    settings_file.chmod(0o444)
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(image / "app"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "GITHUB_TOKEN": "github_pat_of_nobody",
        "GITHUB_WEBHOOK_SECRET": "a-webhook-secret-for-tests",
        "ANTHROPIC_API_KEY": "sk-ant-of-nobody",
    }
    log = image / "data" / "log"
    command = [*drop_capabilities(), sys.executable, "-m", "hls_handler", "serve", "--config", str(settings_file)]
    before = sorted(image.joinpath("app").rglob("*"))
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=image / "app", env=environ, stdout=output, stderr=output)
    service = Service(settings_file, port, log, f"sqlite:///{image}/data/hls.db", process=process)
    try:
        service.until_up()
        health = service.get("/health").body
        assert health["components"]["prompts"]["state"] in ("healthy", "unknown")
        assert run_health_check(port) == 0
    finally:
        process.terminate()
        assert process.wait(timeout=40) == 0, log.read_text()
    assert subprocess.run(
        [*drop_capabilities(), "touch", str(image / "app/config/settings.example.yaml")], check=False
    ).returncode
    assert sorted(image.joinpath("app").rglob("*")) == before
    serving = next(line for line in map(json.loads, log.read_text().splitlines()) if line["message"] == "serving")
    assert serving["prompts"] == str(image / "app/prompts")


def run_health_check(port: int) -> int:
    """Exit code of the image's health check."""
    check = json.loads(DOCKERFILE.rpartition("HEALTHCHECK")[2].partition("CMD")[2].splitlines()[0])
    environ = {"PATH": os.environ["PATH"], "HLS_PORT": str(port)}
    return subprocess.run([sys.executable, *check[1:]], env=environ, check=False, timeout=30).returncode
