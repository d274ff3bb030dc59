"""Every page of the console in Chromium, on the real service with texts of strangers that contain
scripts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from hls_handler.cli.demo import find_delivery
from hls_handler.prompting import recorded
from hls_handler.store.storage import Storage
from tests.batches.builders import begin_batch
from tests.browser.conftest import OpenPage, find_obstacles
from tests.e2e.conftest import service_maker
from tests.e2e.service import SECRET, Service, free_port
from tests.e2e.test_main_job import send
from tests.fake_network import Server
from tests.github_fake.server import Sandbox
from tests.sandbox.conftest import seed_story

KEY = "the-key-of-this-service"
SCRIPT = (
    "<img src=x onerror=\"document.title='attacked'\"><script>document.title='attacked'</script>{{"
    " 7 * 7 }}"
)


def put_scripts(value: Any, names: tuple[str, ...]) -> Any:
    """Return a copy of the payload with a script at the end of each string that a stranger
    writes.
    """
    if isinstance(value, dict):
        return {
            name: (
                f"{one} {SCRIPT}"
                if name in names and isinstance(one, str)
                else put_scripts(one, names)
            )
            for name, one in value.items()
        }
    return [put_scripts(one, names) for one in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with a few deliveries: done, ignored, and of a payload with scripts in all
    texts.
    """
    with Sandbox() as sandbox, service_maker(sandbox, tmp_path_factory.mktemp("service")) as make:
        running = make(server=f"api_key: {KEY}").start()
        with closing(Storage.open(running.storage_url)) as store:
            begin_batch(store, 2, title=SCRIPT, label=SCRIPT)
        send(running, sandbox, "demo/feature-push")
        for name in ("demo/bug", "demo/question"):
            event = recorded.load(name)
            payload = put_scripts(event.payload, ("title", "body", "label", "description"))
            sandbox.state.seed(event.event, payload)
            assert running.deliver(event.event, json.dumps(payload).encode()).status in (200, 202)
        running.until_idle()
        yield running


def sign_in(page: Page, service: Service, path: str = "/deliveries") -> None:
    page.goto(f"http://127.0.0.1:{service.port}{path}")
    page.get_by_label("Key of this service").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile(re.escape(path)))


def pause(page: Page, service: Service) -> None:
    page.goto(f"http://127.0.0.1:{service.port}/")
    page.get_by_text("Pause the processing").click()
    page.get_by_label("Reason").fill("a migration")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume everything").wait_for()


def find_links(page: Page) -> Iterator[tuple[str, str]]:
    """Yield the kind and the address of each page of the console that links on the page lead to."""
    links = "links => links.map((one) => one.getAttribute('href'))"
    for link in page.locator("a[href^='/']:not([download])").evaluate_all(links):
        kind = re.sub(r"/deliveries/[^/?]+", "/deliveries/GUID", link.partition("?")[0])
        kind = re.sub(r"/prompts/[^/?]+/[^/?]+", "/prompts/FAMILY/NAME", kind)
        kind = re.sub(r"/docs/[^#]+(#.*)?", "/docs/NAME", kind)
        if not link.startswith("/openapi.json"):
            yield kind, link


def test_pages_are_accessible_and_run_no_untrusted_script(
    service: Service, open_page: OpenPage
) -> None:
    """All pages on a phone, and some on a desktop: the style sheet is the same, the colours and the
    width are not.
    """
    root, found, seen = f"http://127.0.0.1:{service.port}", ["/deliveries"], set[str]()
    obstacles: dict[tuple[bool, str], list[str]] = {}
    for width, dark in ((375, True), (1280, False)):
        page = open_page(width=width, dark=dark)
        page.goto(f"{root}/sign-in")
        assert find_obstacles(page) == []
        sign_in(page, service)
        for path in found if dark else found[:8]:
            page.goto(root + path)
            problems = find_obstacles(page)
            if problems or "attacked" in page.title():
                obstacles[dark, path] = problems
            for kind, link in find_links(page) if dark else ():
                if kind not in seen:
                    seen.add(kind)
                    found.append(link)
    assert obstacles == {}
    assert len(found) > 10


