"""Changed settings apply to the next request, and counters continue."""

from __future__ import annotations

from hls_handler.settings.effective import RepositoryTable
from tests.web.fakes import SECRET, WebSetup, ask, headers, payload, settings

NEW_SECRET, API_KEY = "the-next-secret-of-all", "the-key-of-the-dashboard"
BODY = payload()


def test_changed_secrets_key_and_path_apply_to_the_next_request() -> None:
    setup = WebSetup(settings())
    web = setup.web()
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
