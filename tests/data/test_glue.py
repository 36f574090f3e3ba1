"""GLUE, on tiny tables in the official form."""

import pytest

from mercer.data import GLUE_TASKS, load_glue
from mercer.errors import FileFormatError

TABLES = {
    "rte": "index\tsentence1\tsentence2\tlabel\n"
    '0\tA "dog barks.\tIt is loud.\tentailment\n1\tNo.\tYes.\tnot_entailment',
    "mrpc": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tHe came .\tHe did come .\n0\t9\t1\tA\tB",
    "cola": "gj04\t1\t\tThe ship sank.\nks08\t0\t*\tShip the sank.",
    "stsb": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
    "0\tnews\tf\t2012\t1\tnone\tnone\tA plane.\tAn aircraft.\t4.800\n1\tnews\tf\t2012\t2\tnone\tnone\tA\tB\t0.5",
    "sst2": "sentence\tlabel\nhide new secretions \t0\ncharming \t1",
}
TARGETS = {"rte": [0, 1], "mrpc": [1, 0], "cola": [1, 0], "stsb": [4.8, 0.5], "sst2": [0, 1]}


def save_glue(folder, task, table=None):
    """Train and dev tables of two rows."""
    for part in ("train", "dev"):
        (folder / f"{part}.tsv").write_text((table or TABLES[task]) + "\n", encoding="utf-8")


@pytest.mark.parametrize("task", GLUE_TASKS)
def test_each_task_is_read_from_its_official_columns(tmp_path, task):
    save_glue(tmp_path, task)
    found = load_glue(tmp_path, task)
    assert found.train.targets.tolist() == found.valid.targets.tolist() == TARGETS[task]
    assert (found.train.second is None) == (task in ("cola", "sst2"))
    assert len(load_glue(tmp_path, task, limit=1).valid.first) == 1
    assert len(found.classes) == (0 if task == "stsb" else 2)


def test_sentences_stand_beside_each_other_and_quotation_marks_mean_nothing(tmp_path):
    save_glue(tmp_path, "rte")
    found = load_glue(tmp_path, "rte").train
    assert (found.first[0], found.second[0]) == ('A "dog barks.', "It is loud.")


@pytest.mark.parametrize(
    ("task", "table", "message"),
    [
        ("rte", "index\tsentence1\tlabel\n", "no column 'sentence2', but index, sentence1, label"),
        ("rte", TABLES["rte"] + "\n2\tA\tB\tperhaps", "line 4: 'perhaps' is none of entailment"),
        ("stsb", TABLES["stsb"] + "\n2\t\t\t\t\t\t\tA\tB\tmuch", "line 4: 'much' is no score"),
        ("cola", TABLES["cola"] + "\ngj04\t1", "line 3: 2 columns with tabs between are too few"),
        ("sst2", "sentence\tlabel", "has no rows"),
    ],
)
def test_what_is_wrong_in_a_table_is_told_with_its_line(tmp_path, task, table, message):
    save_glue(tmp_path, task, table)
    with pytest.raises(FileFormatError, match=message):
        load_glue(tmp_path, task)


def test_what_is_asked_for_has_to_exist(tmp_path):
    with pytest.raises(ValueError, match="choose from: rte, mrpc, cola, stsb, sst2"):
        load_glue(tmp_path, "wnli")
    with pytest.raises(ValueError, match="limit=0"):
        load_glue(tmp_path, "rte", limit=0)
    with pytest.raises(FileNotFoundError, match=r"train\.tsv is missing"):
        load_glue(tmp_path, "rte")
