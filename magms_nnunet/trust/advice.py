"""Advice on a subset, from an evaluation of all subsets: whether it is weak, and which scan to acquire next."""

from collections.abc import Mapping

from magms_nnunet.modalities import Modalities, Subset

WEAK_BELOW = 0.5
"""Mean Dice of a subset below which a result is called weak, unless the user sets another."""

_WEAK_SHARE = 0.75
"""Share of the Dice of all modalities; a subset below it is weak, too."""


def is_weak(dice: Mapping[str, float], modalities: Modalities, subset: Subset, weak_below: float = WEAK_BELOW) -> bool:
    """Return whether the mean Dice of a subset is low, or far below that of all modalities.

    Args:
        dice: subset as ``FLAIR+T1c`` -> mean Dice of the evaluation; holds the subset.
        modalities: of the model.
        subset: the modalities of a result.
        weak_below: the threshold.
    """
    mean, complete = dice[modalities.format(subset)], dice.get(modalities.format(modalities.complete))
    return mean < weak_below or (complete is not None and mean < _WEAK_SHARE * complete)


def next_scan(dice: Mapping[str, float], modalities: Modalities, subset: Subset) -> dict | None:
    """Return the absent modality that would raise the expected Dice most.

    Args:
        dice: subset as ``FLAIR+T1c`` -> mean Dice of the evaluation.
        modalities: of the model.
        subset: the modalities that the patient has.

    Returns:
        ``{"modality", "expected_dice", "gain"}``; None: no modality is known to raise it.
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
