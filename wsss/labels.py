"""What every part must agree on about label values: the one without opinion, and their colours."""

import numpy as np
from numpy.typing import NDArray

VOID = 255  # a pixel without opinion: left out of losses and metrics (PASCAL VOC's convention)


def palette() -> NDArray[np.uint8]:
    """VOC's colours (256, 3): the bits of a label value dealt out to red, green and blue, high bits first."""
    colors = np.zeros((256, 3), np.uint8)
    for label in range(256):
        for bit in range(8):
            for channel in range(3):
                colors[label, channel] |= ((label >> (3 * bit + channel)) & 1) << (7 - bit)
    return colors
