"""Labels in files of floating-point numbers."""

import numpy as np

from magms_nnunet.errors import listing

_ROUNDING = 1e-5


def whole_labels(labels: np.ndarray) -> np.ndarray:
    """Round labels of any shape to whole numbers where they differ by rounding only; other values stay."""
    if labels.dtype.kind != "f":
        return labels
    whole = np.rint(labels)
    return np.where(np.abs(labels - whole) <= _ROUNDING, whole, labels)


def format_values(values: list[float]) -> str:
    """Return labels for a message: ``0.5, 7``."""
    return listing(f"{value:.9g}" for value in values)


def fractional_note(values: list[float]) -> str:
    """Return a note for a message where some labels are no whole numbers; empty where all are."""
    return " (not whole numbers)" if any(value != round(value) for value in values) else ""
