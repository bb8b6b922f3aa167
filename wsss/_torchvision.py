"""Make torchvision importable next to a torch it was not compiled for.

`pip install torch torchvision` can pair a CPU build of torch with a torchvision whose compiled operators do not load;
the import then fails with "operator torchvision::nms does not exist", though nothing here needs them. Declaring the two
missing schemas first is enough. Where torchvision's own operators load, this module does nothing.
"""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: Any = None  # the declarations live as long as this object


def _operators_load() -> bool:
    """Try torchvision's compiled library the way torchvision itself does, but before its Python code runs."""
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # not installed: let the import say so
    for library in Path(spec.origin).parent.glob("_C*.*"):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            return False
    return hasattr(torch.ops.torchvision, "nms")


def ensure_importable() -> None:
    """Declare the operators torchvision's Python code refers to, if its own library cannot."""
    global _library
    if _library is not None or "torchvision" in sys.modules or _operators_load():
        return
    import torch

    _library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        _library.define(schema)


class _BeforeTorchvision(MetaPathFinder):
    """Is asked first where a module is found, and finds none: torch is not loaded until torchvision is wanted."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            ensure_importable()
        return None


sys.meta_path.insert(0, _BeforeTorchvision())
