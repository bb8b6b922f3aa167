"""Sweeps over stages or their fusion: have all jobs of a network share one export of its maps."""

import logging
import re
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, QuotedString

MULTIRUN = ("-m", "--multirun")
# Options that change how maps are fused, and none of what is drawn.
OF_FUSION = ("fusion", "cam.fusion", "cam.tanh_stages", "cam.gamma", "cam.stage_weights")
STAGE = re.compile("stage[1-5]")  # what backbones call them
log = logging.getLogger(__name__)


def share_stages(arguments: Sequence[str]) -> list[str]:
    """Add `cam.drawn_stages` to a sweep over stages or fusion, so that its maps are drawn once.

    Args:
        arguments: of the command line, without the script's name.

    Returns:
        The arguments, with `cam.drawn_stages` naming every stage of any job, where the sweep has several choices of
        stages or of their fusion and does not say itself what is drawn.

    Raises:
        OverrideParseException: if an option is not one to Hydra either.
    """
    arguments = list(arguments)
    if not {*MULTIRUN} & {*arguments}:
        return arguments
    options = [text for text in arguments if "=" in text and not text.startswith("-")]
    overrides = {override.key_or_group: override for override in OverridesParser.create().parse_overrides(options)}
    swept = [name for name in ("cam.stages", *OF_FUSION) if name in overrides and overrides[name].is_sweep_override()]
    drawn = _drawn(overrides.get("cam.stages"))
    if "cam.drawn_stages" in overrides or not swept or drawn is None:
        return arguments
    log.info("sweep over %s: cam.drawn_stages=%s added, maps are drawn once for all", " and ".join(swept), drawn)
    return [*arguments, f"cam.drawn_stages={drawn}"]


def _drawn(stages: Override | None) -> str | None:
    """The union of the choices; whatever a job has where there is but one; None if a choice is no list."""
    if stages is None or not stages.is_sweep_override():
        return "${cam.stages}"
    sweep = stages.value()
    if not isinstance(sweep, ChoiceSweep) or not all(isinstance(choice, list) for choice in sweep.list):
        return None
    named = {_text(stage) for choice in sweep.list for stage in choice}  # type: ignore[union-attr]
    return f"[{','.join(sorted(filter(STAGE.fullmatch, named)))}]"  # one that no backbone has fails its own job alone


def _text(value: Any) -> str:
    return value.text if isinstance(value, QuotedString) else str(value)
