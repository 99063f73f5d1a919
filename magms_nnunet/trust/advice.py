"""What an evaluation of all subsets says of one of them: is it weak, and which scan to acquire next."""

from collections.abc import Mapping

from magms_nnunet.modalities import Modalities, Subset

WEAK_BELOW = 0.5
"""Mean Dice of a subset below which a result is called weak, unless the user sets another."""

_WEAK_SHARE = 0.75
"""Of the Dice of all modalities: a subset below that is weak, too."""


def is_weak(dice: Mapping[str, float], modalities: Modalities, subset: Subset, weak_below: float = WEAK_BELOW) -> bool:
    """Whether the mean Dice of a subset is low, or far below that of all modalities.

    Args:
        dice: subset as ``FLAIR+T1c`` -> mean Dice of the evaluation; holds the subset.
        modalities: the model's.
        subset: of which a result is.
        weak_below: the threshold.
    """
    mean, complete = dice[modalities.format(subset)], dice.get(modalities.format(modalities.complete))
    return mean < weak_below or (complete is not None and mean < _WEAK_SHARE * complete)


def next_scan(dice: Mapping[str, float], modalities: Modalities, subset: Subset) -> dict | None:
    """The absent modality that adds most.

    Returns:
        ``{"modality", "expected_dice", "gain"}``; None: none is known to add anything.
    """
    here = dice[modalities.format(subset)]
    gains = {}
    for channel in modalities.complete:
        larger = modalities.format(sorted({*subset, channel}))
        if channel not in subset and larger in dice:
            gains[modalities.names[channel]] = dice[larger] - here
    best = max(gains, key=lambda name: gains[name], default=None)
    if best is None or gains[best] <= 0:
        return None
    return {"modality": best, "expected_dice": here + gains[best], "gain": gains[best]}
