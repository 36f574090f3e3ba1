"""What this machine has, and how much of it mercer may use: memory budget, cache size, data folder."""

import os
import re
import sys
from functools import cache
from pathlib import Path

from mercer.errors import MemoryBudgetError

__all__ = [
    "cache_bytes",
    "data_dir",
    "fits_memory",
    "format_bytes",
    "memory_budget",
    "parse_bytes",
    "require_memory",
    "set_memory_budget",
]

_SHARE_OF_AVAILABLE = 0.6  # the rest is for the caller's own arrays and for what torch allocates beside ours
_UNKNOWN_MEMORY = 4 * 10**9  # on a system that tells nothing
_LITTLE = 2**26  # bytes that nobody is asked about: a look at the system takes 1 ms, a small fit not much more
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_chosen_budget: int | None = None


def memory_budget() -> int:
    """How many bytes one call of mercer may allocate.

    The first that is set: :func:`set_memory_budget`, the environment variable ``MERCER_MEMORY_BUDGET`` (``8GB``), or
    0.6 of the memory that is free now, where a container's limit (cgroup) counts as the end of memory.

    Raises:
        ValueError: ``MERCER_MEMORY_BUDGET`` is not a size.
    """
    chosen = _asked_budget()
    return int(_SHARE_OF_AVAILABLE * _available_memory()) if chosen is None else chosen


def fits_memory(n_bytes: float) -> bool:
    """Whether :func:`memory_budget` allows so many bytes; up to 64 MB it does, unless a budget was asked for."""
    chosen = _asked_budget()
    return n_bytes <= (_LITTLE if chosen is None else chosen) or n_bytes <= memory_budget()


def set_memory_budget(size: int | str | None) -> None:
    """Fix :func:`memory_budget` for this process: bytes, text such as ``"8GB"``, or None for the default again."""
    global _chosen_budget
    _chosen_budget = None if size is None else parse_bytes(size)


def require_memory(n_bytes: int, *, asked: str, instead: str) -> None:
    """Raise before memory is taken that the budget does not allow.

    Args:
        n_bytes: what would be allocated.
        asked: what needs it, as the subject of a sentence: ``"K.to_dense() of 100000 x 100000"``.
        instead: what to do, as a sentence: ``"Use K @ v, which stores nothing."``

    Raises:
        MemoryBudgetError: ``n_bytes`` is above :func:`memory_budget`.
    """
    if not fits_memory(n_bytes):
        raise MemoryBudgetError(
            f"{asked} needs {format_bytes(n_bytes)}, the memory budget is {format_bytes(memory_budget())}. {instead} "
            f"(To change the budget: MERCER_MEMORY_BUDGET=8GB or mercer.config.set_memory_budget.)"
        )


def parse_bytes(size: int | str, *, name: str = "memory budget") -> int:
    """Bytes from a count or from text: ``"8GB"`` is 8e9, ``"8GiB"`` is 8 * 2**30, upper or lower case.

    Raises:
        ValueError: text that is no size, or a size that is not positive.

    >>> parse_bytes("1.5 GB")
    1500000000
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:E[0-9]+)?)\s*([KMGT]?I?)B?\s*", str(size).upper())
    try:
        n_bytes = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    except (ValueError, KeyError):
        n_bytes = 0
    if n_bytes <= 0:
        raise ValueError(f"{name}: {size!r} is not a size. Give a positive number of bytes, or text such as '8GB'.")
    return n_bytes


def format_bytes(n_bytes: float) -> str:
    """Bytes for people, in powers of 1000.

    >>> format_bytes(17_314_000_000)
    '17.3 GB'
    """
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{int(n_bytes)} bytes"


@cache
def cache_bytes() -> int:
    """Size of the second-level cache of one core, from sysfs; 1 MiB where the system does not tell."""
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (_read(index / part) for part in ("level", "type", "size"))
        if level == "2" and kind in ("Data", "Unified"):
            return parse_bytes(size.replace("K", "KiB").replace("M", "MiB"), name="cache size")
    return 2**20


def data_dir() -> Path:
    """Where data sets and models are kept: ``MERCER_DATA_DIR``, or the system's folder for application data.

    The folder is created by whoever first writes into it, not here.
    """
    chosen = os.environ.get("MERCER_DATA_DIR")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "mercer"


def _asked_budget() -> int | None:
    """The budget that somebody has set, if anybody has."""
    if _chosen_budget is not None:
        return _chosen_budget
    from_environment = os.environ.get("MERCER_MEMORY_BUDGET")
    return parse_bytes(from_environment, name="MERCER_MEMORY_BUDGET") if from_environment else None


def _available_memory() -> int:
    """Bytes that can be had without swapping, within every enclosing container's limit."""
    free = re.search(r"MemAvailable:\s+(\d+) kB", _read(Path("/proc/meminfo")))
    if free:
        available = int(free[1]) * 1024
    else:
        try:
            available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        except (AttributeError, ValueError, OSError):
            available = _UNKNOWN_MEMORY
    return max(0, min([available, *_cgroup_headroom(Path("/sys/fs/cgroup"), _read(Path("/proc/self/cgroup")))]))


def _cgroup_headroom(root: Path, membership: str) -> list[int]:
    """Bytes left under each memory limit that applies: cgroup v2 or v1, this group and all above it.

    Inside a container the path in ``/proc/self/cgroup`` may not exist below ``root``; its parents up to ``root`` do.
    """
    headroom = []
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, limit_file, usage_file, cache_key = root, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            top, limit_file, usage_file = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache_key = "total_inactive_file"
        else:
            continue
        group = top / path.lstrip("/")
        while True:
            limit, usage = _read(group / limit_file), _read(group / usage_file)
            # "max" (v2) and about 2**63 (v1) mean no limit.
            if limit.isdigit() and usage.isdigit() and int(limit) < 2**60:
                # Pages of files that were read count as used, but the system gives them up on demand.
                cached = re.search(rf"^{cache_key} (\d+)", _read(group / "memory.stat"), re.MULTILINE)
                headroom.append(int(limit) - int(usage) + (int(cached[1]) if cached else 0))
            if group == top or top not in group.parents:
                break
            group = group.parent
    return headroom


def _read(path: Path) -> str:
    """A small system file as text, empty where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
