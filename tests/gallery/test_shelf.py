import json

import pytest

from mercer.gallery.shelf import Shelf, shelf_of
from mercer.papers import Verdict, registry
from mercer.papers.registry import PaperError


def test_a_result_is_seen_when_it_is_written_and_when_it_is_gone(shelf, put_results):
    assert shelf.find("91-dice").verdicts == dict.fromkeys(("fair", "loaded", "lost"), Verdict.NOT_MEASURED)
    assert not shelf.refresh(at_once=True)
    before = shelf.version
    put_results(shelf, "fair", "loaded")
    item = shelf.find("91-dice")
    assert shelf.version == before + 1
    assert item.verdicts == {"fair": Verdict.HOLDS, "loaded": Verdict.DOES_NOT_HOLD, "lost": Verdict.NOT_MEASURED}
    assert [(claim, figure.name) for claim, figure in item.figures] == [("fair", "throws")]
    (shelf.folder / "91-dice" / "fair.json").unlink()
    assert shelf.refresh(at_once=True)
    assert shelf.find("91-dice").verdicts["fair"] is Verdict.NOT_MEASURED


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: text[:100], "is damaged: it is no JSON object"),
        (lambda text: text.replace('"format": 1', '"format": 0'), "comes from an older mercer"),
        (lambda text: text.replace('"format": 1', '"format": 9'), "comes from a newer mercer"),
        (lambda text: text.replace('"verdict": "holds"', '"verdict": "does not hold"'), "its checksum does not match"),
    ],
)
def test_a_result_that_cannot_be_read_is_one_line_and_stays_where_it_is(shelf, damage, says, put_results):
    put_results(shelf, "fair", "loaded")
    path = shelf.folder / "91-dice" / "fair.json"
    damaged = damage(path.read_text())
    path.write_text(damaged)
    shelf.refresh(at_once=True)
    item = shelf.find("91-dice")
    assert len(item.problems) == 1
    assert says in item.problems[0]
    assert "\n" not in item.problems[0]
    assert item.verdicts["loaded"] is Verdict.DOES_NOT_HOLD
    assert path.read_text() == damaged


def test_a_module_that_cannot_be_loaded_is_one_line_and_the_others_are_there(tmp_path):
    (tmp_path / "p92_bad.py").write_text("import nothing_like_this\n")
    entries = registry.entries()[:2]
    shelf = Shelf(tmp_path, entries=entries, modules={entries[0].number: tmp_path / "p92_bad.py"})
    assert "cannot be imported: ModuleNotFoundError" in shelf.items[0].problems[0]
    assert shelf.items[0].paper is None
    assert shelf.items[1].problems == ()


def test_code_that_has_changed_since_is_told(shelf, put_results):
    put_results(shelf, "fair")
    put_results(shelf, "loaded", fingerprint="older code")
    assert shelf.outdated(shelf.find("91-dice")) == {"loaded"}
    assert shelf.outdated(shelf.items[0]) == set()


def test_papers_of_ones_own_need_a_number_of_their_own(dice_file, monkeypatch):
    monkeypatch.setattr(registry, "modules", dict)
    shelf = shelf_of(dice_file.parent, [dice_file])
    assert len(shelf.items) == 37
    assert shelf.find("91-dice").paper is not None
    taken = dice_file.with_name("p22_dice.py")
    taken.write_text(dice_file.read_text().replace("Entry(91", "Entry(22"))
    with pytest.raises(PaperError, match="number 22 is taken by self-distillation; choose another"):
        shelf_of(dice_file.parent, [taken])


def test_all_text_of_a_paper_can_be_searched(shelf):
    text = shelf.find("91-dice").text
    assert all(
        words in text for words in ("On dice & chance", "Ada", "chance", "The die is fair.", "2401.00001", "Games")
    )
    assert json.dumps(text)
