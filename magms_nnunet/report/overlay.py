"""A picture of one case: the modalities, the reference, and the prediction from each subset."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from magms_nnunet.metrics.dice import Regions
from magms_nnunet.report.figures import region_colour


def best_slice(reference: np.ndarray, regions: Regions) -> int:
    """Return the index along z of ``(Z, Y, X)`` labels with the largest product of the areas of all regions."""
    areas = [np.isin(reference, values).sum(axis=(1, 2)) for values in regions.values()]
    return int(np.prod([1.0 + area for area in areas], axis=0).argmax())


def save_overlay(
    path: Path,
    images: Mapping[str, np.ndarray],
    reference: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    regions: Regions,
    title: str,
) -> None:
    """Write a PNG: the modalities above; below the reference and each prediction, with the outline of the reference.

    Args:
        path: file to write.
        images: caption -> image ``(Z, Y, X)``; the first one lies under the labels.
        reference: label map ``(Z, Y, X)``.
        predictions: caption -> label map ``(Z, Y, X)``.
        regions: label values of each region.
        title: a line above everything.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    z = best_slice(reference, regions)
    overlays = {f"reference, on {next(iter(images))}": reference, **predictions}
    columns = max(len(images), len(overlays))
    figure, axes = plt.subplots(2, columns, figsize=(3 * columns, 7.4), squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for axis, (caption, image) in zip(axes[0], images.items(), strict=False):
        _show(axis, image[z], caption)
    background = next(iter(images.values()))[z]
    colours = [region_colour(index) for index in range(len(regions))]
    for axis, (caption, labels) in zip(axes[1], overlays.items(), strict=False):
        _show(axis, background, caption)
        for colour, values in zip(colours, regions.values(), strict=True):
            mask = np.isin(labels[z], values)
            axis.imshow(np.ma.masked_array(mask, ~mask), cmap=mpl.colors.ListedColormap([colour]), alpha=0.55)
            axis.contour(np.isin(reference[z], values), levels=[0.5], colors="white", linewidths=1)
    handles = [Patch(color=colour, alpha=0.7, label=name) for colour, name in zip(colours, regions, strict=True)]
    outline = Line2D([], [], color="white", linewidth=1.5, label="outline of the reference")
    figure.legend(
        handles=[*handles, outline],
        loc="outside lower center",
        ncols=len(handles) + 1,
        facecolor="0.35",
        labelcolor="white",
    )
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _show(axis, image: np.ndarray, caption: str) -> None:
    axis.imshow(image, cmap="gray", vmin=0, vmax=np.percentile(image, 99.8), interpolation="bilinear")
    axis.set_title(caption, fontsize=11)
