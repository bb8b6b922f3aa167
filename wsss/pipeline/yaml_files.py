"""Options kept as YAML, read as plain values."""

import hashlib
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from wsss.reading import read_text

SEAL = "# sha256 "  # begins the first line of options that a run has written
LONGEST = 200_000  # letters; a run's options take a few thousand
# What broken or hostile options may raise.
NOT_OPTIONS = (
    *(OmegaConfBaseException, yaml.YAMLError, OSError, ValueError, TypeError),
    *(LookupError, AttributeError, AssertionError, RecursionError),
)


def sealed(text: str) -> str:
    """Options below a line by which they are known to be whole."""
    return f"{SEAL}{_digest(text)} of what follows; take this line out if you change it\n{text}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_plain_yaml(path: Path) -> Any:
    """What OmegaConf makes of a file without aliases, which may grow, and interpolations, which ask the environment.

    Raises:
        `NOT_OPTIONS`: if it is anything else.
    """
    text = read_text(path)
    if len(text) > LONGEST:
        raise ValueError(f"more than {LONGEST} letters")
    first, _, rest = text.partition("\n")
    if first.startswith(SEAL) and first.split()[2:3] != [_digest(rest)]:
        raise ValueError("changed or cut short since it was written; if you have changed it, take out its first line")
    if "${" in text:
        raise ValueError("${…}, where values are expected")
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
        raise ValueError("an alias (*), where values are expected")
    return OmegaConf.create(text)
