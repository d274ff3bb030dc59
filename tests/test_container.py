"""Dockerfile, .dockerignore and compose.yaml, as far as they can be judged without Docker.

The service is run from a copy of exactly what the image gets, which it cannot write to, as a user without rights.
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

from hls_handler.settings.model import Limits
from tests.e2e.service import ROOT, Service, free_port

DOCKERFILE = (ROOT / "Dockerfile").read_text()
LINES = [
    line.strip()
    for line in DOCKERFILE.replace("\\\n", " ").splitlines()
    if line.strip() and not line.lstrip().startswith("#")
]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = {name: COMPOSE["services"][name] for name in ("web", "worker")}


def instructions(name: str) -> list[str]:
    """What follows each instruction of this name, in order."""
    return [line.removeprefix(name).strip() for line in LINES if line.startswith(f"{name} ")]


def copied() -> list[str]:
    """What comes from the build's context: "requirements.txt", "prompts/"."""
    return [copy.split()[0] for copy in instructions("COPY") if not copy.startswith("--from")]


def seconds(told: str) -> int:
    """ "45s" is 45."""
    return int(re.fullmatch(r"(\d+)s", told)[1])  # type: ignore[index]


def test_every_copied_path_exists_and_reaches_the_builder() -> None:
    assert copied() == ["requirements.txt", "prompts/", "config/", "hls_handler/"]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    for path in copied():
        assert (ROOT / path).exists()
        assert f"!{path}" in ignored


def test_requirements_come_before_the_source_so_that_their_layer_is_kept() -> None:
    order = [line for line in LINES if line.startswith(("COPY", "RUN /venv/bin/pip", "RUN python -m venv"))]
    assert order[1] == "COPY requirements.txt /tmp/requirements.txt"
    assert order[2].startswith("RUN /venv/bin/pip install")


def test_no_tools_that_install_are_left_in_the_image() -> None:
    taken_away = [line for line in instructions("RUN") if "pip uninstall --yes pip setuptools" in line]
    assert len(taken_away) == 2  # of the environment, and of the base image
    assert len(instructions("FROM")) == 2


def test_rule_21_the_image_runs_as_an_unprivileged_user() -> None:
    assert instructions("USER") == ["10001:10001"]
    last = max(n for n, line in enumerate(LINES) if line.startswith("RUN"))
    assert LINES.index("USER 10001:10001") > last
    assert "PYTHONDONTWRITEBYTECODE=1" in " ".join(instructions("ENV"))
    assert all(re.fullmatch(r"python:3\.11-slim-bookworm( AS built)?", image) for image in instructions("FROM"))


def test_no_secret_stands_in_image_or_compose_file() -> None:
    for name in ("GITHUB_TOKEN", "GITHUB_WEBHOOK_SECRET", "ANTHROPIC_API_KEY"):
        assert not re.search(rf"^(?!#).*{name}", DOCKERFILE + (ROOT / "compose.yaml").read_text(), re.MULTILINE)
    passwords = re.findall(r"^(?!#).*POSTGRES_PASSWORD.*$", (ROOT / "compose.yaml").read_text(), re.MULTILINE)
    assert len(passwords) == 2
    assert all("${POSTGRES_PASSWORD:?" in line for line in passwords)


def test_the_grace_period_is_longer_than_running_steps_and_the_last_commit_may_take() -> None:
    for service in OURS.values():
        assert seconds(service["stop_grace_period"]) >= Limits().shutdown_s + 20


