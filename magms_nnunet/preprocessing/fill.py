"""Filling of missing modalities, for stock networks, which need all of them."""

from torch import Tensor

from magms_nnunet.modalities import Subset

FILLS = ("zero", "mean")


def fill_absent(data: Tensor, subset: Subset, num_modalities: int, fill: str) -> Tensor:
    """Return all channels of a preprocessed case from those of a subset.

    Both are baselines of arXiv 2306.03730; the idea is that of Grøvik et al., https://doi.org/10.1038/s41746-021-00398-4.

    Args:
        data: ``(len(subset) + extra, *spatial)``, normalised; ``extra`` is the previous stage of a cascade.
        subset: sorted channels, at least one.
        num_modalities: M.
        fill: ``zero``, which is the mean of a normalised channel; or ``mean``, at each voxel the mean of the
            available modalities.

    Returns:
        ``(M + extra, *spatial)``

    Raises:
        ValueError: ``fill`` is another text.
    """
    if fill not in FILLS:
        raise ValueError(f"fill must be one of {', '.join(FILLS)}, got {fill!r}")
    given = len(subset)
    full = data.new_zeros(num_modalities + len(data) - given, *data.shape[1:])
    if fill == "mean":
        full[:num_modalities] = data[:given].mean(0)
    full[list(subset)] = data[:given]
    full[num_modalities:] = data[given:]
    return full
