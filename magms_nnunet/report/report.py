"""``report.html``: an evaluation as one page for a browser or a printer."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from magms_nnunet.errors import InputError
from magms_nnunet.metrics.dice import Regions
from magms_nnunet.metrics.hausdorff import BRATS_WORST_MM
from magms_nnunet.metrics.scores import case_means, read_scores, read_table
from magms_nnunet.metrics.statistics import SMALLEST_N, bootstrap_interval
from magms_nnunet.modalities import Modalities
from magms_nnunet.report import viewer
from magms_nnunet.report.figures import Tiles, region_colour
from magms_nnunet.report.page import write_page
from magms_nnunet.report.plots import Line, bland_altman, interval_plot, limits_of_agreement
from magms_nnunet.report.significance import AgainstBest, Significance, against_best
from magms_nnunet.storage.json_files import read_json_object

if TYPE_CHECKING:
    import pandas as pd
    from markupsafe import Markup

FEW_CASES = 20  # with fewer, the page warns that the order of subsets may be chance
TABLE_ROWS = 20_000  # above this a browser takes seconds to open the page, so only the largest subset is listed


@dataclass(frozen=True)
class Row:
    """One evaluated subset.

    Attributes:
        name: ``FLAIR+T1c``.
        available: per modality, whether it is in the subset.
        scores: of the subset, from summary.json.
        case_dice: mean Dice over regions of every case, in the order of the cases.
        interval: bootstrap interval of its mean, 95 %.
        against_best: this subset against the best one; None: it is the best, or there is nothing to compare.
        marks: remarkable properties of the subset: a symbol and its meaning.
    """

    name: str
    available: tuple[bool, ...]
    scores: dict
    case_dice: tuple[float, ...]
    interval: tuple[float, float]
    against_best: AgainstBest | None = None
    marks: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Tile:
    """A picture: ``source`` is a data URI, ``alt`` its description; ``dice`` is that of a shown prediction."""

    source: str
    alt: str
    caption: str
    available: tuple[bool, ...] | None = None
    dice: float | None = None


@dataclass(frozen=True)
class CaseFigure:
    """The pictures of one case; none where its slice is missing."""

    title: str
    case: str
    dice: float
    images: list[Tile] = field(default_factory=list)
    overlays: list[Tile] = field(default_factory=list)


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` into an evaluation folder, from run.json, summary.json, scores.csv, entropy.csv and slices.

    Raises:
        InputError: one of the first three is missing or damaged, or the files do not belong together.
    """
    folder = Path(folder)
    target = folder / "report.html"
    write_page(target, "report.html", _content(folder))
    return target


def _content(folder: Path) -> dict:
    """Return the content of the template."""
    run, summary = (
        read_json_object(folder / name, f"no {name} in {folder}: is it a folder of magms_evaluate?", "evaluate again")
        for name in ("run.json", "summary.json")
    )
    scores = read_scores(folder / "scores.csv")
    try:
        modalities = Modalities(tuple(run["modalities"]))
        regions: Regions = {name: tuple(values) for name, values in run["regions"].items()}
        guidance = summary["guidance"]
        significance = against_best(case_means(scores))
        rows = _rows(run["subsets"], summary["subsets"], case_means(scores), modalities, guidance, significance)
        # The largest subset represents the model, also where the subset of all modalities was not evaluated.
        largest = max(rows, key=lambda row: sum(row.available))
        figures = _case_figures(folder, run["subsets"], rows, largest, scores, modalities, regions)
        table = scores if len(scores) <= TABLE_ROWS else scores[scores["subset"] == largest.name]
        content = {
            "run": run,
            "cases": summary["cases"],
            "few_cases": summary["cases"] < FEW_CASES,
            "fewest": min(
                row.scores["cases"] for row in rows
            ),  # of a subset; fewer than all where cases lack modalities
            "modalities": modalities.names,
            "possible_subsets": 2 ** len(modalities) - 1,
            "additions": sum(len(modalities) - len(subset) for subset in modalities.subsets()),
            "regions": list(regions),
            "legend": [(name, region_colour(index)) for index, name in enumerate(regions)],
            "overlapping": len({label for values in regions.values() for label in values})
            < sum(len(values) for values in regions.values()),
            "rows": rows,
            "heat_range": _heat_range(rows),
            "by_name": {row.name: row for row in rows},
            "best": max(rows, key=lambda row: row.scores["mean"]["dice"]["mean"]),
            "largest": largest,
            "guidance": guidance,
            "figures": figures,
            "significance": significance,
            "smallest_n": SMALLEST_N,
            "plots": _plots(rows, scores, list(regions)),
            "agreements": _agreements(scores[scores["subset"] == largest.name], list(regions), largest.name),
            "viewer": _viewer(folder, run["subsets"], rows, scores, modalities, regions),
            "table": table.to_dict("records"),
            "table_is_cut": len(table) < len(scores),
            "entropy": _entropy(folder / "entropy.csv"),
            "empty_brats_mm": BRATS_WORST_MM,
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{folder}: run.json, summary.json and scores.csv do not fit together ({reason}): evaluate again"
        ) from error
    return content


