"""Where pages lie: on a server, or in the files of an exported site."""

from dataclasses import dataclass

__all__ = ["Links"]


@dataclass(frozen=True)
class Links:
    """Addresses of pages, relative to the page that shows them.

    Args:
        root: what leads from the page to the front page: ``"/"`` on a server, ``""`` or ``"../"`` in files.
        is_static: pages are files: they end in ``.html``, and nothing can be run or subscribed to.

    >>> Links().paper("22-self-distillation")
    '/papers/22-self-distillation'
    >>> Links(root="../", is_static=True).paper("22-self-distillation")
    '../papers/22-self-distillation.html'
    """

    root: str = "/"
    is_static: bool = False

    @property
    def home(self) -> str:
        """The front page."""
        return f"{self.root}index.html" if self.is_static else self.root

    @property
    def feed(self) -> str:
        """The Atom feed."""
        return f"{self.root}feed.xml"

    def paper(self, key: str) -> str:
        """The page of a paper, ``22-self-distillation``."""
        return f"{self.root}papers/{key}{'.html' if self.is_static else ''}"

    def figure(self, key: str, claim: str, name: str) -> str:
        """A figure of a claim."""
        return f"{self.root}figures/{key}.{claim}.{name}.svg"

    def asset(self, name: str) -> str:
        """The style sheet, the script, the icon."""
        return f"{self.root}assets/{name}"
