"""Dockerfile, .dockerignore and compose.yaml, as far as they can be tested without Docker.

The service runs from a read-only copy of the files in the image, as an unprivileged user.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from hls_handler.cli.init.command import run as run_init
from hls_handler.cli.init.session import Session
from hls_handler.github.webhook_setup import UNSERVED_URL
from hls_handler.prompting import recorded
from hls_handler.settings.model import Limits, MirrorSettings
from tests.cli.browser import Browser
from tests.e2e.service import ROOT, Service, free_port
from tests.github_fake.server import Sandbox
from tests.sandbox.conftest import seed_story

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
    """Paths copied from the build context: "requirements-all.lock", "prompts/"."""
    return [
        path
        for copy in instructions("COPY")
        if not copy.startswith("--from")
        for path in copy.split()[:-1]
    ]


def test_copied_paths_exist_and_are_in_the_build_context() -> None:
    folders = ["prompts/", "config/", "docs/", "hls_handler/", "hls_sandbox/"]
    assert copied_paths() == ["requirements-all.lock", *folders]
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
    assert all(
        re.fullmatch(r"python:3\.11-slim-bookworm( AS built)?", image)
        for image in instructions("FROM")
    )


def test_image_has_one_volume_to_which_every_user_may_write() -> None:
    assert instructions("VOLUME") == instructions("WORKDIR") == ["/data"]
    assert "mkdir --mode=1777 /data" in " ".join(instructions("RUN"))


def test_image_contains_git_and_a_folder_for_mirrors_that_the_containers_share() -> None:
    installed = " ".join(instructions("RUN"))
    assert "apt-get install --yes --no-install-recommends git " in installed
    volume = "./data/mirror:/data/data/mirror"
    assert all(volume in service["volumes"] for service in SERVICES.values())
    assert MirrorSettings().directory == Path("data/mirror")


def test_grace_period_covers_the_shutdown() -> None:
    for service in SERVICES.values():
        assert int(service["stop_grace_period"].removesuffix("s")) >= Limits().shutdown_s + 20


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
    assert all(service["user"] == "${HLS_USER:?set it in .env}" for service in SERVICES.values())
    assert all(
        service["depends_on"]["database"]["condition"] == "service_healthy"
        for service in SERVICES.values()
    )
    assert all(
        service["environment"]["HLS_STORAGE_URL"].startswith("postgresql+psycopg://")
        for service in SERVICES.values()
    )
    assert [service["ports"] for service in SERVICES.values() if "ports" in service] == [
        ["127.0.0.1:8000:8000"]
    ]
    assert COMPOSE["services"]["database"]["volumes"] == ["database:/var/lib/postgresql/data"]
    assert "pg_isready" in COMPOSE["services"]["database"]["healthcheck"]["test"][1]


def copied_files() -> Iterator[Path]:
    """Yield the files that are copied into the image."""
    ignored_paths = [
        line[3:].strip("/")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line[:3] == "**/"
    ]
    for name in copied_paths():
        path = ROOT / name
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            parts = file.relative_to(ROOT).parts
            if file.is_file() and not any(
                fnmatch.fnmatch(part, pattern) for part in parts for pattern in ignored_paths
            ):
                yield file


def compiled_files() -> Iterator[Path]:
    for package in ("hls_handler", "hls_sandbox"):
        yield from (ROOT / package).rglob("__pycache__/*.pyc")


@pytest.fixture
def image() -> Iterator[Path]:
    """A read-only copy of the files in the image, in a folder that every user may enter.

    The modules are compiled, as in the image: the compiled files of this checkout fit copies of the
    same time.
    """
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="hls-image-")))
        app = home / "app"
        for file in (*copied_files(), *compiled_files()):
            target = app / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
        for path in [app, *app.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
            if os.geteuid() == 0:
                # the owner could change the mode, so the service must not own the file
                shutil.chown(path, "nobody")
        (home / "data").mkdir()
        (home / "data").chmod(0o1777)
        home.chmod(0o755)
        yield home
        for path in [app, *(path for path in app.rglob("*") if path.is_dir())]:
            path.chmod(path.stat().st_mode | stat.S_IWUSR)


def drop_capabilities(user: int | None = None) -> list[str]:
    """Command prefix that drops all capabilities of root; empty for other users, who have none.

    With `user`, the command has this id of a user and of a group.
    """
    if os.geteuid() != 0:
        return []
    ids = [] if user is None else [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    return ["setpriv", *ids, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"]


def run_health_check(port: int) -> int:
    """Exit code of the image's health check."""
    check = json.loads(DOCKERFILE.rpartition("HEALTHCHECK")[2].partition("CMD")[2].splitlines()[0])
    environ = {"PATH": os.environ["PATH"], "HLS_PORT": str(port)}
    return subprocess.run(
        [sys.executable, *check[1:]], env=environ, check=False, timeout=30
    ).returncode


