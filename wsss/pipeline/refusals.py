"""What users are told of an error that they can mend: lines that name what is wrong, and what would be right."""

import difflib
import re
from collections.abc import Iterable, Iterator

from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from wsss.errors import FaultyDataError, InputError, disk_fault, is_called
from wsss.memory import is_out_of_memory

HELP = "`--help` shows all options"
QUOTES = "quote spaces, commas, brackets and letters beyond ASCII twice: \"images='my photo (1).jpg'\""


def told(error: BaseException) -> list[str] | None:
    """The lines; None of an error of the program itself."""
    if isinstance(error, MissingMandatoryValue):
        return [f"{error.full_key} has no value; pass {error.full_key}=<value>"]
    if isinstance(error, FaultyDataError):
        return error.messages
    if isinstance(error, InputError) or is_called(error, "MisconfigurationException"):  # Lightning's
        return [str(error)]
    if isinstance(error, OmegaConfBaseException):
        return [_of_value(error)]
    if is_out_of_memory(error):
        return ["out of memory; smaller images or batches and fewer processes (masks.jobs=1) need less"]
    if isinstance(error, OSError) and (of_disk := disk_fault(error)) is not None:
        return [of_disk]
    if isinstance(error, AssertionError) and str(error).startswith("Unexpected type for root: NoneType"):
        return ["an option is given of a group that is null; give the whole group in a file of conf/experiment"]
    return [_of_hydra(error)] if isinstance(error, HydraException) else None


def _of_value(error: BaseException) -> str:
    """The option and what is wrong with its value; the library's further lines name types of ours."""
    first, *further = str(error).splitlines() or [""]
    keys = [line.partition("full_key:")[2].strip() for line in further if "full_key:" in line]
    return ": ".join([*filter(None, keys), first])


def _of_hydra(error: HydraException) -> str:
    # What follows is where Hydra has looked.
    message = re.sub(r"\n(Config search path|Set the env variable|See https).*", "", str(error), flags=re.DOTALL)
    if isinstance(error, OverrideParseException):
        return f"{message}; {QUOTES}; {HELP}"
    if found := re.match(r"Could not override '(.+?)'", message):
        known = [*option_names()]
        if found[1] in known:
            return f"{found[1]}: not an option of this script; {HELP}"
        return f"{found[1]}: no such option; {_nearest(found[1], known) or HELP}"
    if found := re.search(r"Could not find '(.+)/(.+?)'\s+Available options in '.+?':(.*)", message, re.DOTALL):
        group, name, choices = found[1], found[2], found[3].split()
        expected = f"{group}={name}: expected one of {', '.join(choices)}"
        return "; ".join(filter(None, [expected, _nearest(name, choices)]))
    if message.startswith("Error merging override") and isinstance(error.__cause__, OmegaConfBaseException):
        reason, *_ = str(error.__cause__).splitlines()
        return f"{message.removeprefix('Error merging override ')}: {reason}"
    return f"{message}; {HELP}"


def option_names() -> Iterator[str]:
    """All options and groups of all scripts, `classifier.optimizer.lr`."""
    for name, entry in ConfigStore.instance().repo.items():
        if name.endswith("schema.yaml"):
            yield from _names(entry.node, "")


def _names(config: DictConfig, prefix: str) -> Iterator[str]:
    for key in map(str, config):
        yield f"{prefix}{key}"
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
            yield from _names(node, f"{prefix}{key}.")


def _nearest(name: str, known: Iterable[str]) -> str:
    """A question, or nothing where no name is like it."""
    close = difflib.get_close_matches(name, [*known], n=1)
    return f"did you mean {close[0]}?" if close else ""
