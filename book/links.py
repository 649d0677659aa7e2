"""Every link of a built site, looked up: pages, anchors, images, scripts.

Nothing may be loaded from outside.
"""

import posixpath
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# without a click
LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}


class Page(HTMLParser):
    """The links of a page as (tag, attribute, target), and the names that links may point at."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.names = [], set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        for key, value in attrs:
            if key in ("id", "name") and value:
                self.names.add(value)
            if key in ("href", "src") and value:
                self.links.append((tag, key, value))


def broken(site: Path) -> list[str]:
    """A line for each link that leads nowhere, and for each thing that a page would load from
    outside.
    """
    read, found = cache(Page), []
    for path in sorted(site.rglob("*.html")):
        if path.name == "webpack-macros.html" or path.name == "sbt-webpack-macros.html":
            continue  # a theme's templates, no pages
        for tag, key, target in read(path).links:
            trouble = _trouble(site, path, (tag, key), target, read)
            if trouble:
                found.append(f"{path.relative_to(site)}: {trouble}: {target}")
    return found


def _trouble(site: Path, path: Path, where: tuple[str, str], target: str, read) -> str | None:
    url = urlsplit(target)
    if url.scheme in ("http", "https") or url.netloc:
        return "loaded from outside" if where in LOADED else None
    if url.scheme in ("data", "mailto", "javascript"):
        return None
    relative = posixpath.normpath(
        posixpath.join(path.parent.relative_to(site).as_posix(), unquote(url.path))
    )
    goal = path if not url.path else site / relative
    if relative.startswith("..") or not goal.is_file():
        return "no such file"
    if url.fragment and goal.suffix == ".html" and unquote(url.fragment) not in read(goal).names:
        return "no such place on the page"
    return None