HOST_USER = 12345 if os.geteuid() == 0 else os.geteuid()
"""The account on the host that runs the documented steps. Root can be another one."""

IMAGE_USER = 10001
STEPS = re.findall(
    r"```sh\n(.+?)\n```",
    (ROOT / "docs/setup.md")
    .read_text()
    .partition("\n## As a container\n")[2]
    .partition("\n## ")[0],
    re.DOTALL,
)


@dataclass(frozen=True)
class DocumentedRun:
    """The `docker run` of docs/setup.md, as far as a process without Docker can do the same."""

    user: str
    published: tuple[str, ...]  # "127.0.0.1:8000:8000"
    volumes: Mapping[str, str]  # folder in the container, below /data -> folder on the host
    variables: Mapping[str, str]  # of --env-file
    command: tuple[str, ...]


Process = subprocess.Popen[bytes]


def parse_run(host: Path) -> DocumentedRun:
    """Parse the options after the shell has expanded them in the folder `host`."""
    (text,) = re.findall(r"^docker run (.+?[^\\])$", STEPS[0], re.MULTILINE | re.DOTALL)
    text = text.replace("$(id -u):$(id -g)", f"{HOST_USER}:{HOST_USER}").replace("$PWD", str(host))
    parser = argparse.ArgumentParser()
    for name in ("--user", "--env-file", "--name", "--restart", "--stop-timeout", "--tmpfs"):
        parser.add_argument(name)
    parser.add_argument("--volume", action="append")
    parser.add_argument("--publish", action="append")
    parser.add_argument("--cap-drop")
    parser.add_argument("--security-opt")
    parser.add_argument("--read-only", action="store_true", required=True)
    parser.add_argument("--detach", action="store_true")
    parser.add_argument("image")
    parser.add_argument("command", nargs="...")
    given = parser.parse_args(shlex.split(text.replace("\\\n", " ")))
    mounts = [volume.removesuffix(":ro").split(":") for volume in given.volume]
    lines = (host / given.env_file).read_text().splitlines()
    return DocumentedRun(
        user=given.user,
        published=tuple(given.publish),
        volumes={target: source for source, target in mounts},
        variables=dict(line.split("=", 1) for line in lines if line[:1] not in ("", "#")),
        command=tuple(given.command),
    )


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        seed_story(running)
        yield running


