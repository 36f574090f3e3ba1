from pathlib import Path

import pytest

from mercer import config
from mercer.errors import MemoryBudgetError


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("8GB", 8 * 10**9), ("1.5 gb", 1.5e9), ("2GiB", 2 * 2**30), ("512k", 512_000), (100, 100), ("1e3", 1000)],
)
def test_sizes_are_read_in_powers_of_1000_or_1024(text, n_bytes):
    assert config.parse_bytes(text) == n_bytes


@pytest.mark.parametrize("text", ["much", "", "-1GB", "0", "8 apples", "1.2.3GB", "GB"])
def test_text_that_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match=r"memory budget: .* is not a size. Give a positive number"):
        config.parse_bytes(text)


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(999, "999 bytes"), (1500, "1.5 kB"), (17_314_000_000, "17.3 GB"), (2e12, "2 TB"), (2e6, "2 MB")],
)
def test_sizes_are_written_for_people(n_bytes, text):
    assert config.format_bytes(n_bytes) == text


def test_budget_is_what_was_set_then_the_environment_then_a_share_of_free_memory(monkeypatch):
    monkeypatch.setattr(config, "_available_memory", lambda: 1000)
    assert config.memory_budget() == 600
    monkeypatch.setenv("MERCER_MEMORY_BUDGET", "3MB")
    assert config.memory_budget() == 3_000_000
    config.set_memory_budget("2kB")
    assert config.memory_budget() == 2000
    config.set_memory_budget(None)
    assert config.memory_budget() == 3_000_000


def test_wrong_budget_in_the_environment_is_named(monkeypatch):
    monkeypatch.setenv("MERCER_MEMORY_BUDGET", "lots")
    with pytest.raises(ValueError, match="MERCER_MEMORY_BUDGET: 'lots' is not a size"):
        config.memory_budget()


def test_budget_of_this_machine_is_positive_and_below_its_memory():
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0 < config.memory_budget() < total


def test_more_than_the_budget_is_refused_with_the_way_out():
    config.set_memory_budget("1GB")
    config.require_memory(10**9, asked="K", instead="")
    with pytest.raises(
        MemoryBudgetError, match=r"K needs 2 GB, the memory budget is 1 GB. Use tiles. .*set_memory_budget"
    ):
        config.require_memory(2 * 10**9, asked="K", instead="Use tiles.")


def _group(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_a_cgroup_2_limit_counts_less_what_is_used_plus_what_is_only_cached(tmp_path):
    _group(tmp_path / "a", memory__max="1000", memory__current="400", memory__stat="anon 1\ninactive_file 50\n")
    _group(tmp_path / "a" / "b", memory__max="max", memory__current="400")
    assert config._cgroup_headroom(tmp_path, "0::/a/b") == [650]


def test_a_cgroup_1_limit_counts_at_every_level_above(tmp_path):
    _group(tmp_path / "memory", memory__limit_in_bytes="900", memory__usage_in_bytes="100")
    _group(
        tmp_path / "memory" / "job",
        memory__limit_in_bytes="500",
        memory__usage_in_bytes="100",
        memory__stat="inactive_file 7\ntotal_inactive_file 20\n",
    )
    assert config._cgroup_headroom(tmp_path, "5:cpu:/job\n4:memory:/job\n0::/") == [420, 800]


def test_inside_a_container_whose_path_is_hidden_the_visible_root_counts(tmp_path):
    _group(tmp_path, memory__max="1000", memory__current="100")
    assert config._cgroup_headroom(tmp_path, "0::/outside/never-seen") == [900]


def test_no_limit_is_no_headroom(tmp_path):
    _group(tmp_path / "memory", memory__limit_in_bytes=str(2**63 - 4096), memory__usage_in_bytes="1")
    assert config._cgroup_headroom(tmp_path, "4:memory:/") == []


def test_available_memory_is_the_least_of_machine_and_container(monkeypatch):
    monkeypatch.setattr(config, "_read", lambda path: "MemAvailable: 5 kB" if "meminfo" in str(path) else "")
    monkeypatch.setattr(config, "_cgroup_headroom", lambda root, membership: [3000, 9000])
    assert config._available_memory() == 3000


def test_available_memory_falls_back_to_half_of_the_physical(monkeypatch):
    monkeypatch.setattr(config, "_read", lambda path: "")
    monkeypatch.setattr(config.os, "sysconf", {"SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert config._available_memory() == 20480


def test_cache_is_between_64_kilobytes_and_64_megabytes():
    assert 2**16 <= config.cache_bytes() <= 2**26


def test_data_dir_follows_the_environment_and_is_not_created(monkeypatch, tmp_path):
    monkeypatch.setenv("MERCER_DATA_DIR", str(tmp_path / "here"))
    assert config.data_dir() == tmp_path / "here"
    monkeypatch.delenv("MERCER_DATA_DIR")
    for system in ("linux", "darwin", "win32"):
        monkeypatch.setattr(config.sys, "platform", system)
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "data"))
        monkeypatch.setenv("HOME", str(tmp_path))
        assert config.data_dir().is_relative_to(tmp_path)
        assert config.data_dir().name == "mercer"
    assert not any(tmp_path.iterdir())
