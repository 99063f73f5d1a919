"""Which modalities a model needs: what each adds, what is lost without it, and what makes it worse."""

from collections.abc import Mapping, Sequence
from math import comb

from magms_nnunet.modalities import Modalities, Subset


def guidance(dice: Mapping[str, float], modalities: Sequence[str], tolerance: float = 0.01) -> dict:
    """What the mean Dice of all subsets says about the modalities.

    Args:
        dice: subset as ``FLAIR+T1c`` -> mean Dice; all 2^M - 1 subsets, others are not looked at.
        modalities: names in channel order.
        tolerance: loss of Dice that is accepted for a smaller subset.

    Returns:
        ``shapley`` (the mean over all orders of arrival of what a modality adds, exact; no modality at all counts as
        ``shapley_baseline``, 0, so that the values sum up to the Dice of all modalities), ``dropped`` (loss when it
        alone is left out of all), ``alone``, ``gain`` (mean over the other subsets of what it adds to them; with one
        modality there are none, and it adds to nothing), ``best``, ``smallest_within_tolerance`` (of the best; among
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
    # 1e-12: a difference of exactly the tolerance is within it, whatever the last bit says.
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
    """Every subset without the channel, the empty one included -> what the channel adds to it."""
    return {
        subset: value[_joined(subset, channel)] - before for subset, before in value.items() if channel not in subset
    }


def _shapley(gains: Mapping[Subset, float], modalities: int) -> float:
    """Shapley 1953: |S|! (M - |S| - 1)! / M! is the share of the orders in which exactly S has come before."""
    return sum(gain / (modalities * comb(modalities - 1, len(subset))) for subset, gain in gains.items())


def _mean_over_subsets(gains: Mapping[Subset, float]) -> float:
    of_others = [gain for subset, gain in gains.items() if subset] or list(gains.values())
    return sum(of_others) / len(of_others)