@pytest.mark.parametrize("name", ["web", "worker", "database"])
def test_rule_21_every_container_has_a_read_only_root_and_no_rights(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"


def test_one_takes_webhooks_in_and_two_work_on_one_database() -> None:
    assert {name: service["command"] for name, service in OURS.items()} == {
        "web": ["serve", "--role", "web"],
        "worker": ["serve", "--role", "worker"],
    }
    assert OURS["worker"]["deploy"]["replicas"] == 2
    assert all(service["user"] == "10001:10001" for service in OURS.values())
    assert all(service["depends_on"]["database"]["condition"] == "service_healthy" for service in OURS.values())
    assert all(
        service["environment"]["HLS_STORAGE_URL"].startswith("postgresql+psycopg://") for service in OURS.values()
    )
    assert [service["ports"] for service in OURS.values() if "ports" in service] == [["127.0.0.1:8000:8000"]]
    assert COMPOSE["services"]["database"]["volumes"] == ["database:/var/lib/postgresql/data"]
    assert "pg_isready" in COMPOSE["services"]["database"]["healthcheck"]["test"][1]


def context_of_the_build() -> Iterator[Path]:
    """The files that the image gets of the copied paths."""
    ignored_paths = [
        line[3:].strip("/") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:3] == "**/"
    ]
    for name in copied():
        path = ROOT / name
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            parts = file.relative_to(ROOT).parts
            if file.is_file() and not any(
                fnmatch.fnmatch(part, pattern) for part in parts for pattern in ignored_paths
            ):
                yield file


@pytest.fixture
def image() -> Iterator[Path]:
    """A folder with what the image has, which nobody may write to, under parents that everybody may enter."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="hls-image-")))
        app = home / "app"
        for file in context_of_the_build():
            target = app / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        for path in [app, *app.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
            if os.geteuid() == 0:
                shutil.chown(path, "nobody")  # an owner may change the mode: whoever runs the service is not it
        (home / "data").mkdir()
        (home / "data").chmod(0o777)
        home.chmod(0o755)
        yield home
        for path in [app, *(path for path in app.rglob("*") if path.is_dir())]:
            path.chmod(path.stat().st_mode | stat.S_IWUSR)


def without_rights() -> list[str]:
    """What to put before a command. Root gives up all it may do; a user has no rights to begin with."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"]


def test_the_service_runs_from_what_the_image_has_without_rights_and_without_writing_there(image: Path) -> None:
    port = free_port()
    settings = (image / "app/config/settings.yaml").read_text()
    assert "  # url: " in settings
    own = image / "settings.yaml"
    own.write_text(
        settings.replace("  # port: 8000 ", f"  port: {port} ").replace(
            "  # url: ", f'  url: "sqlite:///{image}/data/hls.db"  # '
        )
    )
    own.chmod(0o444)
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(image / "app"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "GITHUB_TOKEN": "github_pat_of_nobody",
        "GITHUB_WEBHOOK_SECRET": "a-webhook-secret-for-tests",
        "ANTHROPIC_API_KEY": "sk-ant-of-nobody",
    }
    log = image / "data" / "log"
    command = [*without_rights(), sys.executable, "-m", "hls_handler", "serve", "--config", str(own)]
    before = sorted(image.joinpath("app").rglob("*"))
    with log.open("ab") as said:
        process = subprocess.Popen(command, cwd=image / "app", env=environ, stdout=said, stderr=said)
    service = Service(own, port, log, f"sqlite:///{image}/data/hls.db", process=process)
    try:
        service.until_up()
        health = service.get("/health").body
        assert health["components"]["prompts"]["state"] in ("healthy", "unknown")
        assert _probe(port) == 0
    finally:
        process.terminate()
        assert process.wait(timeout=40) == 0, log.read_text()
    assert subprocess.run([*without_rights(), "touch", str(image / "app/config/settings.yaml")], check=False).returncode
    assert sorted(image.joinpath("app").rglob("*")) == before
    serving = next(line for line in map(json.loads, log.read_text().splitlines()) if line["message"] == "serving")
    assert serving["prompts"] == str(image / "app/prompts")


def _probe(port: int) -> int:
    """The exit code of the image's own health check."""
    check = json.loads(DOCKERFILE.rpartition("HEALTHCHECK")[2].partition("CMD")[2].splitlines()[0])
    environ = {"PATH": os.environ["PATH"], "HLS_PORT": str(port)}
    return subprocess.run([sys.executable, *check[1:]], env=environ, check=False, timeout=30).returncode
