"""The docs pages of the papers, one for each module, generated from the module and its committed results."""

from collections.abc import Sequence
from pathlib import Path

from mercer.papers import registry
from mercer.papers.catalog import Entry
from mercer.papers.claim import Claim, Effort, Quantity, Verdict, deciding, number
from mercer.papers.fingerprint import fingerprint
from mercer.papers.measurement import Figure, Measurement, Table
from mercer.papers.paper import Paper
from mercer.papers.report import MARKS, cost, measured, named, seconds
from mercer.papers.results import Result, read_folder

__all__ = ["paper_page", "write_pages"]

_INTRODUCTION = """# Papers

Every paper states something that can come out false. Here each statement is measured again with mercer's public names,
on 2 CPU cores, and shown with whatever came out. `mercer run SLUG` measures it on your machine.

✓ holds · ◐ holds in the paper's protocol only: a stronger baseline or a fairer comparison explains the effect ·
✗ does not hold · – not measured
"""


def write_pages(folder: Path, *, results: Path | None = None) -> list[str]:
    """Write ``index.md``, a page for every paper that has a module, and their figures.

    Only what has changed is written, and pages of papers that are gone are removed.

    Args:
        folder: of the pages; made if it is not there. Everything in it is ours.
        results: folder of one mode, such as ``results/quick``; None shows no results.

    Returns:
        A line for every result that cannot be read.

    Raises:
        PaperError: a module of a paper cannot be loaded.
    """
    papers = [registry.load_file(path) for path in registry.modules().values()]
    found, problems = {}, []
    for paper in papers:
        of_paper, unread = read_folder(results, paper.entry.key, paper.claims) if results is not None else ({}, [])
        found[paper.entry.number] = of_paper
        problems += unread
    files = {"index.md": index_page(papers, found)}
    for paper in papers:
        of_paper = found[paper.entry.number]
        files[f"{paper.entry.key}.md"] = paper_page(paper, of_paper)
        for claim, result in of_paper.items():
            for figure in result.measurement.figures if result.measurement is not None else ():
                files[_figure_file(paper.entry, claim, figure.name)] = figure.svg
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in folder.iterdir():
        if path.name not in files and path.suffix in (".md", ".svg"):
            path.unlink()
    return problems


def index_page(papers: Sequence[Paper], found: dict[int, dict[str, Result]]) -> str:
    """All papers of the catalog; those with a module have a page and verdicts."""
    with_module = {paper.entry.number: paper for paper in papers}
    lines = [_INTRODUCTION, "| | paper | claims |", "|---|---|---|"]
    for entry in registry.entries():
        paper = with_module.get(entry.number)
        title, verdicts = _cell(entry.title), "not yet here"
        if paper is not None:
            title = f"[{title}]({entry.key}.md)"
            verdicts = "".join(MARKS[_verdict(found[entry.number].get(id))] for id in paper.claims)
        lines.append(f"| {entry.number} | {title}<br>{_cell(entry.citation)} | {verdicts} |")
    tree = ["```{toctree}", ":hidden:", "", *map(_branch, papers), "```"]
    return "\n".join([*lines, "", *(tree if papers else []), ""])


def paper_page(paper: Paper, results: dict[str, Result]) -> str:
    """The page of one paper: what it is, what came out, claim by claim."""
    entry = paper.entry
    title, _, text = paper.text.partition("\n")
    parts = [f"# {title.rstrip('.') or entry.title}", _source(entry), f"> {entry.summary}", text.strip(), "## Claims"]
    parts.append(_overview(paper, results))
    parts.append(f"```console\n$ mercer run {entry.slug}\n```")
    parts += [_claim_section(paper, claim, results.get(claim.id)) for claim in paper.claims.values()]
    parts.append(_colophon(paper))
    return "\n\n".join(part for part in parts if part) + "\n"


def _branch(paper: Paper) -> str:
    """In the sidebar the slug, since titles are long."""
    return f"{paper.entry.slug.replace('-', ' ').capitalize()} <{paper.entry.key}>"


def _source(entry: Entry) -> str:
    links = [f"[arXiv {entry.arxiv}](https://arxiv.org/abs/{entry.arxiv})"] if entry.arxiv else []
    links += [f"[official code](https://github.com/{entry.code})"] if entry.code else []
    where = entry.venue or (str(entry.year) if entry.year else "")
    return ". ".join(part for part in (f"*{entry.title}*", ", ".join(entry.authors), where, " · ".join(links)) if part)


def _overview(paper: Paper, results: dict[str, Result]) -> str:
    lines = ["| claim | what the paper says | measured | bound | |", "|---|---|---|---|---|"]
    for claim in paper.claims.values():
        result = results.get(claim.id)
        measurement = result.measurement if result is not None else None
        quantity = deciding(claim, measurement.values if measurement is not None else {})
        value = _unbroken(named(claim, quantity, measurement)) if measurement is not None else ""
        link = f"[{claim.id}](#{claim.id})"
        lines.append(f"| {link} | {_cell(claim.says)} | {value} | {_bound(quantity)} | {_badge(claim, result)} |")
    return "\n".join(lines)


