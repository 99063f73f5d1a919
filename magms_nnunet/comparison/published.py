"""The printed results of the paper, in the rows of a comparison, always apart from our measurements."""

import csv
from dataclasses import dataclass
from pathlib import Path

from magms_nnunet.errors import InputError
from magms_nnunet.modalities import Modalities, Subset

ARXIV = "2306.03730"
TABLES = Path(__file__).parent / "published_tables"
BRAIN, TUMOUR = Modalities(("T1", "T2")), Modalities(("F", "T1", "T1c", "T2"))


@dataclass(frozen=True)
class PublishedTable:
    """One of the paper's tables.

    Attributes:
        number: of the table in the paper.
        metric: ``dice`` or ``hd95_mm``.
        what: data, and meaning of the number after the mean.
        columns: title -> subset of the comparison's channels -> printed text, ``0.656 (0.016)``.
    """

    number: int
    metric: str
    what: str
    columns: dict[str, dict[Subset, str]]

    @property
    def title(self) -> str:
        """Title that marks the table as quoted."""
        return f"Published, other data set: arXiv {ARXIV}, Table {self.number}, {self.what}"


def published_tables(modalities: Modalities) -> list[PublishedTable]:
    """Return the tables of the paper's data set with these modalities, in any names and any order; or none."""
    for theirs, tables in ((BRAIN, _brain_tables), (TUMOUR, _tumour_tables)):
        try:
            channels = {modalities.names[i]: theirs.parse([modalities.names[i]])[0] for i in modalities.complete}
        except InputError:  # this data set lacks a modality
            continue
        if sorted(channels.values()) == list(theirs.complete):
            channel_of = {theirs.names[channel]: modalities.names.index(name) for name, channel in channels.items()}
            return tables(channel_of)
    return []


def _brain_tables(channel_of: dict[str, int]) -> list[PublishedTable]:
    def column(system: str, region: str) -> dict[Subset, str]:
        return _column("table1_iseg2017_dice.csv", channel_of, region, f"{region}_pm", "{} ± {}", system)

    what = "iSeg2017, Dice: mean ± what the text calls the variance"
    systems = ("HeMIS", "UNETR zero-filled", "UNETR mean-filled", "MAG", "MAG-MS")
    regions = {"CSF": "csf", "GM": "gm", "WM": "wm"}
    return [
        PublishedTable(1, "dice", what, {system: column(system, "mean") for system in systems}),
        PublishedTable(
            1, "dice", what, {f"MAG-MS, {name}": column("MAG-MS", region) for name, region in regions.items()}
        ),
    ]


def _tumour_tables(channel_of: dict[str, int]) -> list[PublishedTable]:
    def table(number: int, file: str, metric: str, what: str, columns: dict[str, str]) -> PublishedTable:
        spread, form = ("sd", "{} ± {}") if "±" in what else ("var", "{} ({})")
        cells = {title: _column(file, channel_of, name, f"{name}_{spread}", form) for title, name in columns.items()}
        return PublishedTable(number, metric, f"MSD Task01, {what}", cells)

    dice, hd95 = "Dice: mean (variance)", "HD95 in mm: mean (variance)"
    dice_sd, hd95_sd = "Dice: mean ± standard deviation", "HD95 in mm: mean ± standard deviation"
    systems = {
        "HeMIS": "hemis",
        "UNETR zero-filled": "unetr_zero",
        "UNETR mean-filled": "unetr_mean",
        "MAG-MS": "magms",
    }
    regions = {"MAG-MS, mean": "mean", "MAG-MS, WT": "wt", "MAG-MS, ET": "et", "MAG-MS, TC": "tc"}
    both = {"UNETR, one per subset": "unetr", "MAG-MS": "magms"}
    table3 = "table3_msd_individual_vs_magms.csv"
    misprint = " (T2 alone is misprinted; 9.847 agrees with Table 3)"
    return [
        table(2, "table2_msd_mean_dice.csv", "dice", dice, systems),
        table(3, table3, "dice", dice, {title: f"{name}_dice" for title, name in both.items()}),
        table(3, table3, "hd95_mm", hd95, {title: f"{name}_hd95" for title, name in both.items()}),
        table(4, "table4_msd_magms_dice.csv", "dice", dice_sd, regions),
        table(5, "table5_msd_magms_hd95.csv", "hd95_mm", hd95_sd + misprint, regions),
    ]


def _column(
    file: str, channel_of: dict[str, int], mean: str, spread: str, form: str, system: str | None = None
) -> dict[Subset, str]:
    with (TABLES / file).open(newline="", encoding="utf-8") as source:
        return {
            tuple(sorted(channel_of[name] for name in row["modalities"].split("+"))): form.format(
                *(f"{float(row[column]):.3f}" for column in (mean, spread))
            )
            for row in csv.DictReader(source)
            if system in (None, row.get("system"))
        }
