"""The report in a real browser: nothing on the console, columns that sort, and no sideways scrolling on a phone."""

import csv
import math
from contextlib import closing
from xml.etree import ElementTree

import pytest

from magms_nnunet.report.report import write_report
from tests.browser import BROWSER, Page
from tests.evaluation.blob_evaluation import write_blob_evaluation

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here; Debian: apt-get install chromium")

WIDTHS = (375, 1280)  # pixels: a phone, a desk
# Opens what is folded, sorts, draws another case, saves, and returns what came of that.
PROBE = """
(async () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
  const sort = (table, title) => {
    const headers = [...table.tHead.rows[0].cells];
    const column = headers.findIndex(header => header.textContent === title);
    return [1, 2].map(() => {
      headers[column].querySelector("button").click();
      const values = [...table.tBodies[0].rows].map(row => row.cells[column].textContent.trim());
      return {values, order: headers.map(header => header.getAttribute("aria-sort"))[column],
              others: headers.filter(header => header.getAttribute("aria-sort") !== "none").length - 1};
    });
  };
  const [subsets, scores] = document.querySelectorAll("table.sortable");
  const drawn = async before => {
    const sum = canvas => [...canvas.toDataURL()].reduce((total, character) => total + character.codePointAt(0), 0);
    for (let attempt = 0; attempt < 1000; attempt++) {
      await new Promise(resolve => setTimeout(resolve, 20));
      const sums = [...document.querySelectorAll("#viewer-tiles canvas")].map(sum);
      if (sums.length && sums[0] !== before) return sums;
    }
    return [];
  };
  const tiles = [await drawn()];
  const over = document.getElementById("viewer-modality");
  over.value = 1;
  over.dispatchEvent(new Event("change"));
  tiles.push(await drawn(tiles[0][0]));
  const saved = [];
  URL.createObjectURL = blob => { saved.push(blob.text()); return "#"; };
  document.querySelector("button[data-svg]").click();
  document.querySelector("button[data-csv]").click();
  const [svg, volumes] = await Promise.all(saved);
  return {
    width: innerWidth, scrollWidth: document.documentElement.scrollWidth,
    dice: sort(scores, "Dice"), cases: sort(scores, "Case"), hd95: sort(subsets, "HD95, mm"),
    subsets: sort(subsets, "Subset"), tiles, csv: csvOf(scores), svg, volumes,
  };
})()
"""


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
    """What an ordinary and an awkward report show at every width, and what they complain of on the console."""
    root = tmp_path_factory.mktemp("browser")
    write_blob_evaluation(root / "ordinary", cases=("case 10", "case 9", "case 1"))
    write_blob_evaluation(
        root / "awkward",
        modalities=("a_modality_with_a_very_long_name_indeed", "NameWithoutAnyPlaceWhereItMayBeBroken", "<b>&", "T2"),
        regions={"a_region_" * 6: (1, 2, 3), "RegionWithoutAnyPlaceWhereItMayBeBroken": (3,)},
        cases=("<img src=x onerror=console.error(1)>", "case" * 30),
        command="magms_evaluate " + "x" * 300,
    )
    addresses = {name: write_report(root / name).as_uri() for name in ("ordinary", "awkward")}
    seen = {}
    with closing(Page(root, addresses["ordinary"])) as browser:
        for name in addresses:
            for width in WIDTHS:
                browser.resize(width)
                browser.visit(f"{addresses[name]}?{width}")
                seen[name, width] = browser.evaluate(PROBE)
        browser.evaluate("console.log('the console is heard')")
    return seen, browser.complaints


def test_nothing_on_the_console(visit):
    *others, line = visit[1]
    assert "the console is heard" in line  # or the next line would prove nothing
    assert others == []


def test_no_sideways_scrolling(visit):
    for (page, width), result in visit[0].items():
        assert result["width"] == width
        assert result["scrollWidth"] <= width, page


def test_a_click_sorts_and_a_second_one_turns_around(visit):
    result = visit[0]["ordinary", 1280]
    rows = 3 * 15 * 3
    for name, of_row in (("dice", float), ("hd95", lambda text: float(text.split()[0]))):
        up, down = result[name]
        assert (up["order"], down["order"]) == ("ascending", "descending")
        assert up["others"] == down["others"] == 0  # one column only says that it is sorted
        values = [of_row(text) for text in up["values"]]
        assert values == sorted(values)
        assert len(set(values)) > 5
        assert [of_row(text) for text in down["values"]] == values[::-1]
    assert len(result["dice"][0]["values"]) == rows


def test_any_case_is_drawn_over_the_modality_that_is_chosen(visit):
    for result in visit[0].values():
        first, second = result["tiles"]
        assert len(first) == len(second) == 16  # the reference and 15 subsets
        assert all(a != b for a, b in zip(first, second, strict=True))
    assert len(set(visit[0]["ordinary", 1280]["tiles"][0])) > 10


def test_a_table_becomes_csv_with_all_digits_and_no_formula(visit):
    header, *rows = csv.reader(visit[0]["ordinary", 1280]["csv"].splitlines())
    assert header[:4] == ["Case", "Subset", "Region", "Dice"]
    assert len(rows) == 3 * 15 * 3
    assert any(len(row[3]) > 5 for row in rows)
    assert {row[0] for row in rows} == {"case 1", "case 9", "case 10"}
    (name, *_), *_ = csv.reader(visit[0]["awkward", 1280]["csv"].splitlines()[1:])
    assert name.startswith(("case", "<img"))


def test_a_button_saves_a_figure_that_is_svg_by_itself_and_a_table(visit):
    for result in visit[0].values():
        figure = ElementTree.fromstring(result["svg"])
        assert figure.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(list(figure.iter("{http://www.w3.org/2000/svg}polygon"))) == 15  # a mean per subset
        header, *regions = csv.reader(result["volumes"].splitlines())
        assert header == ["Region", "Cases", "Mean difference, ml", "Lower limit", "Upper limit"]
        assert regions
        assert all(math.isfinite(float(cell)) for row in regions for cell in row[1:])


def test_names_sort_as_people_count(visit):
    up, down = visit[0]["ordinary", 1280]["cases"]
    assert list(dict.fromkeys(up["values"])) == ["case 1", "case 9", "case 10"]
    assert down["values"] == up["values"][::-1]


def test_subsets_sort_in_the_order_of_the_paper(visit):
    up, down = visit[0]["ordinary", 1280]["subsets"]  # after it was sorted by HD95
    names = [text.split()[-1] for text in up["values"]]
    assert names[:5] == ["FLAIR", "T1", "T1c", "T2", "FLAIR+T1"]
    assert names[-1] == "FLAIR+T1+T1c+T2"
    assert down["values"] == up["values"][::-1]
