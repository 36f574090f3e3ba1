import re

import pytest

from mercer.gallery import Gallery, make_app
from mercer.gallery.limits import Limit

testclient = pytest.importorskip("starlette.testclient")
HERE = "http://127.0.0.1:8036"


@pytest.fixture
def gallery(shelf, store, player):
    return Gallery(shelf, store, url=HERE, command=player.command)


@pytest.fixture
def client(gallery):
    with testclient.TestClient(make_app(gallery), base_url=HERE) as client:
        yield client


def form_token(client, path="/papers/91-dice"):
    return re.search(r'name="csrf" value="(\w+)"', client.get(path).text)[1]


def test_the_front_page_lists_the_newest_first(client):
    page = client.get("/")
    assert page.status_code == 200
    titles = re.findall(r'<h3><a href="/papers/([\w-]+)"', page.text)
    assert titles == ["91-dice", "33-long-convs", "06-transnormer"]
    assert "On dice &amp; chance" in page.text
    assert "0 of 3 claims hold" in page.text


def test_it_shows_results_as_soon_as_they_are_there(client, shelf, put_results):
    before = client.get("/")
    put_results(shelf)
    page = client.get("/", headers={"if-none-match": before.headers["etag"]})
    assert page.status_code == 200
    assert "1 of 3 claims hold" in page.text
    assert 'src="/figures/91-dice.fair.throws.svg"' in page.text
    assert client.get("/", headers={"if-none-match": page.headers["etag"]}).status_code == 304


@pytest.mark.parametrize(
    ("query", "slugs"),
    [
        ("q=dice", ["91-dice"]),
        ("q=LINEAR+attention", ["06-transnormer"]),
        ("tag=convolution", ["33-long-convs"]),
        ("verdict=holds", ["91-dice"]),
        ("verdict=protocol", []),
        ("verdict=open", ["91-dice", "33-long-convs", "06-transnormer"]),
        ("tag=nothing", []),
        ("sort=trending&verdict=nonsense", ["91-dice", "33-long-convs", "06-transnormer"]),
        ("q=" + "x" * 5000, []),
        ("q=%00%ff%3Cscript%3E", []),
    ],
)
def test_papers_are_found_by_words_tag_and_verdict(client, shelf, put_results, query, slugs):
    put_results(shelf)
    answer = client.get(f"/?part=list&{query}")
    assert answer.status_code == 200
    exact = answer.text.split("Close in meaning")[0]
    assert re.findall(r'<h3><a href="/papers/([\w-]+)"', exact) == slugs
    assert "<script>" not in answer.text
    assert slugs or "No paper fits" in answer.text or "Close in meaning" in answer.text


def test_a_paper_shows_its_claims_with_the_papers_number_beside_ours(client, shelf, put_results):
    put_results(shelf)
    page = client.get("/papers/91-dice").text
    expected = ["one sixth", "table 1", "✓ holds", "✗ does not hold", "nobody can find it", "≥ 0.9", "control"]
    expected += ["Three throws.", "Two throws.", "History: 1 measurement", "@misc{ada2024dice", "def fair(run: Run)"]
    for words in [*expected, "Run 3 quick claims"]:
        assert words in page, words
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    assert 'href="javascript' not in page
    assert '<svg class="dots"' in page


def test_a_damaged_result_is_told_on_its_page_and_on_the_front_page(client, shelf, put_results):
    put_results(shelf)
    (shelf.folder / "91-dice" / "fair.json").write_text("{")
    shelf.refresh(at_once=True)
    assert "is damaged: it is no JSON object" in client.get("/").text
    assert "is damaged: it is no JSON object" in client.get("/papers/91-dice").text


