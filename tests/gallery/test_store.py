import sqlite3
import stat

import pytest

from mercer.gallery.store import Store, StoreError, store_path


def test_the_file_is_its_owners_and_keeps_its_secret(tmp_path):
    path = tmp_path / "deep" / "gallery.sqlite3"
    first = Store(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = first.secret
    first.close()
    second = Store(path)
    assert second.secret == secret
    assert len(secret) == 32
    second.close()


def test_a_transaction_happens_as_a_whole_or_not_at_all(store):
    def twice():
        with store.transaction():
            store.change("INSERT INTO papers VALUES ('a', 'now')")
            store.change("INSERT INTO papers VALUES ('a', 'now')")

    with pytest.raises(StoreError, match="UNIQUE constraint failed"):
        twice()
    assert store.rows("SELECT * FROM papers") == []


def test_a_damaged_file_is_one_line_and_is_not_touched(tmp_path):
    path = tmp_path / "gallery.sqlite3"
    path.write_bytes(b"this is no database" * 400)
    with pytest.raises(StoreError, match=r"is damaged: .*Move it away, and the gallery makes a new one"):
        Store(path)
    assert path.read_bytes() == b"this is no database" * 400


def test_a_file_of_a_newer_mercer_is_refused(tmp_path):
    Store(tmp_path / "g.sqlite3").close()
    connection = sqlite3.connect(tmp_path / "g.sqlite3")
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(StoreError, match=r"comes from a newer mercer \(format 9, here 1\). Update mercer"):
        Store(tmp_path / "g.sqlite3")


def test_a_folder_in_its_place_is_one_line(tmp_path):
    (tmp_path / "g.sqlite3").mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(tmp_path / "g.sqlite3")


def fill(store):
    """Let the disk be full: SQLite says then what it says when it gets no more pages."""
    pages = store.rows("PRAGMA page_count")[0][0]
    store.rows(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_is_one_line_and_what_was_there_stands(store):
    store.change("INSERT INTO papers VALUES ('a', 'now')")
    fill(store)
    with pytest.raises(StoreError, match=r"cannot be written: database or disk is full. What was in it stands"):
        store.change("INSERT INTO papers VALUES ('b', ?)", "x" * 100_000)
    assert [row["paper"] for row in store.rows("SELECT * FROM papers")] == ["a"]


def test_each_folder_of_results_has_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("MERCER_DATA_DIR", str(tmp_path))
    paths = {
        store_path(None),
        store_path(tmp_path / "a"),
        store_path(tmp_path / "b"),
        store_path(tmp_path / "c" / ".." / "a"),
    }
    assert len(paths) == 3
    assert store_path(None) == tmp_path / "gallery.sqlite3"
    assert all(path.parent == tmp_path for path in paths)  # never beside results, which people commit
