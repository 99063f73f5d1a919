"""The pictures of all cases for the page: a slice of every modality, and the labels of every subset."""

from collections.abc import Sequence

import numpy as np

from magms_nnunet.metrics.dice import Regions
from magms_nnunet.report.figures import Tiles, png_uri, region_colour

BYTES = 12_000_000
"""Size of the pictures of a page; further cases are left out."""
_MOST_LABELS = 255  # in a grey PNG, besides the background


def label_numbers(regions: Regions) -> dict[int, int] | None:
    """Return label of the regions -> its number in the pictures, from 1; None: there are too many labels."""
    labels = sorted({label for values in regions.values() for label in values})
    return {label: number for number, label in enumerate(labels, 1)} if len(labels) <= _MOST_LABELS else None


def region_table(regions: Regions, numbers: dict[int, int]) -> list[dict]:
    """Return name, colour and label numbers of each region, in the order of painting."""
    order = sorted(enumerate(regions.items()), key=lambda item: -len(item[1][1]))
    return [
        {"name": name, "colour": region_colour(index), "labels": [numbers[label] for label in values]}
        for index, (name, values) in order
    ]


def case_pictures(tiles: Tiles, labels: Sequence[np.ndarray], numbers: dict[int, int]) -> dict:
    """Return the pictures of a case, each as a data URI.

    Args:
        tiles: of the case.
        labels: the reference, then the prediction of each subset, ``(H, W)``.
        numbers: see :func:`label_numbers`.

    Returns:
        ``images`` per modality; ``labels``, the numbers of all label maps, one below the other; ``size`` of the
        view, width and height in pixels; ``rows`` and ``columns`` of a label map.
    """
    images = tiles.cut_images()
    maps = [_numbered(tiles.cut(of_subset), numbers) for of_subset in labels]
    rows, columns = maps[0].shape
    return {
        "images": [png_uri(image) for image in images],
        "labels": png_uri(np.concatenate(maps), exact=True),
        "size": list(tiles.size),
        "rows": rows,
        "columns": columns,
    }


def pictures_size(pictures: dict) -> int:
    """Return the number of characters of a case's data URIs."""
    return len(pictures["labels"]) + sum(map(len, pictures["images"]))


def _numbered(labels: np.ndarray, numbers: dict[int, int]) -> np.ndarray:
    found = np.zeros(labels.shape, np.uint8)
    for label, number in numbers.items():
        found[labels == label] = number
    return found
