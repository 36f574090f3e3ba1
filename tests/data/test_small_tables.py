import numpy as np
import pytest

from mercer.data import small_table, small_table_names
from mercer.errors import FileFormatError

ARFF = """@relation fruit
@attribute weight numeric
@attribute colour {red, green}
@attribute clase {2, 10}
@data
1.5,red,10
2.0,green,2
0.5,red,2
"""
CSV = "weight,colour,kind\n1.5,red,10\n2.0,green,2\n0.5,red,2\n"
DAT = "\tf1\tf2\tclase\n1\t-0.5\t3\t0\n2\t1.25\t4\t1\n3\t0\t5\t1\n4\t1\t6\t0\n"


@pytest.mark.parametrize(("file", "content"), [("fruit.arff", ARFF), ("fruit.csv", CSV), ("fruit/fruit.arff", ARFF)])
def test_words_become_columns_and_the_last_column_is_the_class(tmp_path, file, content):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content)
    assert small_table_names(tmp_path) == ["fruit"]
    table = small_table(tmp_path, "fruit")
    assert table.columns == ("weight", "colour=green", "colour=red")
    np.testing.assert_array_equal(table.X, [[1.5, 0.0, 1.0], [2.0, 1.0, 0.0], [0.5, 0.0, 1.0]])
    assert (table.y.tolist(), table.classes, table.folds, table.tuning) == ([1, 0, 0], ("2", "10"), (), None)


def test_the_collection_of_a_hundred_tables_has_its_folds(tmp_path):
    place = tmp_path / "balloons"
    place.mkdir()
    (tmp_path / "empty").mkdir()
    (place / "balloons_R.dat").write_text(DAT)
    (place / "conxuntos_kfold.dat").write_text("0 1 \n2 3 \n2 3 \n0 1 \n")
    (place / "conxuntos.dat").write_text("0 3\n1 2\n")
    assert small_table_names(tmp_path) == ["balloons"]
    table = small_table(tmp_path, "balloons")
    np.testing.assert_array_equal(table.X, [[-0.5, 3.0], [1.25, 4.0], [0.0, 5.0], [1.0, 6.0]])
    assert table.y.tolist() == [0, 1, 1, 0]
    assert [(fit.tolist(), test.tolist()) for fit, test in table.folds] == [([0, 1], [2, 3]), ([2, 3], [0, 1])]
    assert [rows.tolist() for rows in table.tuning] == [[0, 3], [1, 2]]
    (place / "conxuntos.dat").write_text("0 4\n1 2\n")
    with pytest.raises(FileFormatError, match="row numbers from 0 to 3"):
        small_table(tmp_path, "balloons")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,x\n2,y,z\n", "2 columns are named, but row 2"),
        ("a,b\n1,x\n?,y\n", "column 'a' has no value in row 2"),
        ("a,b\n1,x\n2,x\n", "all rows are of one class, 'x'"),
        ("", "0 columns are named"),
    ],
)
def test_tables_of_which_nothing_can_be_learnt_are_refused(tmp_path, content, message):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(FileFormatError, match=message):
        small_table(tmp_path, "t")


def test_what_is_not_there_is_named(tmp_path):
    (tmp_path / "iris.csv").write_text(CSV)
    (tmp_path / "wine.arff").write_text("no table")
    with pytest.raises(FileNotFoundError, match=r"no table 'irs'. There are 2: iris, wine"):
        small_table(tmp_path, "irs")
    with pytest.raises(FileFormatError, match="cannot be read as ARFF"):
        small_table(tmp_path, "wine")
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        small_table_names(tmp_path / "nothing")