def _entropy(path: Path) -> dict[tuple[str, str], float]:
    """Return (case, subset) -> mean predictive entropy in nats; empty where it was not measured."""
    if not path.is_file():
        return {}
    table = read_table(path, ("case", "subset"), ("entropy_nats",))
    return dict(zip(zip(table["case"], table["subset"], strict=True), table["entropy_nats"], strict=True))


def _rows(
    subsets: list[str],
    summary: dict,
    means: "pd.DataFrame",
    modalities: Modalities,
    guidance: dict | None,
    significance: Significance | None,
) -> list[Row]:
    # A name is looked up and not split, because the name of a modality may hold a plus.
    available = {
        modalities.format(subset): tuple(channel in subset for channel in range(len(modalities)))
        for subset in modalities.subsets()
    }
    marks: dict[str, list[tuple[str, str]]] = {}
    if guidance and len(modalities) > 1:
        smallest = guidance["mean"]["smallest_within_tolerance"]
        marks.setdefault(guidance["mean"]["best"]["subset"], []).append(("★", "best"))
        marks.setdefault(smallest["subset"], []).append(("◆", f"smallest within {smallest['tolerance']:g} of the best"))
    if significance and significance.cases >= SMALLEST_N:
        for name in significance.not_told_apart:
            marks.setdefault(name, []).append(("≈", "not significantly different from the best"))
    rows = []
    for name in subsets:
        if name in summary:  # a requested subset that no case has was not evaluated
            dice = tuple(means.loc[means["subset"] == name, "dice"])
            other = significance.others.get(name) if significance else None
            found = bootstrap_interval(dice), other, tuple(marks.get(name, ()))
            rows.append(Row(name, available[name], summary[name], dice, *found))
    return rows


def _plots(rows: list[Row], scores: "pd.DataFrame", regions: list[str]) -> list[tuple[str, "Markup"]]:
    """Return name of a file and figure: the Dice of every subset, of the mean over regions and of each region."""
    lines = [Line(row.name, row.case_dice, row.scores["mean"]["dice"]["mean"], *row.interval) for row in rows]
    axis, bounds = "Dice (points: cases, bars: 95 % bootstrap intervals of the means)", (0.0, 1.0)
    plots = [("dice_mean", interval_plot("Dice of every subset, mean over regions", axis, lines, bounds=bounds))]
    for number, region in enumerate(regions if len(regions) > 1 else [], 1):
        dice = {str(name): of["dice"] for name, of in scores[scores["region"] == region].groupby("subset")}
        lines = [
            Line(row.name, dice[row.name], dice[row.name].mean(), *bootstrap_interval(dice[row.name])) for row in rows
        ]
        plots.append((f"dice_region_{number}", interval_plot(f"Dice of {region}", axis, lines, bounds=bounds)))
    return plots


def _agreements(scores: "pd.DataFrame", regions: list[str], subset: str) -> list[tuple[str, dict, "Markup"]]:
    """Return file name, figures and Bland-Altman plot of each region's volumes in ml, of two cases or more."""
    found: list[tuple[str, dict, Markup]] = []
    if scores["case"].nunique() < 2:
        return found
    for number, region in enumerate(regions, 1):
        of_region = scores[scores["region"] == region]
        reference, predicted = (of_region[column] / 1000 for column in ("reference_mm3", "predicted_mm3"))
        bias, (low, high) = limits_of_agreement(predicted - reference)
        numbers = {"region": region, "cases": len(of_region), "bias": bias, "low": low, "high": high}
        plot = bland_altman(f"Volume of {region} from {subset}", reference, predicted, "ml")
        found.append((f"volume_region_{number}", numbers, plot))
    return found


