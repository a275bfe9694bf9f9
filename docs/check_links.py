"""Check that every internal link of the built pages leads somewhere.

    python docs/check_links.py docs/_build/html

Sphinx warns about references that it cannot resolve. It does not warn about a raw link,
a download or an image that is missing from the built pages, or about an anchor on
another page.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page, and the addresses that it points to."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.addresses = {"", "top"}, set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.addresses.add(value)
            elif name == "srcset" and value:
                self.addresses.update(part.split()[0] for part in value.split(","))


def broken_links(root):
    """Yield a sentence for each internal link under `root` that leads nowhere."""
    files = sorted(root.rglob("*.html"))
    pages = {f: Page(f) for f in files if root / "_static" not in f.parents}
    if not pages:
        yield f"{root} holds no pages: run `make docs`"
    for path, page in pages.items():
        for address in sorted(page.addresses):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path or path.name)).resolve()
            if target.is_dir():
                target /= "index.html"
            anchors = (
                pages[target].anchors if target in pages else {unquote(parts.fragment)}
            )
            if not target.is_file():
                yield f"{path.relative_to(root)}: {address}: no such file"
            elif unquote(parts.fragment) not in anchors:
                yield f"{path.relative_to(root)}: {address}: no such anchor"


def main():
    root = Path(sys.argv[1]).resolve()
    broken = list(broken_links(root))
    print(*broken, sep="\n", end="\n" if broken else "")
    print(f"{len(broken)} broken internal links in {root.name}.")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
