"""Other settings for an application that serves: they hold from the next request on, and nothing is counted anew."""

from __future__ import annotations

from hls_handler.settings.effective import RepositoryTable
from tests.web.fakes import SECRET, Surroundings, ask, headers, payload, settings

NEW_SECRET, API_KEY = "the-next-secret-of-all", "the-key-of-the-dashboard"
BODY = payload()


def test_secrets_key_and_path_hold_from_the_next_request_on() -> None:
    around = Surroundings(settings())
    web = around.web()
    after = settings(github={"webhook_secret": NEW_SECRET}, server={"api_key": API_KEY, "webhook_path": "/github"})
    assert ask(web.app, headers=headers(BODY), chunks=[BODY]).status == 202
    assert ask(web.app, "/stats", method="GET").status == 200
    web.apply(after, RepositoryTable(after))
    assert ask(web.app, headers=headers(BODY, secret=NEW_SECRET), chunks=[BODY]).status == 404
    assert ask(web.app, "/github", headers=headers(BODY, secret=SECRET), chunks=[BODY]).status == 401
    assert ask(web.app, "/github", headers=headers(BODY, secret=NEW_SECRET), chunks=[BODY]).json["status"] == (
        "duplicate"
    )
    assert ask(web.app, "/stats", method="GET").status == 401
    key = [(b"x-api-key", API_KEY.encode())]
    assert ask(web.app, "/stats", method="GET", headers=key).status == 200


def test_the_uptime_goes_on() -> None:
    around = Surroundings(settings())
    web = around.web()
    around.clock.now += 60
    web.apply(around.settings, RepositoryTable(around.settings))
    assert ask(web.app, "/health", method="GET").json["uptime_seconds"] == 60