@pytest.mark.smoke
def test_page_of_a_delivery_follows_a_retry(service: Service, open_page: OpenPage) -> None:
    page = open_page()
    sign_in(page, service)
    event = recorded.load("demo/bug")
    pause(page, service)
    assert service.deliver(event.event, recorded.unique(event.body)).status == 202
    page.goto(f"http://127.0.0.1:{service.port}/deliveries?state=queued")
    page.get_by_text("a migration (in the console)").wait_for()
    page.get_by_role("button", name="Retry this one").click()
    page.get_by_role("status").filter(has_text="to go").wait_for()
    page.locator("tbody tr", has_text="waiting").locator("a.row").click()
    page.locator(".state.queued").wait_for()
    other = page.context.new_page()
    other.goto(f"http://127.0.0.1:{service.port}/")
    other.get_by_role("button", name="Resume everything").click()
    page.locator("h1 .state.done").wait_for()
    page.locator("[hx-trigger='every 3s']").wait_for(state="detached")


def test_keys_and_a_box_choose_deliveries(service: Service, open_page: OpenPage) -> None:
    page = open_page()
    sign_in(page, service)
    pause(page, service)
    event = recorded.load("demo/bug")
    for _ in range(2):
        assert service.deliver(event.event, recorded.unique(event.body)).status == 202
    page.goto(f"http://127.0.0.1:{service.port}/deliveries?state=queued")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.get_by_text("1 selected").wait_for()
    page.keyboard.press("k")
    page.keyboard.press("x")
    page.get_by_text("1 selected").wait_for(state="hidden")
    page.set_viewport_size({"width": 390, "height": 900})
    page.get_by_label("Choose all on this page").check()
    page.get_by_text("2 selected").wait_for()
    page.get_by_role("button", name="Retry the chosen ones").click()
    page.get_by_text("is queued but waits").or_(page.get_by_text("to go")).first.wait_for()
    page.goto(f"http://127.0.0.1:{service.port}/")
    page.get_by_role("button", name="Resume everything").click()


def test_slash_focuses_the_search_box_unless_somebody_types(
    service: Service, open_page: OpenPage
) -> None:
    page = open_page()
    sign_in(page, service)
    search = page.get_by_label("Search deliveries")
    page.keyboard.press("/")
    page.keyboard.type("a/b")
    assert search.input_value() == "a/b"
    query = page.get_by_label("Query")
    query.fill("")
    query.press("/")
    assert query.input_value() == "/"


def test_whole_row_is_a_link(service: Service, open_page: OpenPage) -> None:
    page = open_page()
    sign_in(page, service)
    row = page.locator("tbody tr").first.bounding_box()
    assert row is not None
    page.mouse.click(row["x"] + row["width"] - 5, row["y"] + row["height"] / 2)
    page.wait_for_url(re.compile("/deliveries/[^?]+$"))


def test_plot_shows_values_on_hover_and_survives_a_new_version_of_the_page(
    service: Service, open_page: OpenPage
) -> None:
    page = open_page()
    sign_in(page, service)
    page.goto(f"http://127.0.0.1:{service.port}/")
    plot = page.locator("[data-plot]").first
    area = plot.locator(".u-over")
    area.hover(position={"x": area.evaluate("one => one.clientWidth") - 1, "y": 20})
    done = plot.locator(".u-series", has_text="done")
    assert int(done.locator(".u-value").inner_text()) >= 2
    page.mouse.move(0, 0)
    plot.locator(".u-series", has_text=re.compile(r"done\s*[2-9]")).wait_for()
    page.evaluate("htmx.ajax('GET', '/', {target: '#period', select: '#period'})")
    page.wait_for_function("document.querySelectorAll('.plot canvas').length === 4")


def test_prompt_keeps_its_colour_when_its_rank_changes(
    service: Service, open_page: OpenPage
) -> None:
    page = open_page()
    sign_in(page, service)
    page.goto(f"http://127.0.0.1:{service.port}/")
    plot = page.locator("[data-plot]").nth(2)

    def draw(*names: str) -> dict[str, str]:
        series = [{"name": name, "values": [1], "texts": ["1"]} for name in names]
        drawing = {"unit": "usd", "times": [1795428000], "series": series}
        plot.evaluate("(one, text) => { one.dataset.plot = text; }", json.dumps(drawing))
        page.evaluate("drawPlots()")
        markers = plot.locator(".u-series .u-marker").all()[1:]
        found = [one.evaluate("one => getComputedStyle(one).borderColor") for one in markers]
        return dict(zip(names, found, strict=True))

    colours = draw("pull_requests/analyze", "issues/analyze", "other prompts", "received", "done")
    again = draw("issues/analyze", "pull_requests/analyze", "received", "done", "other prompts")
    assert again == colours
    assert len(set(colours.values())) == 5