@pytest.fixture
def host(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of HOST_USER on the host, with what `hls init` has written, and a prompt."""
    with TemporaryDirectory(prefix="hls-host-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # a container reaches what is mounted, whatever is above it
        monkeypatch.chdir(folder)
        options = {"app": True, "name": "my-hls", "webhook_url": UNSERVED_URL}
        urls = {"github_url": sandbox.github_url, "claude_url": sandbox.claude_url}
        variables = {"ANTHROPIC_API_KEY": "sandbox-claude-key"}
        run_init(Session(variables, None, Browser().open, **options, **urls))  # type: ignore[arg-type]
        for path in (folder, *folder.rglob("*")):
            if os.geteuid() == 0:
                os.chown(path, HOST_USER, HOST_USER)
        run_steps(folder, "mkdir")
        yield folder


def run_steps(folder: Path, program: str) -> None:
    """Run the documented commands of this program, as HOST_USER."""
    for line in STEPS[0].splitlines():
        if line.startswith(f"{program} "):
            subprocess.run(
                [*drop_capabilities(HOST_USER), *shlex.split(line)], cwd=folder, check=True
            )


def mount(image: Path, volumes: Mapping[str, str]) -> None:
    """Put folders of the host into those of the image."""
    for target, source in volumes.items():
        (image / target.removeprefix("/")).symlink_to(source)


def run_as(
    user: int | None, image: Path, log: Path, run: DocumentedRun, *arguments: str
) -> Process:
    """Run `python -m hls_handler ...` in the layout of the image; its output is in `log`."""
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(image / "app"),
        "PYTHONDONTWRITEBYTECODE": "1",
        **run.variables,
    }
    command = [*drop_capabilities(user), sys.executable, "-m", "hls_handler", *arguments]
    with log.open("ab") as output:
        return subprocess.Popen(
            command, cwd=image / "data", env=environ, stdout=output, stderr=output
        )


def set_up(host: Path, *, port: int) -> None:
    """Name the port and the folder of own prompts in the settings, and write a prompt."""
    settings = host / "config/settings.yaml"
    text = settings.read_text().replace("server:\n", f"server:\n  port: {port}\n")
    settings.write_text(f"{text}prompts: {{directory: [my-prompts, shipped]}}\n")
    prompt = host / "my-prompts/issues/analyze.j2"
    prompt.parent.mkdir()
    shutil.copy(ROOT / "prompts/issues/analyze.j2", prompt)


def test_documented_container_reads_what_init_wrote_processes_an_event_and_changes_no_image_file(
    image: Path, host: Path, sandbox: Sandbox
) -> None:
    port = free_port()
    set_up(host, port=port)
    run = parse_run(host)
    mount(image, run.volumes)
    before = sorted(image.joinpath("app").rglob("*"))
    log = image / "log"
    process = run_as(HOST_USER, image, log, run, *run.command)
    service = Service(host, port, log, f"sqlite:///{host}/data/hls.db", process=process)
    try:
        service.until_up()
        bug = recorded.load("demo/bug")
        secret = run.variables["GITHUB_WEBHOOK_SECRET"]
        assert service.deliver(bug.event, bug.body, secret=secret).status == 202
        service.until_idle()
        assert run_health_check(port) == 0
        checked = image / "checked"
        assert run_as(HOST_USER, image, checked, run, "check").wait(60) == 0, checked.read_text()
    finally:
        process.terminate()
        assert process.wait(timeout=40) == 0, log.read_text()
    assert sorted(image.joinpath("app").rglob("*")) == before
    assert run.user == f"{HOST_USER}:{HOST_USER}"
    assert run.published == ("127.0.0.1:8000:8000",)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (serving,) = (line for line in lines if line["message"] == "serving")
    assert serving["prompts"] == f"{host}/my-prompts, {image}/app/prompts"
    (finished,) = (line for line in lines if line["message"] == "delivery finished")
    assert (finished["state"], finished["reason"][:6]) == ("done", "added ")
    assert [comment.author.login for comment in sandbox.conversation(11).comments] == [
        "my-hls[bot]"
    ]
    assert (host / "config/github-app.pem").stat().st_mode & 0o777 == 0o600
    assert (host / "data/hls.db").stat().st_uid == HOST_USER


def test_demo_writes_only_to_the_volume_of_the_image(image: Path) -> None:
    log = image / "log"
    options = DocumentedRun("", (), {}, {}, ())
    # not as another user, who may not start the Python of this checkout
    demo = run_as(None, image, log, options, "demo", "--once", "--port", f"{free_port()}")
    assert demo.wait(120) == 0, log.read_text()
    assert "16 done: " in log.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_user_of_the_image_cannot_read_what_init_wrote(image: Path, host: Path) -> None:
    set_up(host, port=free_port())
    run = parse_run(host)
    mount(image, run.volumes)
    problems = {
        0o755: "data/config/github-app.pem cannot be read: Permission denied",
        0o700: "data/config/settings.yaml: cannot be read: Permission denied",
    }
    for mode, problem in problems.items():
        (host / "config").chmod(mode)
        log = image / f"log-{mode}"
        code = run_as(IMAGE_USER, image, log, run, *run.command).wait(60)
        assert (code, problem in log.read_text()) == (2, True), log.read_text()
