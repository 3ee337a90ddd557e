"""What the site has besides the pages of this folder: example pictures, SECURITY.md and CHANGELOG.md."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

_ROOT = Path(__file__).parent.parent
_PAGES = {"SECURITY.md": "security.md", "CHANGELOG.md": "changelog.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add what lies outside of the folder."""
    for picture in sorted((_ROOT / "examples").glob("*.*")):
        files.append(File.generated(config, f"examples/{picture.name}", abs_src_path=str(picture)))
    for name, page in _PAGES.items():
        text = (_ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=re.sub(r"\]\(docs/", "](", text)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links that lead out of the folder, as they do in the repository, lead to the site's own copies."""
    for name, page in _PAGES.items():
        markdown = markdown.replace(f"](../{name})", f"]({page})").replace(f"]({name})", f"]({page})")
    markdown = markdown.replace("](../examples/", "](examples/")
    return re.sub(
        r"(?<!!)\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", markdown
    )  # a file of the repository, which the site lacks
