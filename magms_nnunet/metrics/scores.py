"""Dice and HD95 per case, subset and region: computes, stores and summarises them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from magms_nnunet.errors import InputError, shorten
from magms_nnunet.metrics.dice import Regions, dice
from magms_nnunet.metrics.guidance import guidance
from magms_nnunet.metrics.hausdorff import BRATS_WORST_MM, Surface, check_spacing, diagonal_mm, hd95_of_surfaces
from magms_nnunet.modalities import Modalities
from magms_nnunet.storage.csv_files import from_text, write_csv
from magms_nnunet.storage.files import open_regular

if TYPE_CHECKING:
    import pandas as pd

KEYS = ("case", "subset", "region")
METRICS = ("dice", "hd95_mm", "hd95_brats_mm")
NUMBERS = (*METRICS, "reference_mm3", "predicted_mm3")
COLUMNS = (*KEYS, *NUMBERS, "presence")
PRESENCE = {(True, True): "both", (False, False): "none", (True, False): "reference", (False, True): "prediction"}
"""Whether reference and prediction have voxels -> value of the last column."""


class Reference:
    """The reference of one case, prepared once for all the predictions that are compared with it.

    Args:
        labels: integer label map ``(*spatial)``.
        regions: label values of each region.
        spacing_mm: distance between voxels, in the order of the array's axes.
        ignore_label: voxels with this label in the reference do not count; it belongs to no region.

    Raises:
        ValueError: the spacing does not fit, or a region holds the background.
    """

    def __init__(
        self, labels: np.ndarray, regions: Regions, spacing_mm: Sequence[float], ignore_label: int | None = None
    ):
        check_spacing(labels.shape, spacing_mm)
        if background := [name for name, values in regions.items() if 0 in values]:
            raise ValueError(f"regions are made of foreground labels, but {background[0]} has label 0: {regions}")
        self.regions = regions
        self.spacing_mm = tuple(float(length) for length in spacing_mm)
        self.worst_mm = diagonal_mm(labels.shape, spacing_mm)
        self._labels = labels
        self._ignored = None if ignore_label is None else labels == ignore_label
        self._box = _bounding_box(labels != 0)
        # No mask reaches beyond the box, and a mask ends at the border of its array, so the crop changes no surface.
        self._surfaces = {
            name: self._surface(np.isin(labels[self._box], values), self._box) for name, values in regions.items()
        }

    def score(self, case: str, subset: str, prediction: np.ndarray) -> list[dict]:
        """Return one row of scores.csv per region.

        Args:
            case: name of the case.
            subset: modalities of the prediction, ``FLAIR+T1c``.
            prediction: integer label map ``(*spatial)``.

        Raises:
            ValueError: the shapes differ.
        """
        if prediction.shape != self._labels.shape:
            raise ValueError(
                f"{case}: reference {self._labels.shape} and prediction {prediction.shape} differ in shape"
            )
        predicted_box = _bounding_box(prediction != 0)
        box = tuple(
            slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(self._box, predicted_box, strict=True)
        )
        counted = True if self._ignored is None else ~self._ignored[box]
        rows = []
        for name, values in self.regions.items():
            mask, predicted = (np.isin(labels[box], values) for labels in (self._labels, prediction))
            predicted &= counted
            surface = self._surface(predicted, box)
            presence = PRESENCE[bool(mask.any()), bool(predicted.any())]
            distance_mm = hd95_of_surfaces(self._surfaces[name], surface, self.worst_mm)
            voxel_mm3 = float(np.prod(self.spacing_mm))
            rows.append(
                {
                    "case": case,
                    "subset": subset,
                    "region": name,
                    "dice": dice(mask, predicted),
                    "hd95_mm": distance_mm,
                    "hd95_brats_mm": BRATS_WORST_MM if presence in ("reference", "prediction") else distance_mm,
                    "reference_mm3": int(mask.sum()) * voxel_mm3,
                    "predicted_mm3": int(predicted.sum()) * voxel_mm3,
                    "presence": presence,
                }
            )
        return rows

    def _surface(self, mask: np.ndarray, box: tuple[slice, ...]) -> Surface:
        return Surface(mask, self.spacing_mm, [axis.start for axis in box])


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    boxes = ndimage.find_objects(mask.view(np.uint8))
    return boxes[0] if boxes else tuple(slice(0, 0) for _ in mask.shape)


def score_case(
    case: str,
    subset: str,
    reference: np.ndarray,
    prediction: np.ndarray,
    regions: Regions,
    spacing_mm: Sequence[float],
    ignore_label: int | None = None,
) -> list[dict]:
    """Return the rows of scores.csv for one prediction; for several predictions of a case use :class:`Reference`.

    Args:
        case: name of the case.
        subset: as ``FLAIR+T1c``.
        reference: label map.
        prediction: label map of the same shape.
        regions: name -> label values.
        spacing_mm: between voxels, in the order of the axes.
        ignore_label: its voxels do not count; None: all count.
    """
    return Reference(reference, regions, spacing_mm, ignore_label).score(case, subset, prediction)


def write_scores(path: str | Path, rows: Iterable[dict]) -> None:
    """Write scores.csv; rows as :meth:`Reference.score` returns them."""
    write_csv(path, COLUMNS, ([row[column] for column in COLUMNS] for row in rows))


def read_scores(path: str | Path) -> "pd.DataFrame":
    """Read scores.csv.

    Raises:
        InputError: the file cannot be read, has other columns, an unknown value, a row twice, or a case that lacks
            regions of other cases.
    """
    scores = read_table(path, KEYS, NUMBERS, texts=("presence",))
    if unknown := set(scores["presence"]) - set(PRESENCE.values()):
        raise InputError(
            f"{path}: presence must be one of {', '.join(PRESENCE.values())}, got {min(unknown)!r}: evaluate again"
        )
    rows = scores.groupby(["case", "subset"], sort=False).size()
    regions = scores["region"].nunique()
    if (incomplete := rows[rows < regions]).size:
        case, subset = incomplete.index[0]
        raise InputError(
            f"{path}: {case} from {subset} has {incomplete.iloc[0]} of {regions} regions: the file was cut, "
            "evaluate again"
        )
    return scores


def read_table(
    path: str | Path, keys: Sequence[str], numbers: Sequence[str], texts: Sequence[str] = ()
) -> "pd.DataFrame":
    """Read a CSV file with known columns.

    Args:
        path: of the file.
        keys: columns that together identify a row.
        numbers: columns of numbers.
        texts: columns of texts.

    Raises:
        InputError: the file cannot be read, has other columns, holds a text in a column of numbers, has no rows, or has
            a row twice.
    """
    import pandas as pd

    expected = [*keys, *numbers, *texts]
    try:
        # A case may be named NA or 007: names are text, and nothing stands for "missing".
        with open(path, "rb", opener=open_regular) as file:
            table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")
        if list(table.columns) != expected:
            got = shorten(",".join(map(str, table.columns)))
            raise InputError(f"{path}: columns must be {','.join(expected)}, got {got}: evaluate again")
        # The round trip of Python's float is exact; pandas' own parser is not always.
        table = table.assign(**{name: [float(text) for text in table[name]] for name in numbers})
        table = table.assign(**{name: table[name].map(from_text) for name in (*keys, *texts)})
    except FileNotFoundError:
        raise InputError(f"no {Path(path).name} in {Path(path).parent}: is it a folder of magms_evaluate?") from None
    except (ValueError, OSError) as error:  # pandas' ParserError and EmptyDataError, and bad UTF-8, are ValueErrors
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"{path}: not a complete table ({reason}): evaluate again") from None
    if not np.isfinite(table[list(numbers)].to_numpy(float)).all():
        raise InputError(f"{path}: holds a number that is not finite: evaluate again")
    if table.empty:
        raise InputError(f"{path}: has no rows: evaluate again")
    if (twice := table[table.duplicated(list(keys))]).size:
        row = ", ".join(twice.iloc[0][list(keys)])
        raise InputError(f"{path}: {row} stands there twice: remove one of the rows, or evaluate again")
    return table


def spread(values: Sequence[float]) -> dict:
    """Return mean, SD, variance (both of a sample, n - 1; 0 for a single value) and number of values."""
    sample = np.asarray(values, float)
    variance = float(sample.var(ddof=1)) if len(sample) > 1 else 0.0
    return {"mean": float(sample.mean()), "sd": variance**0.5, "variance": variance, "n": len(sample)}


def interval_of_mean(of: dict, share: float = 0.95) -> list[float] | None:
    """Student's interval of a mean, from what :func:`spread` returns; None where there is a single value."""
    if of["n"] < 2:
        return None
    from scipy import stats  # takes a second to import

    half = float(stats.t.ppf((1 + share) / 2, of["n"] - 1)) * of["sd"] / of["n"] ** 0.5
    return [of["mean"] - half, of["mean"] + half]


