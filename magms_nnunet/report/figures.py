"""Pictures of the report: colours that colour-blind readers can distinguish, and overlays as small PNG images."""

import base64
import colorsys
import io
from collections.abc import Sequence

import numpy as np

from magms_nnunet.metrics.dice import Regions

# Okabe and Ito, Color Universal Design (2008), without black and without the dark blue, which is invisible on a scan.
REGION_COLOURS = ("#56b4e9", "#e69f00", "#f0e442", "#cc79a7", "#009e73", "#d55e00")
# One hue from light to dark: the order also shows in grey, whichever colours a reader sees.
HEAT = ((0.94, 0.97, 1.0), (0.42, 0.68, 0.84), (0.03, 0.19, 0.42))
LONGEST_SIDE = 256  # pixels: sharp at the width at which the page shows it, and small
OPACITY = 0.5


def region_colour(index: int) -> str:
    """Return ``#rrggbb`` of the region at ``index``; beyond the palette, hues that do not repeat."""
    if index < len(REGION_COLOURS):
        return REGION_COLOURS[index]
    return _hex(colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.6, 0.95))


def heat(fraction: float) -> tuple[str, str]:
    """Return background and text ``#rrggbb`` for 0 (light) to 1 (dark), with the contrast of WCAG AA, 4.5 or more.

    Black or white, whichever contrasts more, always gives at least sqrt(21) = 4.58.
    """
    position = min(max(fraction, 0.0), 1.0) * (len(HEAT) - 1)
    start = min(int(position), len(HEAT) - 2)
    rgb = [a + (b - a) * (position - start) for a, b in zip(HEAT[start], HEAT[start + 1], strict=True)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    white_wins = 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05
    return _hex(rgb), "#ffffff" if white_wins else "#000000"


def _hex(rgb: Sequence[float]) -> str:
    return "#" + "".join(f"{round(255 * c):02x}" for c in rgb)


class Tiles:
    """The pictures of one case, which show the same part of the same slice with square pixels.

    Args:
        images: ``(M, H, W)`` grey values, uint8.
        reference: ``(H, W)`` labels.
        predictions: ``(S, H, W)`` labels; the visible part holds all of them.
        spacing_mm: of rows and columns.
        regions: label values of each region.
    """

    def __init__(
        self,
        images: np.ndarray,
        reference: np.ndarray,
        predictions: np.ndarray,
        spacing_mm: Sequence[float],
        regions: Regions,
    ):
        self._crop = _bounding_box((images > 0).any(0) | (reference > 0) | (predictions > 0).any(0))
        height, width = ((part.stop - part.start) * float(mm) for part, mm in zip(self._crop, spacing_mm, strict=True))
        scale = LONGEST_SIDE / max(height, width)
        self.size = (max(1, round(width * scale)), max(1, round(height * scale)))
        self._images = images
        self._reference = reference
        # Regions may contain each other: the one with the fewest labels is painted last, to be visible.
        order = sorted(enumerate(regions.values()), key=lambda item: -len(item[1]))
        self._layers = [(region_colour(index), values) for index, values in order]

    def image(self, channel: int) -> str:
        """Return the modality ``channel`` as a data URI."""
        return png_uri(self._grey(channel))

    def overlay(self, labels: np.ndarray) -> str:
        """Return ``labels`` ``(H, W)`` over the first modality, with the outline of the reference, as a data URI."""
        picture = np.repeat(self._grey(0)[..., None], 3, axis=2).astype(np.float32)
        predicted, reference = self._labels(labels), self._labels(self._reference)
        for colour, values in self._layers:
            mask = np.isin(predicted, values)
            rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float32)
            # blended with the pure colour, not with a mixture where regions overlap
            base = np.repeat(self._grey(0)[..., None], 3, axis=2)[mask]
            picture[mask] = (1 - OPACITY) * base + OPACITY * rgb
        for _, values in self._layers:
            picture[_outline(np.isin(reference, values))] = 255
        return png_uri(picture.astype(np.uint8))

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """Return the visible part of ``(H, W)``, unchanged."""
        return np.ascontiguousarray(pixels[self._crop])

    def cut_images(self) -> list[np.ndarray]:
        """Return the visible part of every modality."""
        return [self.cut(image) for image in self._images]

    def _grey(self, channel: int) -> np.ndarray:
        from PIL import Image

        return np.asarray(
            Image.fromarray(self._images[channel][self._crop]).resize(self.size, Image.Resampling.BICUBIC)
        )

    def _labels(self, labels: np.ndarray) -> np.ndarray:
        from PIL import Image

        cut = np.ascontiguousarray(labels[self._crop], np.int32)
        return np.asarray(Image.fromarray(cut).resize(self.size, Image.Resampling.NEAREST))


def _bounding_box(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the box around ``mask`` ``(H, W)`` with a margin of two pixels; the whole image where it is empty."""
    if not mask.any():
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    box = []
    for axis in (0, 1):
        there = np.flatnonzero(mask.any(1 - axis))
        box.append(slice(max(0, int(there[0]) - 2), min(mask.shape[axis], int(there[-1]) + 3)))
    return box[0], box[1]


def _outline(mask: np.ndarray) -> np.ndarray:
    """Return the border pixels within ``mask``; the edge of the picture is no border."""
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def png_uri(pixels: np.ndarray, *, exact: bool = False) -> str:
    """Return a data URI of ``(H, W)`` or ``(H, W, 3)`` uint8; unless ``exact``, with a palette of 128 colours.

    That halves the size and does not show.
    """
    from PIL import Image

    picture = Image.fromarray(pixels)
    if not exact:
        picture = picture.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
