"""Takes screenshots of the console of a running service: `python -m tests.browser.screenshots ADDRESS FOLDER`.

The service must have no `server.api_key`, as in the demo. Each page is taken wide and narrow, light and dark:
`overview-wide-light.png`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.system_programs import find_chromium

WIDTHS = {"wide": 1280, "narrow": 390}
PAGES = {
    "overview": "/",
    "deliveries": "/deliveries",
    "delivery": "/deliveries?event=pull_request.synchronize&state=done a",
    "prompts": "/prompts",
    "prompt": "/prompts/issues/analyze",
    "figures": "/figures",
    "log": "/log",
    "settings": "/settings",
    "documentation": "/docs/troubleshooting.md",
}
BELOW_A_DELIVERY = {"prompt-as-sent": "prompt", "dry-run": "dry-run"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="of the service, such as http://127.0.0.1:8000")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium())
        for width in WIDTHS:
            for scheme in ("light", "dark"):
                page = browser.new_page(
                    viewport={"width": WIDTHS[width], "height": 900},
                    color_scheme="dark" if scheme == "dark" else "light",
                )
                _take(page, given.address, given.folder, f"{width}-{scheme}")
        browser.close()


def _take(page: Page, address: str, folder: Path, suffix: str) -> None:
    for name, path in PAGES.items():
        path, _, link = path.partition(" ")
        page.goto(address + path)
        if link:
            page.locator("tbody").locator(link).first.click()
            delivery = page.url
        page.screenshot(path=folder / f"{name}-{suffix}.png", full_page=True)
    for name, path in BELOW_A_DELIVERY.items():
        page.goto(f"{delivery}/{path}")
        if name == "dry-run" and page.get_by_role("button", name="Run and pay").count():
            page.get_by_role("button", name="Run and pay").first.click()
            page.get_by_role("heading", name="Delivery", exact=True).wait_for()
        page.screenshot(path=folder / f"{name}-{suffix}.png", full_page=True)


if __name__ == "__main__":
    main()
