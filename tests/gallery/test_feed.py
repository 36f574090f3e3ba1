from datetime import datetime
from xml.etree import ElementTree

import pytest

from mercer.gallery.feed import feed
from mercer.gallery.links import Links

ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture
def tree(shelf, history, put_results):
    put_results(shelf, "loaded", date="2026-01-01T00:00:00+00:00")
    history.note(shelf)
    put_results(shelf, "loaded", values=0.95)
    history.note(shelf)
    return ElementTree.fromstring(feed(shelf, history, base="https://kernels.example.org/", links=Links()))


def test_the_feed_is_atom_with_the_newest_first(tree):
    assert tree.tag == f"{ATOM}feed"
    for required in ("id", "title", "updated"):  # RFC 4287, sections 4.1.1 and 4.1.2
        assert tree.find(f"{ATOM}{required}").text
    assert tree.find(f"{ATOM}author/{ATOM}name").text == "mercer"
    entries = tree.findall(f"{ATOM}entry")
    assert [entry.find(f"{ATOM}title").text for entry in entries] == [
        "dice/loaded: holds, was 'does not hold'",
        "On dice & chance",
    ]
    ids = [entry.find(f"{ATOM}id").text for entry in entries]
    assert len(set(ids)) == 2
    assert all(id.startswith("urn:mercer:gallery:91-dice:") for id in ids)
    for entry in entries:
        datetime.fromisoformat(entry.find(f"{ATOM}updated").text)
    assert entries[0].find(f"{ATOM}link").get("href") == "https://kernels.example.org/papers/91-dice#loaded"


def test_the_feed_of_files_leads_to_files(shelf, history):
    history.note(shelf)
    tree = ElementTree.fromstring(feed(shelf, history, base="", links=Links(root="", is_static=True)))
    assert tree.find(f"{ATOM}entry/{ATOM}link").get("href") == "papers/91-dice.html"


def test_without_news_it_is_a_feed_all_the_same(shelf, history):
    tree = ElementTree.fromstring(feed(shelf, history, base="", links=Links()))
    assert tree.findall(f"{ATOM}entry") == []
    assert tree.find(f"{ATOM}updated").text.startswith("1970")
