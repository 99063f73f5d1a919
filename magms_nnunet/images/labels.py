"""Labels in files of floating point."""

import numpy as np

from magms_nnunet.errors import listing

_ROUNDING = 1e-5


def whole_labels(labels: np.ndarray) -> np.ndarray:
    """The whole numbers that labels are but for rounding, of any shape; what is further off stays as it is."""
    if labels.dtype.kind != "f":
        return labels
    whole = np.rint(labels)
    return np.where(np.abs(labels - whole) <= _ROUNDING, whole, labels)


def format_values(values: list[float]) -> str:
    """Labels for a message: ``0.5, 7``."""
    return listing(f"{value:.9g}" for value in values)


def fractional_note(values: list[float]) -> str:
    """Says where some of these labels are no whole numbers, as an insertion; empty where all are."""
    return " (not whole numbers)" if any(value != round(value) for value in values) else ""
