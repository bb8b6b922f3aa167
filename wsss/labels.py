"""What every part must agree on about label values: the one without opinion, and their colours."""

import numpy as np
from numpy.typing import NDArray

VOID = 255  # a pixel without opinion: left out of losses and metrics (PASCAL VOC's convention)


def palette() -> NDArray[np.uint8]:
    """VOC's colours (256, 3): the bits of a label value dealt out to red, green and blue, high bits first."""
    bits = np.arange(8)[:, None]
    is_on = np.arange(256)[:, None, None] >> (3 * bits + np.arange(3)) & 1  # (256, 8, 3)
    return (is_on << (7 - bits)).sum(axis=1).astype(np.uint8)