def case_means(scores: "pd.DataFrame") -> "pd.DataFrame":
    """Return the mean over regions per case and subset: columns case, subset and those of ``METRICS``."""
    return scores.groupby(["case", "subset"], sort=False)[list(METRICS)].mean().reset_index()


def summarise(
    scores: "pd.DataFrame", entropy: "pd.DataFrame | None", subsets: Sequence[str], modalities: Sequence[str]
) -> dict:
    """Return the content of summary.json: the statistics of every subset, and the guidance from them.

    Args:
        scores: as :func:`read_scores` returns it.
        entropy: columns case, subset, entropy_nats; None where it was not measured.
        subsets: the subsets in the order of the summary; one without any case is left out.
        modalities: names in channel order.

    Returns:
        Plain numbers, texts and None. Guidance needs all 2^M - 1 subsets, and uses the cases that have them all;
        without such a case it is None.
    """
    means = case_means(scores)
    summary = {}
    for subset in subsets:
        of_subset = scores[scores["subset"] == subset]
        if of_subset.empty:
            continue
        nats = [] if entropy is None else entropy.loc[entropy["subset"] == subset, "entropy_nats"]
        summary[subset] = {
            "cases": int(of_subset["case"].nunique()),
            "mean": _statistics(means[means["subset"] == subset], of_subset),
            "regions": {
                str(region): _statistics(rows, rows) for region, rows in of_subset.groupby("region", sort=False)
            },
            "entropy_nats": float(np.mean(nats)) if len(nats) else None,
        }
    return {
        "cases": int(scores["case"].nunique()),
        "subsets": summary,
        "guidance": _guidance(scores, means, modalities),
    }


def _statistics(values: "pd.DataFrame", rows: "pd.DataFrame") -> dict:
    return {metric: spread(values[metric]) for metric in METRICS} | {"none": int((rows["presence"] == "none").sum())}


def _guidance(scores: "pd.DataFrame", means: "pd.DataFrame", modalities: Sequence[str]) -> dict | None:
    names = Modalities(tuple(modalities))
    subsets = [names.format(subset) for subset in names.subsets()]
    evaluated = means[means["subset"].isin(subsets)].groupby("case").size()
    cases = set(evaluated[evaluated == len(subsets)].index)
    if not cases:
        return None

    def of(rows: "pd.DataFrame") -> dict:
        return guidance(rows[rows["case"].isin(cases)].groupby("subset")["dice"].mean().to_dict(), modalities)

    return {
        "cases": len(cases),
        "mean": of(means),
        "regions": {str(region): of(rows) for region, rows in scores.groupby("region", sort=False)},
    }
