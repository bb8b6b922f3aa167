"""Commands in docs and docstrings have options that there are, and scripts show three examples each."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from wsss.pipeline import schema  # noqa: F401 - makes the option classes known

REPOSITORY = Path(__file__).parents[1]
CONF = REPOSITORY / "conf"
SCRIPTS = sorted((REPOSITORY / "scripts").glob("*.py"))
PAGES = [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md"), *SCRIPTS]
ROOTS = {"explain": "explain", "predict": "predict", "export": "export"}  # folders of conf/ with roots of their own
OF_HYDRA = {path.stem for path in SCRIPTS if "@script(" in path.read_text()}
COMMAND = re.compile(r"python scripts/(\w+)\.py((?: .*)?)$")


def commands(page: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Scripts that take options, and their options, of all lines that are a command."""
    text = page.read_text() if page.suffix == ".md" else ast.get_docstring(ast.parse(page.read_text())) or ""
    for line in text.replace("\\\n", " ").splitlines():
        found = COMMAND.search(line.split("` ")[0].rstrip("`;| "))
        if found is None or found[1] not in OF_HYDRA or re.search(r"[`:]", found[2]) or "$(" in line:
            continue
        words = shlex.split(re.sub(r"<[^>]*>|\$\w+", "1", found[2].partition(";")[0]), comments=True)
        yield found[1], tuple(word for word in words if "=" in word)


COMMANDS = sorted({command for page in PAGES for command in commands(page)})


def first_value(override: Override) -> str:
    """The option, of a sweep the first of its values."""
    if not override.is_sweep_override():
        return override.input_line or ""
    return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"


@pytest.mark.parametrize(
    ("script", "options"), COMMANDS, ids=lambda part: part if isinstance(part, str) else " ".join(part)
)
def test_options_of_commands_are_known(script: str, options: tuple[str, ...]) -> None:
    OmegaConf.register_new_resolver("conf", lambda: str(CONF), replace=True)
    folder = "evaluate" if any(o.startswith("predictions=") for o in options) else ROOTS.get(script, "")
    plain = [first_value(override) for override in OverridesParser.create().parse_overrides([*options])]
    with initialize_config_dir(str(CONF / folder), version_base="1.3"):
        compose("config", overrides=plain)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_has_three_examples(script: Path) -> None:
    text = script.read_text()
    docstring = text.split('"""')[1]
    assert docstring.count(f"    python scripts/{script.name}") >= 3
    assert "@script(" in text or "description=__doc__" in text
