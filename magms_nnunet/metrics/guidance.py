"""The value of each modality for a model: its gain, the loss without it, and additions that lower the Dice."""

from collections.abc import Mapping, Sequence
from math import comb

from magms_nnunet.modalities import Modalities, Subset


def guidance(dice: Mapping[str, float], modalities: Sequence[str], tolerance: float = 0.01) -> dict:
    """Derive the value of each modality from the mean Dice of all subsets.

    Args:
        dice: subset as ``FLAIR+T1c`` -> mean Dice; all 2^M - 1 subsets, others are ignored.
        modalities: names in channel order.
        tolerance: loss of Dice that is accepted for a smaller subset.

    Returns:
        ``shapley`` (the exact mean gain of a modality over all orders of addition; the empty subset counts as
        ``shapley_baseline``, 0, so that the values sum up to the Dice of all modalities), ``dropped`` (loss without
        this modality alone), ``alone``, ``gain`` (mean gain over the other subsets; with one modality there are none,
        and the gain is 0), ``best``, ``smallest_within_tolerance`` (of the best; among
        equally many modalities the better one), ``hurts`` (a modality whose addition lowers Dice, the largest loss
        first) and ``complete``. Equal subsets: the first in the order of :meth:`Modalities.subsets`.

    Raises:
        ValueError: a subset is missing.
    """
    names = Modalities(tuple(modalities))
    if missing := [names.format(subset) for subset in names.subsets() if names.format(subset) not in dice]:
        raise ValueError(f"guidance needs all {len(names.subsets())} subsets, and has no {', '.join(missing)}")
    value = {(): 0.0} | {subset: float(dice[names.format(subset)]) for subset in names.subsets()}
    gains = {name: _gains(value, channel) for channel, name in enumerate(names.names)}

    def named(subset: Subset) -> dict:
        return {"subset": names.format(subset), "dice": value[subset]}

    best = max(names.subsets(), key=lambda subset: value[subset])
    # 1e-12: a difference of exactly the tolerance is within it, whatever its last bit.
    enough = [subset for subset in names.subsets() if value[best] - value[subset] <= tolerance + 1e-12]
    smallest = max(enough, key=lambda subset: (-len(subset), value[subset]))
    hurts: list[dict] = [
        {
            "subset": names.format(subset),
            "added": name,
            "dice_before": value[subset],
            "dice_after": value[_joined(subset, channel)],
        }
        for channel, (name, of_name) in enumerate(gains.items())
        for subset, gain in of_name.items()
        if subset and gain < 0
    ]
    return {
        "shapley": {name: _shapley(of_name, len(names)) for name, of_name in gains.items()},
        "shapley_baseline": 0.0,
        "dropped": {name: of_name[max(of_name, key=len)] for name, of_name in gains.items()},
        "alone": {name: of_name[()] for name, of_name in gains.items()},
        "gain": {name: _mean_over_subsets(of_name) for name, of_name in gains.items()},
        "best": named(best),
        "smallest_within_tolerance": {**named(smallest), "tolerance": float(tolerance)},
        "hurts": sorted(hurts, key=lambda pair: pair["dice_after"] - pair["dice_before"]),
        "complete": named(names.complete),
    }


def _joined(subset: Subset, channel: int) -> Subset:
    return tuple(sorted((*subset, channel)))


def _gains(value: Mapping[Subset, float], channel: int) -> dict[Subset, float]:
    """Return every subset without the channel, the empty one included -> gain by the channel."""
    return {
        subset: value[_joined(subset, channel)] - before for subset, before in value.items() if channel not in subset
    }


def _shapley(gains: Mapping[Subset, float], modalities: int) -> float:
    """Return the Shapley value (1953): |S|! (M - |S| - 1)! / M! is the share of the orders in which S comes before."""
    return sum(gain / (modalities * comb(modalities - 1, len(subset))) for subset, gain in gains.items())


def _mean_over_subsets(gains: Mapping[Subset, float]) -> float:
    of_others = [gain for subset, gain in gains.items() if subset] or list(gains.values())
    return sum(of_others) / len(of_others)
