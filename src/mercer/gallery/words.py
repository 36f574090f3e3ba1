"""Texts of the pages: Markdown of the papers as HTML, citations, dates, and what the verdicts come to."""

import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

from mercer.papers.catalog import Entry
from mercer.papers.claim import Claim, Verdict

__all__ = ["bibtex", "code_of", "counted", "day", "html_of", "month", "names", "summed_up"]

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\~{}"}


def html_of(markdown: str) -> str:
    """Markdown as HTML; tags in it are shown as text, and links lead to http addresses only.

    >>> html_of("**bold** <script>")
    '<p><strong>bold</strong> &lt;script&gt;</p>\\n'
    """
    return str(_markdown()(markdown))


@cache
def _markdown() -> Callable[[str], Any]:
    from markdown_it import MarkdownIt

    class Reader(MarkdownIt):
        def validateLink(self, url: str) -> bool:
            return url.startswith(("https://", "http://", "#"))

    return Reader("commonmark", {"html": False}).enable("table").disable("image").render


def bibtex(entry: Entry) -> str:
    r"""A BibTeX entry of what the catalog knows.

    >>> print(bibtex(Entry(9, "coins", "On coins", "", authors=("Heads", "Tails"), year=2021)))
    @misc{heads2021coins,
      title = {{On coins}},
      author = {Heads and Tails},
      year = {2021},
    }
    """
    first = re.sub(r"[^a-z]", "", entry.authors[0].lower()) if entry.authors else "anonymous"
    word = next((word for word in re.findall(r"[a-z]+", entry.title.lower()) if len(word) > 3), entry.slug)
    fields = {"title": f"{{{_tex(entry.title)}}}", "author": " and ".join(map(_tex, entry.authors))}
    fields |= {"year": str(entry.year or "")}
    if entry.arxiv:
        fields |= {"eprint": entry.arxiv, "archivePrefix": "arXiv", "url": f"https://arxiv.org/abs/{entry.arxiv}"}
    fields |= {"note": _tex(entry.venue or "")}
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{{first}{entry.year or ''}{word},", *lines, "}"])


def code_of(claim: Claim) -> str:
    """The source of what measures a claim; empty where there is none to be read."""
    try:
        lines = textwrap.dedent(inspect.getsource(claim.measure)).splitlines()
    except (OSError, TypeError):
        return ""
    start = next((i for i, line in enumerate(lines) if line.startswith("def ")), 0)
    return "\n".join(lines[start:])


def summed_up(counts: Counter[Verdict]) -> str:
    """``5 of 7 claims hold``; empty for a paper without claims.

    >>> summed_up(Counter({Verdict.HOLDS: 5, Verdict.DOES_NOT_HOLD: 2}))
    '5 of 7 claims hold'
    """
    total, n = sum(counts.values()), counts[Verdict.HOLDS]
    if total == 1:
        return "its one claim holds" if n else f"its one claim: {next(v for v in counts if counts[v])}"
    return f"{n} of {total} claims hold" if total else ""


def counted(verdict: str, n: int) -> str:
    """A verdict as it is said of several claims.

    >>> counted("does not hold", 2)
    'do not hold'
    """
    return verdict if n == 1 else verdict.replace("holds", "hold").replace("does not", "do not")


def names(entry: Entry, most: int = 4) -> str:
    """The authors as one line, the last of many left out.

    >>> names(Entry(9, "coins", "On coins", "", authors=("A", "B", "C")), most=2)
    'A, B and 1 more'
    """
    if len(entry.authors) <= most:
        return ", ".join(entry.authors)
    return f"{', '.join(entry.authors[:most])} and {len(entry.authors) - most} more"


def month(entry: Entry) -> str:
    """``February 2021``, the year alone, or nothing.

    >>> month(Entry(9, "coins", "On coins", "", arxiv="2102.13088"))
    'February 2021'
    """
    if entry.month is None:
        return str(entry.year or "")
    year, _, number = entry.month.partition("-")
    return f"{_MONTHS[int(number) - 1]} {year}"


def day(date: str) -> str:
    """``26 November 2026`` of a date in ISO form.

    >>> day("2026-11-26T17:36:12+00:00")
    '26 November 2026'
    """
    moment = datetime.fromisoformat(date)
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


def _tex(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in text)
