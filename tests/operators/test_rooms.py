"""Inside operators imports run one way too: between its subpackages, and between them and the files beside them."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import mercer.operators

HOME = Path(mercer.operators.__file__).parent
FILES = [path for path in HOME.rglob("*.py") if path.parent != HOME or path.name != "__init__.py"]


def room(path):
    """The subpackage a file is in, or the file itself."""
    return path.relative_to(HOME).parts[0].removesuffix(".py")


def imported(node):
    """Rooms that a tree imports from, in functions too; ``if TYPE_CHECKING:`` does not count."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom) and child.module.startswith("mercer.operators"):
            names = [f"{child.module}.{alias.name}" for alias in child.names]
            yield from (name.split(".")[2] for name in names)
        elif not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from imported(child)


def test_imports_between_rooms_have_no_circle():
    graph = {room(path): set() for path in FILES}
    for path in FILES:
        graph[room(path)] |= set(imported(ast.parse(path.read_text()))) - {room(path)}
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("maps") < order.index("tiles") < order.index("plans") < order.index("kernel_operator")
