"""What `mkdocs build` does besides: pages that lie outside of docs/, and links where a page names another's file."""

import re
from pathlib import Path, PurePosixPath
from posixpath import relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
PICTURE = "data/mini_voc/gallery.png"
NAMED = re.compile(r"(?<!\[)`docs/([\w/]+\.md)`")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add README and its kin as pages, with their links as seen from docs/."""
    for name, source in OUTSIDE.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text().replace("](docs/", "](")))
    files.append(File.generated(config, PICTURE, abs_src_path=str(ROOT / PICTURE)))
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: object) -> str:
    """Make `docs/x.md` a link to that page."""
    here = PurePosixPath(page.file.src_uri).parent
    return NAMED.sub(lambda found: f"[`docs/{found[1]}`]({relpath(found[1], here)})", markdown)
