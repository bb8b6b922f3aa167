"""Work that does not fit into memory: done by halves where that changes nothing, told in a line elsewhere."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from wsss.errors import is_called

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

# Of the errors that torch raises as a plain RuntimeError.
_SIGNS = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, numpy or Python says that memory, of a GPU or the machine, does not suffice."""
    if isinstance(error, MemoryError) or is_called(error, "OutOfMemoryError"):  # torch's
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def by_halves(work: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T]) -> list[R]:
    """`work(items)`; where memory does not suffice for all, of both halves one after the other.

    Args:
        work: gives a result for each item, which does not depend on the others.
        items: at least one.

    Raises:
        Exception: of one item alone, what `work` raises.
    """
    try:
        return list(work(items))
    except Exception as error:
        if not is_out_of_memory(error) or len(items) == 1:
            raise
    import torch

    # Beyond the block, whose error would hold on to what has been computed so far.
    torch.cuda.empty_cache()
    middle = len(items) // 2
    log.warning("memory does not suffice for %d images at once; %d at a time", len(items), len(items) - middle)
    return by_halves(work, items[:middle]) + by_halves(work, items[middle:])
