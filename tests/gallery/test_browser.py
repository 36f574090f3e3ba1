"""The gallery in a real browser: Debian's chromium, driven by Playwright."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

from mercer.cli import main
from mercer.gallery import Gallery, Subscribers, export_site
from mercer.gallery.serve import listen, server_of

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
expect = playwright.expect
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow(reason="starts chromium"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium"),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
MILLISECONDS = 15_000


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def serve():
    """Serve a gallery on a port of this machine, in a thread; gives its address."""
    running = []

    def serve(gallery):
        bound = listen("127.0.0.1", 0)
        gallery.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        server = server_of(gallery, is_local=True)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        running.append((server, thread, bound))
        return gallery.url

    yield serve
    for server, thread, bound in running:
        server.should_exit = True
        thread.join(20)
        bound.close()
        assert not thread.is_alive()


@pytest.fixture
def visit(chromium, serve):  # whose server ends after the visitors are gone
    """Open a page as a new visitor. Nothing may be asked of another machine, and nothing may be complained of."""
    visitors, wrong = [], []

    def visit(address, **settings):
        visitor = chromium.new_context(**settings)
        visitor.set_default_timeout(MILLISECONDS)
        visitors.append(visitor)
        page = visitor.new_page()
        page.on("request", lambda r: None if r.url.startswith(("http://127.0.0.1:", "file:")) else wrong.append(r.url))
        page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        return page

    visit.wrong = wrong
    yield visit
    for visitor in visitors:
        visitor.close()
    assert wrong == []


@pytest.fixture
def gallery(shelf, store, player, put_results):
    put_results(shelf)
    return Gallery(shelf, store, url="", command=player.command)


def titles(page):
    return page.locator(".card:visible h3").all_inner_texts()


def verdict(page, name):
    """The filter for a verdict."""
    return page.locator(f"label[title$='that: {name}']")


def test_a_reader_searches_filters_and_opens_a_paper_with_the_keyboard_alone(gallery, serve, visit):
    page = visit(serve(gallery))
    cards = page.locator("#papers .card")
    assert page.title() == "mercer gallery"
    assert len(titles(page)) == 3
    page.keyboard.press("/")
    page.keyboard.type("linear attention")
    expect(page.locator(".found")).to_contain_text("1 of 3 papers has the words “linear attention”")
    assert titles(page)[0] == "The Devil in Linear Transformer"
    assert page.url.endswith("/?q=linear+attention")
    page.keyboard.press("Control+a")
    page.keyboard.type("dice")
    expect(cards.first).to_contain_text("On dice & chance")
    for _ in range(12):  # past the filters to the first paper
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('h3') !== null"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/papers/91-dice")
    expect(page.locator("#fair .badge")).to_contain_text("✓ holds")
    page.go_back()
    page.locator("#q").fill("")
    verdict(page, "does not hold").click()
    expect(page).to_have_url(re.compile(r"/\?verdict=fails$"))
    expect(cards).to_have_count(1)
    assert titles(page) == ["On dice & chance"]


def test_pages_fit_a_phone_and_a_desk_in_light_and_dark(gallery, serve, visit):
    address = serve(gallery)
    page = visit(address)
    for width, scheme in ((390, "light"), (390, "dark"), (1440, "light"), (1440, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        for path in ("/", "/runs", "/subscribe", "/papers/91-dice"):
            page.goto(address + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        for text in (".badge .holds", ".badge .fails", ".fine", ".lead", ".pip.holds", ".pip.fails", ".pip.open"):
            assert contrast(page, text) > 4.5, (text, scheme)  # WCAG 2.1, 1.4.3


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


def test_two_browsers_see_the_same_run_and_either_cancels_it(gallery, serve, visit, player):
    player("wait")
    address = f"{serve(gallery)}/papers/91-dice"
    first, second = visit(address), visit(address)
    first.get_by_role("button", name="Run 3 quick claims").click()
    first.locator("[data-claim=fair].running").wait_for()
    second.get_by_role("button", name="Run 3 quick claims").click()  # joins the run that is under way
    second.locator("[data-claim=fair].running").wait_for()
    assert len(gallery.runs.active()) == 1
    second.locator("[data-log] summary").click()
    expect(second.locator("[data-log] pre")).to_contain_text("sixty throws")
    third = visit(address)  # who comes late sees how far it is
    for page in (first, second, third):
        expect(page.locator("[data-claim=fair] progress")).to_have_js_property("value", 2)
    second.get_by_role("button", name="Cancel").click()
    for page in (first, second, third):
        expect(page.locator("[data-state]")).to_have_text("Cancelled; what was measured stands")
        page.get_by_role("button", name="Run 3 quick claims").wait_for()
    assert gallery.runs.active() == []


def test_a_crash_is_shown_with_what_was_printed(gallery, serve, visit, player):
    player("die")
    page = visit(f"{serve(gallery)}/papers/91-dice")
    page.get_by_role("button", name="Run 3 quick claims").click()
    expect(page.locator("[data-state]")).to_have_text("Failed: Its process died (exit code 3).")
    expect(page.get_by_text("Traceback: the die is broken")).to_be_visible()


def test_an_address_is_subscribed_confirmed_sent_a_digest_and_deleted(
    shelf, store, player, serve, visit, mailbox, monkeypatch, capsys
):
    gallery = Gallery(shelf, store, url="", mail=mailbox.settings, command=player.command)
    monkeypatch.setattr("mercer.gallery.shelf_of", lambda folder, own=(): shelf)
    for name, value in (("HOST", "127.0.0.1"), ("PORT", str(mailbox.port)), ("FROM", "gallery@example.org")):
        monkeypatch.setenv(f"MERCER_SMTP_{name}", value)
    page = visit(serve(gallery))
    page.get_by_role("link", name="Get it in your inbox").click()
    page.get_by_label("Your e-mail address").fill("ada@example.org")
    page.get_by_role("button", name="Subscribe").click()
    page.get_by_text("Look into your mail").wait_for()
    page.goto(link_in(mailbox, "confirm"))
    page.get_by_role("button", name="Yes, send it to me").click()
    page.get_by_text("You are subscribed").wait_for()
    assert main(["digest", "--since", "2020-01-01", "--url", gallery.url]) == 0
    assert capsys.readouterr().out.startswith("1 told")
    page.goto(link_in(mailbox, "papers"))
    page.get_by_text("On dice & chance").first.wait_for()
    page.goto(link_in(mailbox, "unsubscribe"))
    page.get_by_role("button", name="Delete my address").click()
    page.get_by_text("You are unsubscribed").wait_for()
    assert Subscribers(store).confirmed() == []


def link_in(mailbox, what):
    return re.search(rf"http://\S+/{what}/\S+", mailbox.messages[-1][1].get_body(("plain",)).get_content())[0]


def test_an_exported_site_is_searched_without_a_server(shelf, history, put_results, tmp_path, visit):
    put_results(shelf)
    history.note(shelf)
    export_site(shelf, history, tmp_path / "site")
    page = visit((tmp_path / "site" / "index.html").as_uri())
    page.locator("#q").fill("linear attention")
    expect(page.locator(".found")).to_have_text("1 paper")
    assert titles(page) == ["The Devil in Linear Transformer"]
    page.locator("#q").fill("")
    verdict(page, "does not hold").click()
    expect(page.locator(".card:visible h3")).to_have_text(["On dice & chance"])
    page.locator(".card:visible h3 a").click()
    expect(page.locator("#fair .badge")).to_contain_text("✓ holds")
    assert page.get_by_role("button", name="Run").count() == 0
    page.locator(".head .tags a").first.click()
    expect(page.locator(".found")).to_have_text("1 paper")


def test_a_run_is_measured_before_ones_eyes(shelf, store, serve, visit, put_results):
    put_results(shelf, "loaded")
    page = visit(f"{serve(Gallery(shelf, store, url=''))}/papers/91-dice")
    page.set_default_timeout(60_000)
    expect(page.locator("#fair .badge")).to_contain_text("– not measured")
    page.get_by_role("button", name="Run 3 quick claims").click()
    page.locator("[data-claim=fair].done").wait_for()
    expect(page.locator("[data-state]")).to_have_text("Done", timeout=30_000)
    expect(page.locator("[data-claim=fair] progress")).to_have_js_property("value", 3)
    expect(page.locator("[data-claim=loaded] .out")).to_contain_text("not measured again")
    expect(page.locator("#fair .badge")).to_contain_text("✓ holds")  # the claims below are new as well
    expect(page.locator("#verdicts h2")).to_have_text("1 of 3 claims hold")
    page.locator("[data-log] summary").click()
    expect(page.locator("[data-log] pre")).to_contain_text("sixty throws")


# Serves the dice in a process of its own, so that it can be killed; without scikit-learn, whose import takes longest.
SERVER = """
import sys
from pathlib import Path
import torch
from mercer.gallery import Gallery, Shelf, Store, search
from mercer.gallery.serve import listen, server_of
from mercer.papers import registry
class Same:
    name = "words"
    def __call__(self, texts):
        return torch.ones(len(texts), 1)
