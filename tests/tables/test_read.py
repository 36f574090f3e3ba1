"""Reading a table: what is in the file comes out, and what is wrong with the file is said in one line."""

import gzip
import re

import pandas as pd
import pytest

from mercer import config
from mercer.errors import MemoryBudgetError, TableError
from mercer.tables.read import read_table, require_distinct_names

ROWS = "a,b,c\n1,x,2.5\n2,,3.5\n"


def write(folder, text, name="t.csv"):
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(tmp_path, separator):
    frame = read_table(write(tmp_path, ROWS.replace(",", separator)))
    assert frame.columns.tolist() == ["a", "b", "c"]
    assert frame["c"].tolist() == [2.5, 3.5]
    assert frame["b"].isna().tolist() == [False, True]


def test_a_packed_file_and_a_byte_order_mark_are_read(tmp_path):
    path = write(tmp_path, gzip.compress(b"\xef\xbb\xbf" + ROWS.encode()), "t.csv.gz")
    assert read_table(path).columns.tolist() == ["a", "b", "c"]


def test_quoted_separators_and_line_breaks_belong_to_their_cell(tmp_path):
    frame = read_table(write(tmp_path, 'a,b\n"1,5","two\nlines"\n3,4\n'))
    assert frame["a"].tolist() == ["1,5", "3"]
    assert frame["b"].tolist() == ["two\nlines", "4"]


def test_a_column_without_a_name_gets_its_place_as_name(tmp_path):
    assert read_table(write(tmp_path, ",b\n1,2\n")).columns.tolist() == ["column 1", "b"]


def test_a_value_may_stand_for_missing(tmp_path):
    frame = read_table(write(tmp_path, "a,b\n1,?\n2,3\n"), missing=("?",))
    assert frame["b"].isna().tolist() == [True, False]


def test_parquet_is_read_with_its_index_as_a_column(tmp_path):
    table = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["p", "q"], name="key"))
    table.to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").columns.tolist() == ["key", "a"]


BAD = {
    "nothing at all": ("", "t.csv", "t.csv is empty: it has no bytes"),
    "blank lines only": ("\n\n \n", "t.csv", "nothing but blank lines"),
    "a header without rows": ("a,b\n", "t.csv", "has a header, but no rows"),
    "two columns of one name": ("a,b,a\n1,2,3\n", "t.csv", re.escape("columns of the same name: 'a' (2 times)")),
    "a row too long": ("a,b\n1,2\n1,2,3\n", "t.csv", "row 2 below the header has 3 cells, but the header has 2"),
    "a row too short": ("a,b\n1,2\n1\n", "t.csv", "row 2 below the header has 1 cells.*Is the file cut off"),
    "no UTF-8": (b"a,b\n\xe9,2\n", "t.csv", "is not UTF-8 text"),
    "zeros": (b"\0\0\0\0,\n", "t.csv", "is not text"),
    "an unknown ending": ("a,b\n1,2\n", "t.xlsx", "ends in '.xlsx', but a table ends in .csv"),
    "no ending": ("a,b\n1,2\n", "table", "ends in 'nothing'"),
    "no gzip": ("a,b\n1,2\n", "t.csv.gz", "not packed with gzip"),
    "no Parquet": ("a,b\n1,2\n", "t.parquet", "is not a Parquet file"),
}


@pytest.mark.parametrize(("text", "name", "message"), BAD.values(), ids=BAD)
def test_a_file_that_is_no_table_is_refused_in_one_line(tmp_path, text, name, message):
    with pytest.raises(TableError, match=message) as caught:
        read_table(write(tmp_path, text, name))
    assert "\n" not in str(caught.value)


def test_a_parquet_file_with_two_columns_of_one_name_is_refused(tmp_path):
    import pyarrow
    from pyarrow import parquet

    column = pyarrow.array([1, 2])
    parquet.write_table(pyarrow.Table.from_arrays([column, column], names=["a", "a"]), tmp_path / "t.parquet")
    with pytest.raises(TableError, match="columns of the same name"):
        read_table(tmp_path / "t.parquet")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(TableError, match="There is no file"):
        read_table(tmp_path / "absent.csv")
    with pytest.raises(TableError, match="is not a file"):
        read_table(tmp_path)


def test_a_file_beyond_the_memory_budget_is_not_read(tmp_path):
    config.set_memory_budget(1000)
    with pytest.raises(MemoryBudgetError, match="Give fewer rows"):
        read_table(write(tmp_path, "a,b\n" + "1,2\n" * 100))


def test_a_parquet_file_beyond_the_memory_budget_is_not_read(tmp_path):
    pd.DataFrame({"a": [1] * 5000}).to_parquet(tmp_path / "t.parquet")  # packs well: few bytes, many rows
    config.set_memory_budget(60_000)
    with pytest.raises(MemoryBudgetError, match="Reading 5,000 rows"):
        read_table(tmp_path / "t.parquet")


def test_distinct_names_pass():
    require_distinct_names(["a", "b"], where="it")
