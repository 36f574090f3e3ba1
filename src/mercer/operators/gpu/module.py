"""Generated source text to a Triton kernel.

Triton reads the source of what it compiles. The text is registered with ``linecache``, as attrs does for the methods
that it writes: tracebacks and ``inspect.getsource`` work, and no file is left anywhere.
"""

from __future__ import annotations

import hashlib
import linecache
from functools import lru_cache
from typing import Any

HEAD = """import triton
import triton.language as tl
from mercer.operators.gpu import functions as fn

"""


@lru_cache(maxsize=256)
def load(source: str) -> Any:
    """The Triton function ``kernel`` that ``source`` defines; the same object for the same text."""
    text = HEAD + source
    name = f"<mercer kernel {hashlib.sha256(text.encode()).hexdigest()[:16]}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)  # no time: never checked on disk
    scope: dict[str, Any] = {"__name__": name, "__file__": name}
    exec(compile(text, name, "exec"), scope)
    return scope["kernel"]
