"""Options kept as YAML, read as plain values."""

from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from wsss.reading import read_text

LONGEST = 200_000  # letters; a run's options take a few thousand
# What broken or hostile options may raise.
NOT_OPTIONS = (
    *(OmegaConfBaseException, yaml.YAMLError, OSError, ValueError, TypeError),
    *(LookupError, AttributeError, AssertionError, RecursionError),
)


def load_plain_yaml(path: Path) -> Any:
    """What OmegaConf makes of a file without aliases, which may grow, and interpolations, which ask the environment.

    Raises:
        `NOT_OPTIONS`: if it is anything else.
    """
    text = read_text(path)
    if len(text) > LONGEST:
        raise ValueError(f"more than {LONGEST} letters")
    if "${" in text:
        raise ValueError("${…}, where values are expected")
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
        raise ValueError("an alias (*), where values are expected")
    return OmegaConf.create(text)
