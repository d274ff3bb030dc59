"""The page of the settings in use."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from hls_handler.engine.repository_settings import to_stored_file
from hls_handler.github.values import FileAtRef
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from tests.console.browser import Browser
from tests.queue.builders import begin
from tests.settings.files import app_key, load

EVIL = "<img src=x onerror=alert(1)>"
SETTINGS = """\
github: {base_url: "http://127.0.0.1:9", token: token-marker-0001, webhook_secret: [webhook-marker-0002, webhook-marker-0003]}
claude: {api_key: claude-marker-0004, temperature: 0.5}
labels: {create: false, allow: [bug]}
comments: {tone: formal}
prompts: {use: {issues: issues/analyze}, variables: {team: platform}}
repositories:
  - name: "octo/*"
  - name: octo/widgets
    features: {dry_run: true}
    labels: {create: true}
    variables: {team: payments}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(tmp_path, SETTINGS)


def rows(browser: Browser, query: str = "") -> dict[str, tuple[str, str]]:
    """Return {key: (value, all that is in the third column)} of the page."""
    page = browser.get(f"/settings{query}").body.decode()
    found = re.findall(r'<tr role="row"><td role="cell"><code>(.*?)</code></td>(.*?)</tr>', page)
    columns = {
        key: re.split("</td>", unescape(re.sub("<(?!/td)[^>]*>", " ", rest))) for key, rest in found
    }
    return {
        key: (value.strip(), " ".join(source.split()))
        for key, (value, source, _) in columns.items()
    }


def test_every_setting_of_the_service_is_shown_with_its_line(
    store: Storage, settings: Settings
) -> None:
    browser = Browser(store)
    browser.use(settings)
    found = rows(browser)
    assert found["github.token"] == ("***", "settings.yaml:1 (github.token)")
    assert found["github.webhook_secret"] == (
        '["***", "***"]',
        "settings.yaml:1 (github.webhook_secret)",
    )
    assert found["server.port"] == ("8000", "default")
    assert found["server.api_key"] == ("null", "default")
    assert found["labels.allow"] == ('["bug"]', "settings.yaml:3 (labels.allow)")
    assert found["prompts.directory"] == ('["prompts", "shipped"]', "default")
    assert found["repositories[1].name"] == (
        "octo/widgets",
        "settings.yaml:8 (repositories[1].name)",
    )
    sections = {key.partition(".")[0] for key in found}
    assert sections == {"repositories[0]", "repositories[1]", *Settings.model_fields} - {
        "repositories"
    }


def test_own_file_of_a_repository_is_applied(store: Storage, settings: Settings) -> None:
    browser = Browser(store)
    browser.use(settings)
    store_file(store, f"comments: {{tone: friendly}}\npaths: {{ignore: ['{EVIL}']}}\n")
    page = browser.get("/settings?repository=Octo/Widgets").body.decode()
    assert (EVIL in page, EVIL in unescape(page)) == (False, True)
    assert "settings.yaml:7 (repositories[0].name): it is less specific, or comes later" in page
    assert re.search(r"\.github/hls\.yaml \(c0ffee\) .* <span class=\"quiet\">read \d s ago", page)
    assert rows(browser, "?repository=octo/widgets")["comments.tone"] == (
        "friendly",
        ".github/hls.yaml:1 (comments.tone) overrides settings.yaml:4 (comments.tone)",
    )


def test_file_of_the_organisation_is_applied_and_its_problem_is_shown(
    store: Storage, settings: Settings
) -> None:
    browser = Browser(store)
    browser.use(settings)
    store_file(store, "lables: {}\nfeatures: {auto_commenting: false}\n", of="octo")
    page = browser.get("/settings?repository=octo/widgets").body.decode()
    assert "<dt>Organisation</dt><dd>octo/.github: hls.yaml (c0ffee) is invalid" in page
    assert "octo/.github: hls.yaml:1: lables: unknown key; did you mean labels?" in page
    assert rows(browser, "?repository=octo/widgets")["features.auto_commenting"] == (
        "false",
        "octo/.github: hls.yaml:2 (features.auto_commenting)",
    )


def store_file(store: Storage, text: str, *, of: str = "octo/widgets") -> None:
    stored = to_stored_file(FileAtRef("file", "c0ffee", text.encode()), None)
    store.repository_files.save(begin(store, "g1"), 1, of, "hls", stored)


def test_warnings_are_at_the_top(store: Storage, settings: Settings) -> None:
    browser = Browser(store)
    browser.use(settings)
    page = unescape(browser.get("/settings").body.decode())
    notes = re.findall(r'<p role="alert" class="banner danger">(.*?)</p>', page)
    assert notes[0].endswith(
        "(claude.temperature): 0.5 has no effect, because the key was removed: models accept no"
        " temperature; remove the key"
    )


def test_rule_19_no_secret_is_on_the_page(
    store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://hls:proxy%40marker-0001@proxy.example:3128")
    key = app_key()
    settings = load(
        tmp_path,
        """\
server: {api_key: server-marker-0002}
github:
  app: {id: 1, private_key: "${APP_KEY}"}
  webhook_secret: [webhook-marker-0003, webhook-marker-0004]
claude: {api_key: claude-marker-0005}
storage: {url: "postgresql+psycopg://hls:database-marker-0006@db/hls?sslpassword=marker-0007"}
comments: {about_url: "https://hls:marker-0008@hls.example.com/about"}
labels: {allow: [claude-marker-0005]}
prompts:
  variables: {proxy: "uses proxy@marker-0001", secret: "of repository-marker-0009", token: ghp_TOKEN, password: marker7}
repositories:
  - name: octo/widgets
    webhook_secret: repository-marker-0009
""".replace("TOKEN", "a1B2" * 9),
        {"APP_KEY": key},
    )
    browser = Browser(store)
    browser.use(settings)
    for path in ("/settings", "/settings?repository=octo/widgets"):
        page = unescape(browser.get(path, x_api_key="server-marker-0002").body.decode())
        assert "Set by" in page
        assert re.findall(r"\S*marker\S*", page) == []
        assert "a1B2" not in page
        assert not any(line in page for line in key.splitlines()[1:-1])
    assert "postgresql+psycopg://hls:***@db/hls?sslpassword=***" in unescape(
        browser.get("/settings", x_api_key="server-marker-0002").body.decode()
    )
