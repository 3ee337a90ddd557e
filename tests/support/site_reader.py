"""Reads the built site of the documentation: where its links lead, and what it would ask other hosts for."""

import re
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LINKS = {("a", "href")}
_LOADED = {("img", "src"), ("script", "src"), ("source", "src"), ("iframe", "src"), ("link", "href")}
_NOT_LOADED = {"canonical", "prev", "next"}
_IN_CSS = re.compile(r"url\(\s*['\"]?(?!data:)([^)'\"]+)|@import\s+['\"]([^'\"]+)")


@dataclass
class SitePage(HTMLParser):
    """What one page links to, what a browser loads with it, and which anchors it has."""

    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag names."""
        named = {name: value or "" for name, value in attrs}
        self.anchors.update(named[name] for name in ("id", "name") if name in named)
        is_loaded = named.get("rel") not in _NOT_LOADED
        for name, value in named.items():
            if (tag, name) in _LINKS:
                self.links.append(value)
            elif (tag, name) in _LOADED and is_loaded:
                self.loaded.append(value)


@cache
def read_page(path: Path) -> SitePage:
    """Return what a page has."""
    page = SitePage()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def broken_links(site: Path) -> list[str]:
    """Return each link and each asset of a page that leads to no file of the site, or to no anchor of it."""
    broken = []
    for path in sorted(site.rglob("*.html")):
        page = read_page(path)
        for link in (*page.links, *page.loaded):
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            named = unquote(address.path)
            # The page of a wrong address is shown at any path, and so names everything from the root.
            folder = site if named.startswith("/") else path.parent
            target = (folder / named.lstrip("/")).resolve() if named else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(address.fragment)
            if not target.is_file() or (
                anchor and target.suffix == ".html" and anchor not in read_page(target).anchors | {"__top"}
            ):
                broken.append(f"{path.relative_to(site)}: {link}")
    return broken


def foreign_assets(site: Path) -> list[str]:
    """Return what pages and style sheets would load from another host."""
    named = [(path, name) for path in site.rglob("*.html") for name in read_page(path).loaded]
    for path in site.rglob("*.css"):
        named += [(path, "".join(found)) for found in _IN_CSS.findall(path.read_text(encoding="utf-8"))]
    return [f"{path.relative_to(site)}: {name}" for path, name in named if urlsplit(name).netloc]
