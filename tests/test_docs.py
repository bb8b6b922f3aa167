"""What README and docs point to is there."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
NAMED = re.compile(r"(?<![\w/.])((?:docs|scripts|benchmarks|conf|tests|wsss)/[\w/.-]+\.(?:md|py|yaml|j2|png|json))")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_and_named_files_are_there(page: Path) -> None:
    text = page.read_text()
    lost = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    lost += [name for name in NAMED.findall(text) if not (REPOSITORY / name).exists()]
    assert not lost


def test_every_page_is_found_from_the_readme() -> None:
    linked = {(REPOSITORY / link).resolve() for link in LINK.findall((REPOSITORY / "README.md").read_text())}
    assert {*PAGES[1:]} <= linked
