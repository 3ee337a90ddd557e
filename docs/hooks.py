"""What MkDocs adds to the site: files from outside docs/ that pages link to, and the OpenAPI document."""

import json
import re
import threading
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from service.api.openapi.document import document
from service.app import create_app
from service.settings import Settings
from service.zero_shot.classifier import LoadingClassifier
from service.zero_shot.phrase_lists import built_in_folder, read_lists

REPOSITORY = Path(__file__).resolve().parent.parent
_PAGES = ("SECURITY.md", "CHANGELOG.md")
_OUTSIDE = re.compile(r"(?<=\]\()\.\./([\w./-]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what docs/ does not have. A link to ../PATH works in the repository, and in the site as PATH."""
    outside = set(_PAGES)
    for file in files.documentation_pages():
        outside.update(_OUTSIDE.findall(file.content_string))
    for path in sorted(outside):
        if (REPOSITORY / path).is_file():  # else the link is reported as broken
            files.append(File.generated(config, path, abs_src_path=str(REPOSITORY / path)))
    files.append(File.generated(config, "openapi.json", content=json.dumps(_openapi(), ensure_ascii=False)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links lead to where on_files has put the files: all of the site's pages lie in one folder."""
    return re.sub(r"(?<=\]\()docs/", "", _OUTSIDE.sub(r"\1", markdown))


def _openapi() -> dict[str, Any]:
    def load(_report: object) -> Any:
        raise AssertionError("the document needs no model")

    lists = read_lists(built_in_folder())
    return document(create_app(Settings(model="demo"), lists, LoadingClassifier(load), threading.Event()))
