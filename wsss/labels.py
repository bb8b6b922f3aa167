"""The label value that every part must agree on."""

VOID = 255  # a pixel without opinion: left out of losses and metrics (PASCAL VOC's convention)
