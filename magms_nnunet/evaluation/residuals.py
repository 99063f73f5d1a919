"""Reads the excess of the network's own estimate over the Dice in an evaluation, on which bounds are calibrated."""

from pathlib import Path

from magms_nnunet.metrics.scores import read_scores, read_table

_KEYS = ("case", "subset", "region")


def read_residuals(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Return subset -> region -> estimate minus Dice of each case, in the order of scores.csv.

    Args:
        folder: of an evaluation; one without the network's own estimates gives ``{}``.

    Raises:
        InputError: a table is damaged.
    """
    path = folder / "soft_dice.csv"
    if not path.is_file() or len(path.read_text(encoding="utf-8").splitlines()) < 2:
        return {}
    both = read_scores(folder / "scores.csv").merge(read_table(path, _KEYS, ("soft_dice",)), on=list(_KEYS), how="left")
    if both["soft_dice"].isna().any():  # missing for some cases: the others may be no representative sample
        return {}
    both["residual"] = both["soft_dice"] - both["dice"]
    found: dict[str, dict[str, list[float]]] = {}
    for (subset, region), rows in both.groupby(["subset", "region"], sort=False):
        found.setdefault(str(subset), {})[str(region)] = rows["residual"].tolist()
    return found