def test_person_acts_on_pages_of_the_demo_and_sees_what_hls_does(
    tmp_path: Path, open_page: OpenPage
) -> None:
    with Sandbox() as sandbox, service_maker(sandbox, tmp_path) as make:
        running = make().start()
        root = f"http://127.0.0.1:{running.port}"
        seed_story(sandbox, "demo/bug", "demo/feature")
        sandbox.state.hooks.add("Codertocat", f"{root}/webhook", SECRET)
        with closing(running.open_store()) as store:
            sandbox.find_delivery = partial(find_delivery, store, f"{root}/deliveries")
            page = open_page(width=390, dark=True)
            page.goto(sandbox.page_url)
            page.get_by_text("Write an issue").click()
            page.get_by_label("Title").fill(f"Please add dark mode {SCRIPT}")
            page.get_by_label("Text").fill(f"It would be nice at night. {SCRIPT}")
            assert find_obstacles(page) == []
            page.get_by_role("button", name="Write the issue").click()
            page.locator("#result .state.done").wait_for()
            page.get_by_text("A canned reply of the sandbox: it would help to know").wait_for()
            assert page.locator("aside .label").all_inner_texts()[0] == "enhancement"
            assert find_obstacles(page) == []
            page.goto(f"{sandbox.page_url}13")
            page.get_by_role("button", name="a cosmetic edit").click()
            page.locator("#result .state.done").wait_for()
            assert find_obstacles(page) == []
            page.get_by_role("link", name="The delivery in the console").click()
            page.wait_for_url(f"{root}/deliveries/*")
            page.get_by_role("link", name="Codertocat/Hello-World#13").click()
            page.wait_for_url(f"{sandbox.page_url}Codertocat/Hello-World/pull/13")
            assert "attacked" not in page.title()


BROKEN_CODE = """
codes => codes.filter((code) => {
  const range = document.createRange();
  range.selectNodeContents(code);
  return new Set([...range.getClientRects()].map((one) => one.top)).size > 1;
}).map((code) => code.textContent)
"""


def test_documentation_is_filtered_while_one_types_and_breaks_no_code_that_fits(
    service: Service, open_page: OpenPage
) -> None:
    page = open_page(width=390)
    sign_in(page, service)
    page.get_by_role("link", name="Documentation", exact=True).click()
    page.locator("main").get_by_role("link", name="Settings", exact=True).click()
    keys = page.locator(".key")
    keys.nth(99).wait_for()
    assert page.get_by_role("link", name="limits", exact=True).is_hidden()  # folded on a phone
    assert find_obstacles(page) == []
    broken = page.locator(".document code").evaluate_all(BROKEN_CODE)
    assert [code for code in broken if len(code) <= 45] == []
    page.get_by_label("Filter this page").press_sequentially("settle_s")
    page.wait_for_url("**/docs/settings.md?q=settle_s")
    assert keys.count() == 1
    assert "how long a push to a pull request waits for a newer one" in keys.inner_text()
    assert find_obstacles(page) == []
    page.get_by_label("Filter this page").fill("")
    keys.nth(99).wait_for()


class BadGateway(BaseHTTPRequestHandler):
    """A proxy whose service does not run."""

    def do_GET(self) -> None:
        self.send_response(502)
        self.end_headers()
        self.wfile.write(b"<h1>502 Bad Gateway</h1>")

    def log_message(self, *_: object) -> None:
        pass


def test_log_page_continues_after_a_restart(tmp_path: Path, open_page: OpenPage) -> None:
    with Sandbox() as sandbox, service_maker(sandbox, tmp_path) as make:
        running = make(port=free_port(), server=f"api_key: {KEY}").start()
        page = open_page()
        sign_in(page, running, "/log")
        running.stop()
        gateway = Server(("127.0.0.1", running.port), BadGateway)
        with gateway, page.expect_response(lambda response: response.status == 502):
            pass
        running.start()
        event = recorded.load("demo/bug")
        running.deliver(event.event, event.body, guid="after-the-restart")
        page.get_by_text("after-the-restart").first.wait_for()