@pytest.mark.parametrize(
    "path",
    ["/papers/nothing", "/papers/..%2f..%2fetc%2fpasswd", "/figures/91-dice.fair.none.svg",
     "/figures/..%2f..%2fx.svg", "/assets/../app.py",
     "/assets/..%2fapp.py", "/assets/app.py", "/nothing", "/runs/99999999999999999999/events", "/runs/1/events",
     "/confirm/x", "/unsubscribe/x"],
)  # fmt: skip
def test_what_is_not_there_is_said_in_one_line_and_no_file_is_reached(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert "root:" not in answer.text
    assert "Traceback" not in answer.text
    as_json = client.get(path, headers={"accept": "application/json"})
    assert as_json.status_code == 404
    assert "events" in path or len(as_json.json()["error"].splitlines()) == 1


def test_a_run_is_started_watched_and_done(client, gallery):
    token = form_token(client)
    answer = client.post("/papers/91-dice/run", data={"csrf": token}, headers={"accept": "application/json"})
    assert answer.status_code == 200
    id = answer.json()["id"]
    events = client.get(f"/runs/{id}/events")  # which ends with the run
    assert events.headers["content-type"].startswith("text/event-stream")
    assert '"claim": "fair", "state": "running", "seeds": 3' in events.text
    assert "sixty throws" in events.text
    assert '"ended": "done", "words": "Done"' in events.text
    last = int(re.findall(r"^id: (\d+)$", events.text, re.MULTILINE)[-1])
    again = client.get(f"/runs/{id}/events", headers={"last-event-id": str(last - 1)})
    assert re.findall(r"^id: (\d+)$", again.text, re.MULTILINE) == [str(last)]
    assert client.get(f"/runs/{id}/events?after={last}").status_code == 204
    assert "Done" in client.get("/runs").text
    assert "sixty throws" in client.get("/papers/91-dice").text


def test_without_a_script_the_button_leads_back_to_the_page(client):
    answer = client.post("/papers/91-dice/run", data={"csrf": form_token(client)}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/papers/91-dice#run")


def test_a_crash_is_shown(client, player):
    player("die")
    client.post("/papers/91-dice/run", data={"csrf": form_token(client)})
    assert '"ended": "failed", "words": "Failed: Its process died (exit code 3)."' in client.get("/runs/1/events").text
    page = client.get("/papers/91-dice").text
    assert "Failed: Its process died (exit code 3)." in page
    assert "Traceback: the die is broken" in page


def test_a_form_from_elsewhere_changes_nothing(client, gallery):
    token = form_token(client)
    for data, headers in (
        ({}, {}),
        ({"csrf": "0" * 64}, {}),
        ({"csrf": token}, {"origin": "https://evil.example"}),
        ({"csrf": token}, {"origin": "null"}),
        ({"csrf": token}, {"sec-fetch-site": "cross-site"}),
        ({"csrf": token}, {"cookie": "mercer_visit=another"}),
    ):
        if "cookie" in headers:
            client.cookies.clear()
        answer = client.post("/papers/91-dice/run", data=data, headers=headers)
        assert answer.status_code == 403, (data, headers)
    assert gallery.runs.active() == gallery.runs.recent() == []


def test_every_answer_tells_the_browser_to_refuse_what_is_foreign(client):
    for path in ("/", "/papers/91-dice", "/nothing", "/assets/gallery.js"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
    cookie = client.get("/papers/91-dice", headers={"cookie": ""}).headers.get("set-cookie", "")
    assert not cookie or ("HttpOnly" in cookie and "SameSite=strict" in cookie)


def test_a_figure_is_a_document_in_which_nothing_runs(client, shelf, put_results):
    put_results(shelf)
    answer = client.get("/figures/91-dice.fair.throws.svg")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "prefers-color-scheme" in answer.text


def test_too_much_and_too_often_are_refused(gallery):
    app = make_app(gallery, changes=Limit(burst=4, per_second=0.01))
    with testclient.TestClient(app, base_url=HERE) as client:
        large = client.post("/subscribe", content=b"x" * 20_000)
        assert (large.status_code, large.text) == (413, "That is too large: 16,384 bytes are the most.\n")
        parts = client.post("/subscribe", content=(b"x" * 10_000 for _ in range(3)))
        assert parts.status_code == 413
        assert client.request("DELETE", "/papers/91-dice").status_code == 405
        codes = [client.post("/papers/91-dice/run", data={}).status_code for _ in range(3)]
        assert codes == [403, 403, 429]
        refused = client.post("/papers/91-dice/run", headers={"accept": "application/json"})
        assert refused.json()["error"].startswith("Too many requests. Wait ")
        assert int(refused.headers["retry-after"]) > 1
        assert client.get("/").status_code == 200


def test_a_foreign_name_that_was_pointed_here_is_not_answered(client, gallery):
    assert client.get("/", headers={"host": "evil.example:8036"}).status_code == 400
    assert client.get("/", headers={"host": "127.evil.example"}).status_code == 400
    assert client.get("/", headers={"host": "[::1"}).status_code == 400
    assert client.get("/", headers={"host": "localhost:8036"}).status_code == 200
    assert client.get("/", headers={"host": "[::1]:8036"}).status_code == 200
    with testclient.TestClient(make_app(gallery, is_local=False), base_url="https://kernels.example.org") as public:
        assert public.get("/").status_code == 200


def test_bound_elsewhere_it_takes_the_token_to_start_work(gallery):
    app = make_app(gallery, key="a long secret", is_local=False)
    with testclient.TestClient(app, base_url="https://kernels.example.org") as client:
        page = client.get("/papers/91-dice").text
        assert "open the address with the token" in page
        assert "<form method" not in page
        assert client.post("/papers/91-dice/run", data={"csrf": "x"}).status_code == 403
        assert client.post("/runs/1/cancel", data={"csrf": "x"}).status_code == 403
        assert client.get("/?token=wrong").status_code == 403
        assert "mercer_key" not in client.cookies
        answer = client.get("/?token=a long secret", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert "Secure" in answer.headers["set-cookie"]
        assert client.post("/papers/91-dice/run", data={"csrf": form_token(client)}).status_code == 200
        client.cookies.clear()
        token = form_token(client, "/subscribe") if gallery.mail else "x"
        bearer = {"authorization": "Bearer a long secret"}
        assert (
            client.post("/papers/91-dice/run", data={"csrf": token}, headers=bearer).status_code == 403
        )  # no form of ours


def test_a_full_disk_is_one_line_and_pages_are_shown_all_the_same(client, store, gallery):
    token = form_token(client)
    store.rows(f"PRAGMA max_page_count = {store.rows('PRAGMA page_count')[0][0]}")
    gallery.runs.ask("x" * 3000)  # what room is left on the last pages
    for _ in range(30):
        answer = client.post("/papers/91-dice/run", data={"csrf": token}, headers={"accept": "application/json"})
        if answer.status_code == 507 or answer.status_code == 429:
            break
        gallery.store.change("UPDATE runs SET reason = ?, state = 'done' WHERE state = 'waiting'", "y" * 900)
    assert answer.status_code == 507
    assert "database or disk is full" in answer.json()["error"]
    assert client.get("/").status_code == 200
    assert client.get("/papers/91-dice").status_code == 200


def test_without_a_mail_server_nobody_can_subscribe(client):
    assert "sends no mail" in client.get("/subscribe").text
    token = form_token(client)
    assert client.post("/subscribe", data={"csrf": token, "address": "ada@example.org"}).status_code == 404


def test_an_address_is_asked_confirmed_and_deleted(shelf, store, player, mailbox):
    gallery = Gallery(shelf, store, url="https://kernels.example.org", mail=mailbox.settings, command=player.command)
    with testclient.TestClient(make_app(gallery), base_url=HERE) as client:
        token = form_token(client, "/subscribe")
        bad = client.post("/subscribe", data={"csrf": token, "address": '"><script>'})
        assert bad.status_code == 400
        assert "is not an e-mail address" in bad.text
        assert '"><script>' not in bad.text
        first = client.post("/subscribe", data={"csrf": token, "address": "ada@example.org"})
        link = re.search(r"https://kernels.example.org(/confirm/\S+)", str(mailbox.messages[0][1]))[1]
        page = client.get(link)
        assert "Shall news of this gallery be sent to ada@example.org?" in page.text
        assert gallery.subscribers.confirmed() == []  # opening a link is not enough: mail programs do that
        token = form_token(client, link)
        assert "You are subscribed" in client.post(link, data={"csrf": token}).text
        # Who asks again gets the same answer, so that nobody learns who is subscribed.
        assert client.post("/subscribe", data={"csrf": token, "address": "ada@example.org"}).text == first.text
        assert len(mailbox.messages) == 1
        leave = link.replace("confirm", "unsubscribe")
        assert client.post(leave, data={}).status_code == 403
        client.cookies.clear()
        foreign = {"origin": "https://mail.example", "sec-fetch-site": "cross-site"}
        assert client.post(leave, data={"List-Unsubscribe": "One-Click"}, headers=foreign).status_code == 200
        assert gallery.subscribers.confirmed() == []
        assert client.get(leave).status_code == 404
        refused = client.post(
            "/subscribe", data={"csrf": form_token(client, "/subscribe"), "address": "refused@example.org"}
        )
        assert refused.status_code == 502
        assert "does not take mail for this address" in refused.text
