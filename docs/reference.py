"""Write docs/options.md, every option with its default and meaning, from conf/ and the option classes' docstrings.

Example: `python docs/reference.py`
"""

import inspect
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from wsss.pipeline import schema  # noqa: F401 - makes the option classes known
from wsss.pipeline.config import Config, SearchConfig
from wsss.pipeline.config.scripts import ExplainConfig, ExportConfig, FoldersConfig, PredictConfig
from wsss.pipeline.ranges import CHOICES
from wsss.writing import write_text

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
PAGE = ROOT / "docs" / "options.md"
OTHERS = {  # scripts with options of their own, and the folder of conf/ that holds their root
    "explain.py": (ExplainConfig, "explain"),
    "predict.py": (PredictConfig, "predict"),
    "evaluate.py predictions=…": (FoldersConfig, "evaluate"),
    "export.py": (ExportConfig, "export"),
}
INTRO = """\
# Options

<!-- Written by docs/reference.py from conf/ and wsss/pipeline/config/: change those, then run it again. -->

Every script takes `option=value`; a *group* takes the name of a file, which sets several options at once. What is
given wins over the groups, later groups over earlier ones. `null` is "none"; lists are quoted, `"cam.scales=[0.5,1]"`.
A misspelt name and a value that cannot be are refused before any work, and `python scripts/<name>.py --cfg job` shows
what a command would run with. Defaults below are those without an experiment; experiments set their own.
"""


class Option(NamedTuple):
    """A row of the page; its kind is the type in words or the values there are."""

    name: str
    kind: str
    default: str
    meaning: str


def meanings(node: type) -> dict[str, str]:
    """What a dataclass's docstring says under `Attributes:`, its parents' included."""
    found: dict[str, str] = {}
    for cls in reversed(node.__mro__):
        _, _, listed = (inspect.cleandoc(cls.__doc__ or "")).partition("Attributes:\n")
        listed = re.split(r"\n(?=\S)", listed)[0]  # up to the next heading
        for name, text in re.findall(r"^    (\w+): (.+(?:\n     .+)*)", listed, flags=re.MULTILINE):
            found[name] = " ".join(text.split())
    return found


def options(node: type, values: dict[str, Any], prefix: str = "") -> Iterator[Option]:
    """Each leaf below a dataclass.

    Raises:
        ValueError: if a docstring lacks an option.
    """
    said, hints = meanings(node), typing.get_type_hints(node)
    for field in fields(node):
        name, hint, value = prefix + field.name, hints[field.name], values.get(field.name)
        if is_dataclass(hint):
            yield from options(typing.cast(type, hint), value, f"{name}.")
            continue
        if field.name not in said:
            raise ValueError(f"{node.__name__} in {node.__module__} says nothing of `{field.name}` under Attributes")
        kind = ", ".join(f"`{choice}`" for choice in CHOICES.get(name, ())) or _words(hint)
        yield Option(f"`{name}`", kind, "needed" if value == "???" else f"`{_flow(value)}`", said[field.name])


def _words(hint: Any) -> str:
    """`list[int] | None` as "list of int"."""
    if isinstance(hint, types.UnionType):
        return _words(next(part for part in hint.__args__ if part is not types.NoneType))
    if typing.get_origin(hint) is list:
        return f"list of {_words(typing.get_args(hint)[0])}"
    if is_dataclass(hint):
        return "options"
    return "any" if hint is Any else hint.__name__


def _flow(value: Any) -> str:
    """A value as the command line would have it."""
    if value is None or isinstance(value, bool | float):
        return yaml.safe_dump(value, default_flow_style=True).split("\n")[0]
    if isinstance(value, list):
        return f"[{','.join(map(_flow, value))}]"
    return str(value) if value != "" else '""'


def groups() -> Iterator[tuple[str, str, str]]:
    """Each choice of each group, with the comment at the head of its file (or its few values)."""
    for path in sorted(CONF.glob("*/*.yaml")):
        if path.name == "config.yaml" or path.stem == "default":
            continue
        lines = [line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#")]
        head = " ".join(line for line in lines if not line.startswith("@package"))
        first = re.split(r"(?<=\.) +(?=[A-Z`])", head)[0]
        yield path.parent.name, path.stem, first or f"`{_flow_map(yaml.safe_load(path.read_text()))}`"


def _flow_map(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, default_flow_style=True, width=10_000).strip().strip("{}")


def table(rows: list[tuple[str, ...]], *heads: str) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"


def _values(folder: str) -> dict[str, Any]:
    """Options of a root of conf/ as they are without any from the command line."""
    with initialize_config_dir(str(CONF / folder), version_base="1.3"):
        composed = compose("config")
    assert isinstance(composed, DictConfig)
    return typing.cast(dict[str, Any], OmegaConf.to_container(composed))


def page() -> str:
    """The whole page."""
    OmegaConf.register_new_resolver("conf", lambda: str(CONF), replace=True)  # what a script's start does
    heads = ("option", "is", "default", "meaning")
    parts = [INTRO, "## Groups\n", "The first words of each file, or what it sets; a group's `default` is left out.\n"]
    parts.append(table([(f"`{group}={name}`", said) for group, name, said in groups()], "choice", "what"))
    found = list(options(Config, _values("")))
    rooms = list(dict.fromkeys(option.name.strip("`").split(".")[0] for option in found if "." in option.name))
    parts += ["## The run\n", table([tuple(option) for option in found if "." not in option.name], *heads)]
    for room in rooms:
        parts += [f"## {room}\n", table([tuple(o) for o in found if o.name.startswith(f"`{room}.")], *heads)]
    search = {field.name: field.default for field in fields(SearchConfig)}
    parts += ["## Searches\n", "With `-m hparams_search=…` ([sweeps](sweeps.md)).\n"]
    parts.append(table([tuple(option) for option in options(SearchConfig, search, "hydra.sweeper.search.")], *heads))
    for script, (node, folder) in OTHERS.items():
        rows = [tuple(option) for option in options(node, _values(folder)) if "." not in option.name]
        parts += [f"## {script}\n", "Its groups have the options above.\n", table(rows, *heads)]
    return "\n".join(parts)


if __name__ == "__main__":
    write_text(PAGE, page())
