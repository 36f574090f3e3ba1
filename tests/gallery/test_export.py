import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mercer.gallery.export import ExportError, export_site


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.ids = [], set()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.found += [attributes[name] for name in ("href", "src", "action") if attributes.get(name)]
        self.ids |= {attributes["id"]} if "id" in attributes else set()


@pytest.fixture
def site(shelf, history, put_results, tmp_path):
    put_results(shelf)
    history.note(shelf)
    export_site(shelf, history, tmp_path / "site")
    return tmp_path / "site"


def test_every_link_of_the_site_leads_somewhere(site):
    pages = {path: Links() for path in site.rglob("*.html")}
    for path, links in pages.items():
        links.feed(path.read_text())
    n_checked = 0
    for path, links in pages.items():
        for link in links.found:
            if link.startswith("http"):
                continue
            assert not link.startswith("/"), f"{path.name}: {link} would leave the site"
            file, _, anchor = link.split("?")[0].partition("#")
            target = (path.parent / file).resolve() if file else path
            assert target.is_file(), f"{path.name}: {link}"
            assert not anchor or target.suffix != ".html" or anchor in pages[target].ids, f"{path.name}: {link}"
            n_checked += 1
    assert len(pages) == 4
    assert n_checked > 50


def test_nothing_is_loaded_from_elsewhere_and_nothing_can_be_run(site):
    for path in site.rglob("*.html"):
        text = path.read_text()
        assert not re.search(r'(src|<link[^>]*href)="https?:', text)
        assert "<form method" not in text
        assert "/subscribe" not in text
        assert " style=" not in text
        assert "onclick" not in text
    assert "The die is fair." in (site / "papers" / "91-dice.html").read_text()


def test_an_export_is_repeated_and_removes_only_what_was_its_own(site, shelf, history, tmp_path):
    names = json.loads((site / ".mercer-gallery").read_text())
    assert sorted(str(p.relative_to(site)) for p in site.rglob("*") if p.is_file()) == sorted(
        [*names, ".mercer-gallery"]
    )
    outside = tmp_path / "outside.html"
    outside.write_text("mine")
    (site / "papers" / "mine.html").write_text("mine")
    (site / "papers" / "gone.html").write_text("ours")
    (site / ".mercer-gallery").write_text(json.dumps([*names, "papers/gone.html", "../outside.html"]))
    export_site(shelf, history, site)
    assert not (site / "papers" / "gone.html").exists()
    assert (site / "papers" / "mine.html").read_text() == outside.read_text() == "mine"


@pytest.mark.parametrize("what", ["a file", "a folder with something", "a folder that cannot be made"])
def test_a_folder_that_is_not_ours_is_one_line_and_stays_as_it_is(shelf, history, tmp_path, what):
    target = tmp_path / "target"
    if what == "a file":
        target.write_text("mine")
    elif what == "a folder with something":
        target.mkdir()
        (target / "index.html").write_text("mine")
    else:
        target = Path("/proc/nothing/here")
    with pytest.raises(ExportError) as error:
        export_site(shelf, history, target)
    assert len(str(error.value).splitlines()) == 1
    assert what != "a folder with something" or (target / "index.html").read_text() == "mine"
