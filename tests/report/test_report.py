import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from magms_nnunet.errors import InputError
from magms_nnunet.metrics.scores import case_means, read_scores
from magms_nnunet.metrics.statistics import bootstrap_interval
from magms_nnunet.report import report
from magms_nnunet.report.figures import REGION_COLOURS, Tiles, heat, region_colour
from magms_nnunet.report.report import write_report
from magms_nnunet.report.significance import against_best
from tests.evaluation.blob_evaluation import write_blob_evaluation

VOID = {"meta", "link", "img", "br", "wbr", "hr", "input"}


class Page(HTMLParser):
    """Tags, their attributes and the text of a page; fails on a tag that is not closed."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self._open, self._text = [], [], []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID and self._open.pop() != tag:
            raise AssertionError(f"</{tag}> closes something else at {self.getpos()}")

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        if not {"style", "script"} & set(self._open):
            self._text.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self._text).split())

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(folder) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


def rewrite(path, change):
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_blob_evaluation(tmp_path_factory.mktemp("evaluation") / "OUT")


@pytest.fixture(scope="module")
def page(folder):
    return page_of(folder)


def guidance(**changes) -> dict:
    """Of two modalities, by hand: A alone 0.6, B alone 0.2, both 0.5."""
    return {
        "shapley": {"A": 0.45, "B": 0.05},
        "shapley_baseline": 0.0,
        "dropped": {"A": 0.3, "B": -0.1},
        "alone": {"A": 0.6, "B": 0.2},
        "gain": {"A": 0.3, "B": -0.1},
        "best": {"subset": "A", "dice": 0.6},
        "smallest_within_tolerance": {"subset": "A", "dice": 0.6, "tolerance": 0.01},
        "hurts": [{"subset": "A", "added": "B", "dice_before": 0.6, "dice_after": 0.5}],
        "complete": {"subset": "A+B", "dice": 0.5},
    } | changes


def test_the_answer_comes_first_and_follows_the_guidance(tmp_path):
    folder = write_blob_evaluation(tmp_path / "OUT", modalities=("A", "B"), regions={"blob": (1, 2, 3)})
    rewrite(folder / "summary.json", lambda s: s.update(guidance={"mean": guidance(), "regions": {"blob": guidance()}}))
    text = page_of(folder).text
    answer = text[text.index("The answer") : text.index("Dice of every subset")]
    assert "Best subset 0.600 Dice ●○ A" in answer
    assert "Smallest subset within 0.01 Dice of the best 0.600 Dice ●○ A" in answer
    assert "All modalities 0.500 Dice ●● A+B" in answer
    assert re.search(r"without A −0\.300 Dice without B \+0\.100 Dice", answer)  # the largest loss first
    assert "Yes, in 1 of 2 ways" in answer
    assert "B joins A: 0.600 → 0.500 (−0.100)" in answer
    assert "−0.100" in text[text.index("What each modality is worth") :]


def test_no_addition_that_hurts_is_good_news(tmp_path):
    folder = write_blob_evaluation(tmp_path / "OUT", modalities=("A", "B"), regions={"blob": (1, 2, 3)})
    figures = guidance(hurts=[])
    rewrite(folder / "summary.json", lambda s: s.update(guidance={"mean": figures, "regions": {"blob": figures}}))
    assert "No: in none of the 2 ways" in page_of(folder).text


def test_every_number_of_the_summary_is_there(folder, page):
    summary = json.loads((folder / "summary.json").read_text())
    for subset in summary["subsets"].values():
        dice, hd95 = subset["mean"]["dice"], subset["mean"]["hd95_brats_mm"]
        assert f"{dice['mean']:.3f} ± {dice['sd']:.3f}" in page.text
        assert f"{dice['variance']:.4f}" in page.text
        assert f"{hd95['mean']:.1f} ± {hd95['sd']:.1f}" in page.text
        assert f"{subset['entropy_nats']:.4f}" in page.text
        assert all(f"{region['dice']['mean']:.3f}" in page.text for region in subset["regions"].values())
    assert "6 cases" in page.text
    assert "not in here" not in page.text
    assert "Only 6 cases." in page.text
    assert "374 mm" in page.text


def test_the_best_is_tested_against_the_others_and_means_have_intervals(folder, page):
    scores = read_scores(folder / "scores.csv")
    means = case_means(scores)
    low, high = bootstrap_interval(means.loc[means["subset"] == "T1", "dice"])
    assert f"{low:.3f} to {high:.3f}" in page.text
    found = against_best(means)
    other = found.others["T1"]
    assert f"{len(found.others) - len(found.not_told_apart)} of 14 other subsets" in page.text
    assert "on the 6 cases that have all subsets" in page.text
    assert f"({signed(other.low)} to {signed(other.high)}){other.p:.3f}" in page.text


def test_each_mark_is_explained_once(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "SMALLEST_N", 2)
    folder = write_blob_evaluation(tmp_path / "OUT")
    assert len(against_best(case_means(read_scores(folder / "scores.csv"))).not_told_apart) > 1
    text = page_of(folder).text
    legend = text[text.index("Bar: mean over cases") :].partition("0.25")[0]
    assert [legend.count(mark) for mark in "★◆≈"] == [1, 1, 1]


def test_volumes_are_compared_in_ml(folder, page):
    scores = read_scores(folder / "scores.csv")
    core = scores[(scores["subset"] == "FLAIR+T1+T1c+T2") & (scores["region"] == "tumor_core")]
    bias = (core["predicted_mm3"] - core["reference_mm3"]).mean() / 1000
    assert f"tumor_core6{bias:+.3g}".replace("-", "−") in page.text


def test_every_case_can_be_shown_over_every_modality_without_loss(folder):
    html = (folder / "report.html").read_text(encoding="utf-8")
    data = json.loads(re.search('id="viewer-data">(.+?)</script>', html, re.DOTALL)[1])
    assert [case["name"] for case in data["cases"]] == [f"BRATS_{number:03d}" for number in range(1, 7)]
    assert [region["labels"] for region in data["regions"]] == [[1, 2, 3], [2, 3], [3]]
    for case in data["cases"]:
        assert case["modalities"] == ["FLAIR", "T1", "T1c", "T2"]
        assert len(case["images"]) == 4
        maps = pixels(case["labels"]).reshape(16, case["rows"], case["columns"])
        kept = np.load(folder / "slices" / f"{case['name']}.npz")
        labels = np.concatenate([kept["reference"][None], kept["predictions"]])
        assert np.bincount(maps.ravel())[1:].tolist() == np.bincount(labels.ravel())[1:].tolist()


def test_a_page_holds_pictures_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("magms_nnunet.report.viewer.BYTES", 25_000)
    page = page_of(write_blob_evaluation(tmp_path / "OUT", subsets=["T1", "T2"]))
    assert re.search(r"The page holds the pictures of [1-5] of 6 cases\.", page.text)


def pixels(uri):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def signed(value):
    return f"{value:+.3f}".replace("-", "−")


def test_the_run_can_be_recognised(page):
    for fact in (
        "MAGMSTrainer__MAGMSPlans__3d_fullres",
        "Dataset210_BraTS",
        "0123456789abcdef" * 4,
        "nnunetv2 2.8.1",
        "masked",
        "step size: 0.5; mirroring: on",
        "1000 epochs of 93.6 s, 26.0 hours in all, on 4 modalities",
        "magms_evaluate -d 210 -c 3d_fullres -f 0 -o OUT",
        "whole_tumor (labels 1, 2, 3)",
    ):
        assert fact in page.text


def test_pictures_of_the_best_and_the_worst_case_say_what_they_show(folder, page):
    means = {}
    for line in (folder / "scores.csv").read_text().splitlines()[1:]:
        case, subset, _, dice, *_ = line.split(",")
        if subset == "FLAIR+T1+T1c+T2":
            means.setdefault(case, []).append(float(dice))
    means = {case: np.mean(values) for case, values in means.items()}
    best, worst = max(means, key=means.get), min(means, key=means.get)
    alts = [image["alt"] for image in page.all("img")]
    assert len(alts) == len(set(alts)) == 2 * (4 + 1 + 15)
    for case in (best, worst):
        assert f"{case}, FLAIR+T1+T1c+T2, Dice {means[case]:.3f}" in alts
        assert f"{case}, reference" in alts
        assert f"{case}, T1c" in alts
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))


def test_one_file_that_asks_no_network(folder, page):
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|url\(", html)
    assert page.all("a") == page.all("link") == []
    assert "default-src 'none'" in html
    assert len(html) < 3_000_000
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_who_cannot_see_the_page_can_read_it(page):
    assert page.all("html")[0]["lang"] == "en"
    pictures = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(pictures) == len(page.all("svg")) == 15 + 4 * 4 + 2 * 3 * 4 + (1 + 3) + 3
    assert all(svg["aria-label"] for svg in pictures)
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    labelled = {attributes["aria-labelledby"] for _, attributes in page.tags if "aria-labelledby" in attributes}
    assert labelled <= set(identifiers)
    sortable = [th for th in page.all("th") if "aria-sort" in th]
    assert len(sortable) == len([button for button in page.all("button") if "data-file" not in button]) > 15
    tables = {button["data-csv"] for button in page.all("button") if "data-csv" in button}
    assert tables == {"agreement", "subset-table", "score-table"} <= set(identifiers)
    assert len([button for button in page.all("button") if "data-svg" in button]) == (1 + 3) + 3


@pytest.mark.parametrize("fraction", np.linspace(-0.1, 1.1, 25))
def test_numbers_on_the_heat_map_have_contrast(fraction):
    def luminance(colour):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    dark, light = sorted(luminance(colour) for colour in heat(fraction))
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_regions_never_share_a_colour():
    colours = [region_colour(index) for index in range(20)]
    assert tuple(colours[: len(REGION_COLOURS)]) == REGION_COLOURS
    assert len(set(colours)) == 20


@pytest.mark.parametrize(("edema", "core"), [(1, 2), (256, 512), (40000, 65535)])
def test_the_smaller_region_is_on_top_and_the_reference_is_outlined(edema, core):
    from PIL import Image

    images = np.zeros((1, 8, 8), np.uint8)
    reference = np.zeros((8, 8), np.uint16)
    reference[2:6, 2:6] = edema  # with the margin of two everything is shown
    prediction = np.where(reference == edema, core, 0).astype(np.uint16)
    tiles = Tiles(images, reference, prediction[None], (2.0, 1.0), {"core": (core,), "all": (edema, core)})
    source = tiles.overlay(prediction)
    picture = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB")
    assert picture.size == (128, 256)  # rows are twice as far apart as columns
    half_blue = (43, 90, 116)  # of #56b4e9, over black
    assert {colour for _, colour in picture.getcolors()} == {(0, 0, 0), half_blue, (255, 255, 255)}
    assert [picture.getpixel((64, y)) for y in (63, 64, 65, 190, 191, 192)] == [
        (0, 0, 0),
        (255, 255, 255),
        half_blue,
        half_blue,
        (255, 255, 255),
        (0, 0, 0),
    ]


def test_names_are_text_and_never_markup(tmp_path):
    name = "<script>alert(1)</script>"
    folder = write_blob_evaluation(
        tmp_path / "OUT",
        modalities=("T1 & <b>", '"T2"'),
        regions={"<i>whole": (1, 2, 3)},
        cases=("a b", "{{ 7 * 7 }}", "&amp;"),
        command=f"magms_evaluate -o {name}",
        versions={"magms_nnunet": name},
    )
    # A slash cannot be part of a file's name, and can be of a name in a table.
    scores = folder / "scores.csv"
    scores.write_text(scores.read_text().replace("a b,", f"{name},"))
    page = page_of(folder)
    assert len(page.all("script")) == 2  # what the viewer shows, and the script
    assert page.all("b") == page.all("i") == []
    for text in (f"-o {name}", f"magms_nnunet {name}", "{{ 7 * 7 }}", "&amp;", "T1 & <b>", '"T2"', "<i>whole"):
        assert text in page.text
    assert f" {name} " in page.text[page.text.index("Per case") :]
    assert any("T1 & <b>" in image["alt"] for image in page.all("img"))


def test_some_subsets_only(tmp_path):
    folder = write_blob_evaluation(tmp_path / "OUT", subsets=["T1c", "FLAIR+T1c"])
    page = page_of(folder)
    assert "2 of 15 subsets" in page.text
    assert "Best of the subsets evaluated" in page.text
    assert "only when all 15 subsets were evaluated" in page.text
    assert "What each modality is worth can" in page.text
    assert "Shapley" not in page.text
    assert len(page.all("img")) == 2 * (2 + 1 + 2)  # no pictures of T1 and T2, which no subset has


def test_one_modality_one_case_one_label(tmp_path):
    folder = write_blob_evaluation(tmp_path / "OUT", modalities=("CT",), regions={"liver": (1, 2, 3)}, cases=("one",))
    page = page_of(folder)
    assert "One case only" in page.text
    assert "The case: one" in page.text
    assert "±" not in page.text.replace("± one standard deviation", "").replace("mean ± SD", "")
    assert "The subset evaluated" in page.text
    for needs_two in ("without each modality", "Smallest subset", "All modalities", "Shapley", "★"):
        assert needs_two not in page.text
    assert len(page.all("img")) == 3


def test_a_modality_whose_name_holds_a_plus(tmp_path):
    folder = write_blob_evaluation(tmp_path / "OUT", modalities=("T1+C", "T2"), regions={"blob": (1, 2, 3)})
    assert "●○ T1+C" in page_of(folder).text


@pytest.mark.parametrize(
    ("protocol", "fill", "sentence"),
    [
        ("absent", None, "were not read, as for a patient who does not have them (protocol absent)."),
        ("masked", None, "were dropped after preprocessing (protocol masked)."),
        ("masked", "zero", "(protocol masked), and zeros took their place (fill zero)."),
        ("absent", "mean", "(protocol absent), and the mean of those inside it took their place (fill mean)."),
    ],
)
def test_the_protocol_is_told_in_a_sentence(tmp_path, protocol, fill, sentence):
    folder = write_blob_evaluation(tmp_path / "OUT", cases=("a",), subsets=["T1"], protocol=protocol, fill=fill)
    assert sentence in page_of(folder).text


def test_cases_that_are_not_in_it_are_counted(tmp_path):
    folder = write_blob_evaluation(tmp_path / "OUT", cases=("a", "b"), subsets=["T1"], all_cases=["a", "b", "c"])
    assert "1 of 3 cases is not in here" in page_of(folder).text


def test_what_is_not_known_is_said(tmp_path):
    folder = write_blob_evaluation(tmp_path / "OUT", subsets=["T1"], training=None)
    (folder / "entropy.csv").unlink()
    for path in (folder / "slices").iterdir():
        path.unlink()
    rewrite(folder / "summary.json", lambda summary: summary["subsets"]["T1"].update(entropy_nats=None))
    page = page_of(folder)
    assert page.text.count("No picture: the slice of this case was not kept") == 2
    assert "time not known" in page.text
    assert page.all("img") == []


@pytest.mark.parametrize("name", ["run.json", "summary.json", "scores.csv"])
def test_a_missing_or_damaged_file_is_named(tmp_path, name):
    folder = write_blob_evaluation(tmp_path / "OUT", cases=("a",), subsets=["T1"])
    (folder / name).write_text("{")
    with pytest.raises(InputError, match=name):
        write_report(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"no {name} in "):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_files_of_two_runs_do_not_make_a_report(tmp_path):
    folder = write_blob_evaluation(tmp_path / "OUT", cases=("a",), subsets=["T1"])
    rewrite(folder / "run.json", lambda run: run.update(modalities=["CT"]))
    with pytest.raises(InputError, match="do not fit together"):
        write_report(folder)


@pytest.mark.parametrize("content", [b"no zip", None])
def test_damaged_slices_are_named(tmp_path, content):
    folder = write_blob_evaluation(tmp_path / "OUT", cases=("a",), subsets=["T1"])
    path = folder / "slices" / "a.npz"
    if content is None:
        slices = dict(np.load(path))
        np.savez(path, **slices | {"predictions": slices["predictions"][:0]})
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz: does not hold the slices"):
        write_report(folder)


def test_a_page_that_browsers_can_open_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("magms_nnunet.report.report.TABLE_ROWS", 100)
    page = page_of(write_blob_evaluation(tmp_path / "OUT"))  # 6 cases x 15 subsets x 3 regions = 270 rows
    assert "18 rows" in page.text
    assert "scores.csv, beside this page, has all" in page.text
