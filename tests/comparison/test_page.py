"""``comparison.html``: what is unfair, the tables, and the differences case by case."""

from magms_nnunet.comparison.compare import compare
from tests.evaluation.evaluation_folder import write_evaluation
from tests.report.test_report import Page

SUBSETS = ["FLAIR", "T1c", "FLAIR+T1c"]


def dice_of(*base):
    """Subset -> case -> Dice, growing by 0.01 per case."""
    return {
        subset: {f"c{number}": value + 0.01 * number for number in range(6)}
        for subset, value in zip(SUBSETS, base, strict=True)
    }


def page_of(tmp_path, *names, **second):
    systems = [f"{names[0]}={write_evaluation(tmp_path / 'a', dice_of(0.5, 0.6, 0.8))}"]
    for number, name in enumerate(names[1:]):
        systems.append(f"{name}={write_evaluation(tmp_path / f'b{number}', dice_of(0.5, 0.7, 0.7), **second)}")
    compare(systems, tmp_path / "out")
    return Page((tmp_path / "out/comparison.html").read_text(encoding="utf-8"))


def test_the_page_has_the_tables_and_a_figure_per_metric(tmp_path):
    page = page_of(tmp_path, "one", "two", "three")
    for text in ("one, two, three", "Comparison on 6 cases", "0.725 ± 0.019 (0.000)", "Wilcoxon", "Cost of training"):
        assert text in page.text
    titles = [svg["aria-label"] for svg in page.all("svg")]
    metrics = ("difference in Dice", "difference in HD95, mm")
    assert titles == [f"{name} minus one: {metric}" for name in ("two", "three") for metric in metrics]
    assert "Not comparable" not in page.text
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    tables = {button["data-csv"] for button in page.all("button") if "data-csv" in button}
    assert tables == {name for name in identifiers if name.startswith("table-")}


def test_a_difference_is_that_of_the_same_case(tmp_path):
    page = page_of(tmp_path, "one", "two")
    assert "0.100 [0.100, 0.100]" in page.text  # from T1c, in every case
    assert "-0.100 [-0.100, -0.100]" in page.text  # from both


def test_what_makes_it_unfair_comes_before_everything(tmp_path):
    page = page_of(tmp_path, "one", "two", settings={"mirroring": False, "step_size": 0.5})
    banner = "Not comparable because these differ: mirroring. Differences between the systems may come from these"
    assert banner in page.text
    assert page.text.index(banner) < page.text.index("Dice of every subset")


def test_one_system_is_shown_without_figures(tmp_path):
    page = page_of(tmp_path, "one")
    assert page.all("svg") == []
    assert "Case by case" not in page.text


def test_names_are_text(tmp_path):
    page = page_of(tmp_path, "one", "<b>two")
    assert page.all("b") == []
    assert "<b>two minus one: difference in Dice" in page.text