def _claim_section(paper: Paper, claim: Claim, result: Result | None) -> str:
    measurement = result.measurement if result is not None else None
    parts = [f"### {claim.id}", f"{claim.says} **{_badge(claim, result)}.**"]
    if claim.reported is not None or claim.where is not None:
        where = f" ({claim.where})" if claim.where else ""
        parts.append(f"The paper: {claim.reported or 'no number'}{where}.")
    parts.append(_quantities(claim, measurement))
    parts.append(claim.notes)
    if result is not None and measurement is not None:
        parts += [_table(table) for table in measurement.tables]
        parts += [_figure(figure, _figure_file(paper.entry, claim.id, figure.name)) for figure in measurement.figures]
        parts.append(_fine_print(paper, result, measurement))
    elif result is not None and result.reason:
        parts.append(f"Not measured: {result.reason}.")
    elif isinstance(claim.quick, str):
        parts.append(f"Not measured in quick: {claim.quick}.")
    return "\n\n".join(part for part in parts if part)


def _quantities(claim: Claim, measurement: Measurement | None) -> str:
    roles = (("", claim.measures), ("control", claim.controls), ("beside it", claim.rivals))
    rows = [(role, quantity) for role, quantities in roles for quantity in quantities]
    has_roles = any(role for role, _ in rows)
    lines = [f"{'| ' * has_roles}| what is measured | value | bound |", f"{'|---' * has_roles}|---|---|---|"]
    for role, quantity in rows:
        kept = ""
        if quantity.has_bound and measurement is not None:
            kept = " ✓" if quantity.holds(measurement.values.get(quantity.name, ())) else " ✗"
        first = f"| {role} " * has_roles
        lines.append(f"{first}| {_cell(quantity.text)} | {_value(quantity, measurement)} | {_bound(quantity)}{kept} |")
    return "\n".join(lines)


def _table(table: Table) -> str:
    head = [" | ".join(map(_cell, table.columns)), " | ".join(["---"] * len(table.columns))]
    rows = [
        " | ".join(number(c) if isinstance(c, float) else _cell("" if c is None else str(c)) for c in row)
        for row in table.rows
    ]
    caption = [f"*{table.caption}*", ""] if table.caption else []
    return "\n".join(caption + [f"| {line} |" for line in [*head, *rows]])


def _figure(figure: Figure, file: str) -> str:
    caption = f"\n\n*{figure.caption}*" if figure.caption else ""
    return f"![{_cell(figure.caption or figure.name)}]({file}){caption}"


def _fine_print(paper: Paper, result: Result, measurement: Measurement) -> str:
    machine = measurement.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())
    lines = [*measurement.notes, f"{cost(measurement)}; {machine.get('processor')}; {versions}; {result.date[:10]}."]
    assert paper.file is not None
    if fingerprint(paper.file, claim=result.claim, configuration=result.configuration) != result.fingerprint:
        lines.append("The code has changed since: `mercer run` measures it again.")
    return "<small>" + " ".join(lines) + "</small>"


def _colophon(paper: Paper) -> str:
    parts = []
    if paper.exercises:
        parts.append("It uses " + ", ".join(f"{{py:obj}}`{name}`" for name in paper.exercises) + ".")
    if paper.see:
        parts.append("See also " + ", ".join(f"[{title}]({address})" for title, address in paper.see) + ".")
    budgets = [claim.quick.seconds for claim in paper.claims.values() if isinstance(claim.quick, Effort)]
    parts.append(f"Its quick claims together may take {seconds(sum(budgets))}.")
    if paper.sabotages:
        names = ", ".join(sabotage.name for sabotage in paper.sabotages)
        parts.append(f"The tests break the method ({names}) and see that the claims then do not hold.")
    return "## About this page\n\n" + " ".join(parts)


def _verdict(result: Result | None) -> Verdict:
    return result.verdict if result is not None else Verdict.NOT_MEASURED


def _badge(claim: Claim, result: Result | None) -> str:
    verdict = _verdict(result)
    return f"{MARKS[verdict]} {verdict}{' (true by definition)' if claim.identity else ''}"


def _value(quantity: Quantity, measurement: Measurement | None) -> str:
    """The number and its spread, on one line."""
    return _unbroken(measured(quantity, measurement)) if measurement is not None else ""


def _unbroken(value: str) -> str:
    return value.replace(" ± ", "\u00a0±\u00a0")


def _bound(quantity: Quantity) -> str:
    return quantity.bound.replace(" ", "\u00a0")


def _figure_file(entry: Entry, claim: str, figure: str) -> str:
    return f"{entry.key}.{claim}.{figure}.svg"


def _cell(text: str) -> str:
    """Text for a cell of a table: one line, no bars, and no tags of HTML."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