def _viewer(
    folder: Path, subsets: list[str], rows: list[Row], scores: "pd.DataFrame", modalities: Modalities, regions: Regions
) -> dict | None:
    """Return the pictures for the viewer of cases; None: slices are missing, or there are too many labels."""
    numbers = viewer.label_numbers(regions)
    if numbers is None:
        return None
    means = case_means(scores).set_index(["case", "subset"])["dice"].to_dict()
    evaluated = _shown(subsets, modalities)
    cases, size = [], 0
    for case in dict.fromkeys(scores["case"]):
        path = folder / "slices" / f"{case}.npz"
        if not path.is_file():
            continue
        own = [row for row in rows if (case, row.name) in means]
        has = [i for i, m in enumerate(evaluated) if any(row.available[m] for row in own)]
        tiles, (reference, *predictions) = _read_slice(path, len(evaluated), len(subsets), regions, has)
        labels = [reference, *(predictions[subsets.index(row.name)] for row in own)]
        pictures = viewer.case_pictures(tiles, labels, numbers)
        size += viewer.pictures_size(pictures)
        if size > viewer.BYTES:
            break
        captions = [{"subset": row.name, "dots": row.available, "dice": round(means[case, row.name], 3)} for row in own]
        names = [modalities.names[evaluated[i]] for i in has]
        cases.append({"name": case, "modalities": names, "predictions": captions, **pictures})
    return {"regions": viewer.region_table(regions, numbers), "cases": cases} if cases else None


def _shown(subsets: list[str], modalities: Modalities) -> list[int]:
    """Return channels of the kept slices: those that any subset has."""
    return sorted({m for subset in modalities.subsets() if modalities.format(subset) in subsets for m in subset})


def _heat_range(rows: list[Row]) -> tuple[float, float]:
    """Return the lowest and the highest mean Dice of any region, between which the colours must distinguish."""
    values = [region["dice"]["mean"] for row in rows for region in row.scores["regions"].values()]
    return min(values), max(*values, min(values) + 0.01)


def _case_figures(
    folder: Path,
    subsets: list[str],
    rows: list[Row],
    largest: Row,
    scores: "pd.DataFrame",
    modalities: Modalities,
    regions: Regions,
) -> list[CaseFigure]:
    """Return the best and the worst case by the Dice of the largest subset; of equal ones the first."""
    means = case_means(scores).set_index(["case", "subset"])["dice"]
    of_largest = means.xs(largest.name, level="subset")
    chosen = {"Best case": of_largest.idxmax(), "Worst case": of_largest.idxmin()}
    if len(of_largest) == 1:
        chosen = {"The case": of_largest.idxmax()}
    evaluated = _shown(subsets, modalities)
    figures = []
    for title, case in chosen.items():
        figure = CaseFigure(title, case, float(of_largest[case]))
        if (path := folder / "slices" / f"{case}.npz").is_file():
            own = [row for row in rows if (case, row.name) in means.index]  # a case may lack modalities
            has = [i for i, m in enumerate(evaluated) if any(row.available[m] for row in own)]
            tiles, labels = _read_slice(path, len(evaluated), len(subsets), regions, has)
            names = [modalities.names[evaluated[i]] for i in has]
            figure.images.extend(Tile(tiles.image(i), f"{case}, {name}", name) for i, name in enumerate(names))
            reference, *predictions = labels
            figure.images.append(Tile(tiles.overlay(reference), f"{case}, reference", "Reference"))
            for row in own:
                dice = float(means[case, row.name])
                alt = f"{case}, {row.name}, Dice {dice:.3f}"
                picture = tiles.overlay(predictions[subsets.index(row.name)])
                figure.overlays.append(Tile(picture, alt, row.name, row.available, dice))
        figures.append(figure)
    return figures


def _read_slice(
    path: Path, modalities: int, subsets: int, regions: Regions, has: list[int]
) -> tuple[Tiles, list[np.ndarray]]:
    """Return the pictures of a case, of the images ``has``, and its label maps: the reference, then the predictions."""
    try:
        with np.load(path, allow_pickle=False) as file:
            images, reference, predictions = file["images"], file["reference"], file["predictions"]
            spacing_mm = file["spacing_mm"]
        shapes = images.shape, predictions.shape, spacing_mm.shape
        if shapes != ((modalities, *reference.shape), (subsets, *reference.shape), (2,)):
            raise ValueError(f"images {shapes[0]}, reference {reference.shape}, predictions {shapes[1]}")
        return Tiles(images[has], reference, predictions, spacing_mm, regions), [reference, *predictions]
    except Exception as error:  # a damaged zip raises BadZipFile, zlib.error, KeyError and others
        raise InputError(
            f"{path}: does not hold the slices that run.json announces ({error}): evaluate again"
        ) from error
