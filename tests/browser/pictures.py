"""Write the pictures of docs/images from the present pages: `python -m tests.browser.pictures`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, sync_playwright

from hls_handler.prompting import recorded
from tests.e2e.conftest import service_maker
from tests.e2e.service import ROOT
from tests.e2e.test_main_job import send
from tests.github_fake.server import Sandbox
from tests.system_programs import find_chromium

IMAGES = ROOT / "docs" / "images"
TITLE = "Look up a discount code"
CHANGED = "shop/discounts.py"
LINES = 14
FORMS = "form, .forms, footer, .quiet:has(+ form) { display: none !important }"
"""What the sandbox adds to a page of GitHub."""


def main(folder: Path) -> None:
    with Sandbox() as sandbox, service_maker(sandbox, folder) as make, sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=find_chromium())
        service = make(more="review: {fail_on: high}").start()
        payload = recorded.load("demo/feature")
        sandbox.state.seed(payload.event, payload.payload)
        pull = sandbox.conversation(13)
        # a small one, whose review fits into a picture
        (file,) = (file for file in pull.files if file["filename"] == CHANGED)
        patch = "\n".join([f"@@ -0,0 +1,{LINES} @@", *file["patch"].split("\n")[1 : LINES + 1]])
        text = {"title": TITLE, "body": "Finds the row of a code.", "changed_files": 1}
        small = replace(
            pull,
            document={**pull.document, **text, "additions": LINES},
            files=({**file, "patch": patch, "additions": LINES, "changes": LINES},),
            comments=(),
            events=(),
        )
        sandbox.state.change(lambda world: world.with_conversation(small))
        guid = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
        shown = {**payload.payload["pull_request"], **text}
        body = json.dumps({**payload.payload, "pull_request": shown}).encode()
        assert service.deliver(payload.event, body, guid=guid).status == 202
        service.until_idle()
        take(chromium, f"{sandbox.page_url}13", "pull-request.png", width=1080, hidden=FORMS)
        for name in recorded.STORY:
            send(service, sandbox, name)
        service.until_idle()
        console = f"http://127.0.0.1:{service.port}"
        take(chromium, f"{console}/", "console-overview.png", width=1280)
        take(chromium, f"{console}/deliveries/{guid}", "console-delivery.png", width=1280)


def take(chromium: Browser, address: str, name: str, *, width: int, hidden: str = "") -> None:
    page = chromium.new_page(viewport={"width": width, "height": 600}, bypass_csp=True)
    page.goto(address)
    if hidden:
        page.add_style_tag(content=hidden)
    page.screenshot(path=IMAGES / name, full_page=True)
    page.close()
    sys.stdout.write(f"{IMAGES / name}\n")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        main(Path(folder))
