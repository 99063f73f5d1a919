import csv
import re

import pytest

from magms_nnunet.comparison.published import TABLES, TUMOUR, published_tables
from magms_nnunet.modalities import Modalities


def by_number(modalities):
    return [table.number for table in published_tables(Modalities(modalities))]


def test_tables_follow_the_modalities():
    assert by_number(("FLAIR", "T1w", "T1ce", "T2")) == [2, 3, 3, 4, 5]
    assert by_number(("T1", "T2")) == [1, 1]
    assert by_number(("T1", "CT")) == by_number(("T1", "T1c", "T2")) == by_number(("CT",)) == []


def test_rows_are_found_in_any_order_of_channels():
    table = published_tables(Modalities(("T2w", "T1Gd", "t2f", "T1n")))[0]
    assert set(table.columns["MAG-MS"]) == set(TUMOUR.subsets())
    assert table.columns["MAG-MS"][1, 2] == "0.769 (0.008)"  # F + T1c
    assert table.columns["UNETR zero-filled"][3,] == "0.000 (0.000)"  # T1


def test_figures_of_every_table():
    tables = published_tables(TUMOUR)
    assert tables[1].columns["UNETR, one per subset"][0, 2] == "0.771 (0.009)"
    assert tables[2].columns["MAG-MS"][0, 2] == "5.714 (11.791)"
    assert tables[3].columns["MAG-MS, WT"][0,] == "0.774 ± 0.090"
    assert tables[4].columns["MAG-MS, mean"][3,] == "13.559 ± 9.847"
    brain, regions = published_tables(Modalities(("T1", "T2")))
    assert brain.columns["MAG"][0, 1] == "0.804 ± 0.005"
    assert (0, 1) not in brain.columns["UNETR zero-filled"]  # with nothing missing there is nothing to fill
    assert regions.columns["MAG-MS, CSF"][0, 1] == "0.879 ± 0.002"


def test_every_title_says_that_it_is_published():
    for table in published_tables(TUMOUR) + published_tables(Modalities(("T1", "T2"))):
        assert re.match(r"Published, other data set: arXiv 2306.03730, Table \d, ", table.title)


def test_variances_are_squared_standard_deviations():
    def column(file, name):
        with (TABLES / file).open() as source:
            return {row["modalities"]: float(row[name]) for row in csv.DictReader(source)}

    variance, sd = column("table2_msd_mean_dice.csv", "magms_var"), column("table4_msd_magms_dice.csv", "mean_sd")
    assert {subset: value**2 for subset, value in sd.items()} == pytest.approx(variance, abs=1.1e-3)
    assert len(variance) == 15