search.embedding_for = lambda texts: Same()
file, port, command = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
shelf = Shelf(file.parent / "results" / "quick", entries=[registry.load_file(file).entry], modules={91: file})
store = Store(file.parent / "data" / "gallery.sqlite3")
gallery = Gallery(shelf, store, url=f"http://127.0.0.1:{port}", command=command)
server_of(gallery, is_local=True).run(sockets=[listen("127.0.0.1", port)])
"""


@pytest.fixture
def start(dice_file, player):
    """Start the server in a process; gives it, once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = []

    def start():
        process = subprocess.Popen([sys.executable, "-c", SERVER, str(dice_file), str(port), *player.command])
        started.append(process)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return process
            time.sleep(0.1)
        raise AssertionError("the server did not start")

    start.address = f"http://127.0.0.1:{port}"
    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_run_comes_to_its_end_though_the_server_is_killed_in_the_middle(start, visit, player):
    player("wait")
    server = start()
    page = visit(f"{start.address}/papers/91-dice")
    page.set_default_timeout(60_000)
    page.get_by_role("button", name="Run 3 quick claims").click()
    expect(page.locator("[data-claim=fair] progress")).to_have_js_property("value", 2)
    server.kill()
    server.wait()
    player("finish")
    start()
    # The page is still open, and takes up the run where it was.
    expect(page.locator("[data-state]")).to_have_text("Done", timeout=30_000)
    expect(page.locator("[data-claim=fair] progress")).to_have_js_property("value", 3)
    expect(page.locator("[data-log] pre")).to_contain_text("The server was started again; what was measured stands.")
    visit.wrong[:] = [line for line in visit.wrong if "ERR_CONNECTION" not in line and "ERR_INCOMPLETE" not in line]
