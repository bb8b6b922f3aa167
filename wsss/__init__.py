"""wsss: from image-level labels to a semantic segmenter.

Shapes in comments and docstrings:
    B batch, N classes of the data set, K classes computed (the present ones), L = N + 1 labels with background,
    C channels, H × W pixels, h × w feature cells.
"""

from wsss import _torchvision  # noqa: F401  (first: every later import of torchvision relies on it)

__version__ = "0.1.0"
__all__ = ["load_segmenter"]


def __getattr__(name: str) -> object:
    # Lazy: `import wsss.masks` in a worker process should not build the model zoo.
    if name == "load_segmenter":
        from wsss.models.segmenter import load_segmenter

        return load_segmenter
    raise AttributeError(f"module 'wsss' has no attribute {name!r}")
