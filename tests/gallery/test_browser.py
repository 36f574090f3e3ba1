"""The gallery in a real browser: Debian's chromium, driven by Playwright."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from mercer.cli import main
from mercer.gallery import Gallery, Subscribers, make_app
from mercer.gallery.serve import listen

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow(reason="starts chromium"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium"),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
SECONDS = 15_000  # milliseconds, rather


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Open a page as a new visitor. Nothing may be asked of another machine, and nothing may be complained of."""
    visitors, wrong = [], []

    def visit(address, **settings):
        visitor = chromium.new_context(**settings)
        visitor.set_default_timeout(SECONDS)
        visitors.append(visitor)
        page = visitor.new_page()
        page.on("request", lambda r: wrong.append(r.url) if not r.url.startswith("http://127.0.0.1:") else None)
        page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        return page

    visit.wrong = wrong
    yield visit
    for visitor in visitors:
        visitor.close()
    assert wrong == []


@contextmanager
def served(gallery):
    """The gallery on a port of this machine, in a thread."""
    bound = listen("127.0.0.1", 0)
    gallery.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    settings = {"log_level": "warning", "access_log": False, "timeout_graceful_shutdown": 1}
    server = uvicorn.Server(uvicorn.Config(make_app(gallery), **settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        yield gallery.url
    finally:
        server.should_exit = True
        thread.join(10)
        bound.close()


@pytest.fixture
def gallery(shelf, store, player, put_results):
    put_results(shelf)
    return Gallery(shelf, store, url="", command=player.command)


def titles(page):
    return page.locator(".card:visible h3").all_inner_texts()


def test_a_reader_searches_filters_and_opens_a_paper_with_the_keyboard_alone(gallery, visit):
    with served(gallery) as address:
        page = visit(address)
        assert page.title() == "mercer gallery"
        assert len(titles(page)) == 3
        page.keyboard.press("/")
        page.keyboard.type("linear attention")
        page.wait_for_function("document.querySelectorAll('#papers .card').length < 3")
        assert titles(page)[0] == "The Devil in Linear Transformer"
        assert page.url.endswith("/?q=linear+attention")
        page.keyboard.press("Control+a")
        page.keyboard.type("dice")
        page.wait_for_function("document.querySelector('#papers h3').innerText.includes('dice')")
        for _ in range(12):  # past the filters to the first paper
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.closest('h3') !== null"):
                break
        page.keyboard.press("Enter")
        page.wait_for_url("**/papers/91-dice")
        assert page.locator("#fair .badge").inner_text().startswith("✓ holds")
        page.go_back()
        page.get_by_text("does not hold", exact=True).first.click()
        page.wait_for_function("location.search.includes('verdict=fails')")
        page.locator("#q").fill("")
        page.wait_for_function("document.querySelectorAll('#papers .card').length === 1")
        assert titles(page) == ["On dice & chance"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_pages_fit_a_phone_and_a_desk_in_light_and_dark(gallery, visit, width, scheme):
    with served(gallery) as address:
        page = visit(address, viewport={"width": width, "height": 900}, color_scheme=scheme)
        for path in ("/", "/papers/91-dice", "/runs", "/subscribe"):
            page.goto(address + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        page.goto(address + "/papers/91-dice")
        assert contrast(page, ".badge .holds") > 4.5  # WCAG 2.1, 1.4.3
        assert contrast(page, ".fine") > 4.5
        assert contrast(page, ".lead") > 4.5


def contrast(page, selector):
    """Ratio of the luminances of a text and what is behind it."""
    colours = page.locator(selector).first.evaluate(
        """element => {
            let behind = element;
            while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
            return [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
        }"""
    )
    luminances = sorted(luminance(colour) for colour in colours)
    return (luminances[1] + 0.05) / (luminances[0] + 0.05)


def luminance(colour):
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (int(n) / 255 for n in re.findall(r"\d+", colour)[:3])
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_two_browsers_see_the_same_run_and_either_cancels_it(gallery, visit, player):
    player("wait")
    with served(gallery) as address:
        first, second = visit(f"{address}/papers/91-dice"), visit(f"{address}/papers/91-dice")
        first.get_by_role("button", name="Run 3 quick claims").click()
        first.locator("[data-claim=fair].running").wait_for()
        second.get_by_role("button", name="Run 3 quick claims").click()  # joins the run that is under way
        second.locator("[data-claim=fair].running").wait_for()
        assert len(gallery.runs.active()) == 1
        second.locator("[data-claim=fair] progress[value='2']").wait_for()
        second.locator("[data-log] summary").click()
        second.get_by_text("sixty throws").wait_for()
        third = visit(f"{address}/papers/91-dice")  # who comes late sees how far it is
        third.locator("[data-claim=fair] progress[value='2']").wait_for()
        second.get_by_role("button", name="Cancel").click()
        for page in (first, second, third):
            page.get_by_text("Cancelled; what was measured stands").wait_for()
            page.get_by_role("button", name="Run 3 quick claims").wait_for()
        assert gallery.runs.active() == []


def test_a_crash_is_shown_with_what_was_printed(gallery, visit, player):
    player("die")
    with served(gallery) as address:
        page = visit(f"{address}/papers/91-dice")
        page.get_by_role("button", name="Run 3 quick claims").click()
        page.get_by_text("Failed: Its process died (exit code 3).").wait_for()
        page.get_by_text("Traceback: the die is broken").wait_for()


def test_an_address_is_subscribed_confirmed_sent_a_digest_and_deleted(
    shelf, store, player, visit, mailbox, monkeypatch, capsys
):
    gallery = Gallery(shelf, store, url="", mail=mailbox.settings, command=player.command)
    monkeypatch.setattr("mercer.gallery.shelf_of", lambda folder, own=(): shelf)
    for name, value in (("HOST", "127.0.0.1"), ("PORT", str(mailbox.port)), ("FROM", "gallery@example.org")):
        monkeypatch.setenv(f"MERCER_SMTP_{name}", value)
    with served(gallery) as address:
        page = visit(address)
        page.get_by_role("link", name="Get it in your inbox").click()
        page.get_by_label("Your e-mail address").fill("ada@example.org")
        page.get_by_role("button", name="Subscribe").click()
        page.get_by_text("Look into your mail").wait_for()
        page.goto(link_in(mailbox, "confirm"))
        page.get_by_role("button", name="Yes, send it to me").click()
        page.get_by_text("You are subscribed").wait_for()
        assert main(["digest", "--since", "2020-01-01", "--url", address]) == 0
        assert capsys.readouterr().out.startswith("1 told")
        page.goto(link_in(mailbox, "papers"))
        page.get_by_text("On dice & chance").first.wait_for()
        page.goto(link_in(mailbox, "unsubscribe"))
        page.get_by_role("button", name="Delete my address").click()
        page.get_by_text("You are unsubscribed").wait_for()
    assert Subscribers(gallery.store).confirmed() == []


def link_in(mailbox, what):
    return re.search(rf"http://\S+/{what}/\S+", mailbox.messages[-1][1].get_body(("plain",)).get_content())[0]


def test_an_exported_site_is_searched_without_a_server(gallery, shelf, tmp_path, chromium):
    from mercer.gallery import export_site

    gallery.history.note(shelf)
    export_site(shelf, gallery.history, tmp_path / "site")
    visitor = chromium.new_context()
    visitor.set_default_timeout(SECONDS)
    page = visitor.new_page()
    page.goto((tmp_path / "site" / "index.html").as_uri())
    page.locator("#q").fill("linear attention")
    page.wait_for_function("document.querySelector('.found').innerText === '1 paper'")
    assert titles(page) == ["The Devil in Linear Transformer"]
    page.locator("#q").fill("")
    page.get_by_text("does not hold", exact=True).first.click()
    page.wait_for_function("document.querySelector('.found').innerText === '1 paper'")
    page.locator(".card:visible h3 a").click()
    assert page.locator("#fair .badge").inner_text().startswith("✓ holds")
    assert page.get_by_role("button", name="Run").count() == 0
    page.locator(".tags a").first.click()
    page.wait_for_function("document.querySelector('.found').innerText === '1 paper'")
    visitor.close()


# Serves the dice in a process of its own, so that it can be killed.
SERVER = """
import sys
from pathlib import Path
from mercer.gallery import Gallery, Shelf, Store
from mercer.gallery.serve import listen, serve
from mercer.papers import registry
file, port = Path(sys.argv[1]), int(sys.argv[2])
shelf = Shelf(file.parent / "results" / "quick", entries=[registry.load_file(file).entry], modules={91: file})
store = Store(file.parent / "data" / "gallery.sqlite3")
serve(Gallery(shelf, store, url=f"http://127.0.0.1:{port}"), listen("127.0.0.1", port), is_local=True)
"""


def test_a_run_comes_to_its_end_though_the_server_is_killed_in_the_middle(dice_file, visit, tmp_path, monkeypatch):
    gate = tmp_path / "gate"
    monkeypatch.setenv("DICE_GATE", str(gate))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def start():
        process = subprocess.Popen([sys.executable, "-c", SERVER, str(dice_file), str(port)])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return process
            time.sleep(0.1)
        process.kill()
        raise AssertionError("the server did not start")

    server = start()
    try:
        page = visit(f"http://127.0.0.1:{port}/papers/91-dice")
        page.set_default_timeout(60_000)
        page.get_by_role("button", name="Run 3 quick claims").click()
        page.locator("[data-claim=fair].done").wait_for()
        page.locator("[data-claim=loaded].running").wait_for()
        measured = (dice_file.parent / "results" / "quick" / "91-dice" / "fair.json").read_text()
        server.kill()
        server.wait()
        gate.touch()
        server = start()
        # The page is still open, and takes up the run where it was.
        page.get_by_text("Done", exact=True).wait_for()
        assert "not measured again" in page.locator("[data-claim=fair] .out").inner_text()
        assert page.locator("[data-claim=loaded] .out").inner_text() == "does not hold"
        page.locator("#loaded .badge .fails").wait_for()  # the claims below are new as well
        assert (dice_file.parent / "results" / "quick" / "91-dice" / "fair.json").read_text() == measured
        visit.wrong[:] = [line for line in visit.wrong if "ERR_CONNECTION" not in line and "ERR_INCOMPLETE" not in line]
    finally:
        server.kill()
        server.wait()
