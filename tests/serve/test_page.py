"""The page in a real browser: from files to slices and the download, by keyboard, with a name for everything."""

import hashlib
import shutil
import time

import numpy as np
import pytest

from tests.browser import BROWSER, Page
from tests.faults.tiny import magms_predict, voxels  # noqa: F401 (a fixture)
from tests.integration.workspace import ENDING

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here; Debian: apt-get install chromium")

CHOICES = "[...document.querySelectorAll('#chosen select')].map(select => select.value)"
ENTER, RIGHT = ("Enter", 13, "\r"), ("ArrowRight", 39)
NAMED = {"button", "combobox", "slider", "textbox", "image", "progressbar", "table"}
# The pixels of a plane, when what is shown has been drawn.
PIXELS = """(async () => {
  const image = document.getElementById(%r);
  for (let decoded = false; !decoded; ) {  // which fails where the picture changes meanwhile
    await new Promise(resolve => setTimeout(resolve, 300));
    decoded = await image.decode().then(() => true, () => false);
  }
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight), context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return [image.alt, [...context.getImageData(0, 0, canvas.width, canvas.height).data].join()];
})()"""


@pytest.fixture
def page(server, tmp_path):
    opened = Page(tmp_path, server.running.url)
    try:
        opened.wait_for("document.querySelectorAll('#model option').length")
        yield opened
        assert opened.complaints == []
    finally:
        opened.close()


def pixels(page: Page, plane: str) -> tuple[str, str]:
    """What the picture is called, and a digest of its pixels."""
    name, values = page.evaluate(PIXELS % plane)
    return name, hashlib.sha256(values.encode()).hexdigest()


def drawn_anew(page: Page, plane: str, before: tuple[str, str]) -> tuple[str, str]:
    end = time.monotonic() + 60
    while (now := pixels(page, plane)) == before:
        assert time.monotonic() < end, "the picture stays as it was"
    return now


def test_a_patient_from_files_to_download(page, server, images, magms_predict, tmp_path):  # noqa: F811
    page.give_files("#files", images["FLAIR"], images["T1c"])
    page.wait_for(f"{CHOICES}.length === 2")
    assert page.evaluate(CHOICES) == ["FLAIR", "T1c"]

    # a modality that is given twice cannot be predicted; corrected, it can
    page.evaluate("{const s = document.querySelector('#chosen select'); s.value = 'T1c'; s.onchange();}")
    assert page.evaluate("document.getElementById('predict').disabled")
    assert "same modality" in page.evaluate("document.getElementById('expected').textContent")
    page.evaluate("{const s = document.querySelector('#chosen select'); s.value = 'FLAIR'; s.onchange();}")

    page.evaluate("document.getElementById('predict').focus()")
    page.press(*ENTER)
    page.wait_for("!document.getElementById('result').hidden && document.getElementById('sagittal').src")
    assert page.evaluate("document.getElementById('summary').textContent").startswith("From FLAIR + T1c, in ")

    bounds = "boundsOf({core: {dice: 0.714, estimate: 0.8, coverage: 0.9, calibration_cases: 20}})"
    assert page.evaluate(bounds) == ["core: Dice at least 0.71, which holds for 90 % of patients"]
    assert page.evaluate("boundsOf(null)") == []
    with_overlay = pixels(page, "axial")
    page.evaluate("{const o = document.getElementById('opacity'); o.value = 0; o.dispatchEvent(new Event('input'));}")
    plain = drawn_anew(page, "axial", with_overlay)
    page.evaluate("document.querySelector('figure input').focus()")
    page.press(*RIGHT)
    other_slice = drawn_anew(page, "axial", plain)
    assert other_slice[0] != plain[0]
    page.evaluate(
        "{const s = document.getElementById('shown'); s.value = 'T1c'; s.dispatchEvent(new Event('change'));}"
    )
    assert "T1c" in drawn_anew(page, "axial", other_slice)[0]

    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    shown = [node for node in nodes if not node["ignored"] and node["role"]["value"] in NAMED]
    assert len(shown) > 10
    assert [node for node in shown if not node["name"]["value"]] == []
    for width in (375, 1280):
        page.screenshot(tmp_path / f"{width}.png", width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    page.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "downloads"))
    page.evaluate("document.getElementById('save').click()")
    saved = tmp_path / "downloads" / f"image{ENDING}"
    end = time.monotonic() + 60
    while not saved.is_file() and time.monotonic() < end:
        time.sleep(0.1)
    code, _ = magms_predict(images["FLAIR"].parent, tmp_path / "expected", "--modalities", "FLAIR", "T1c")
    assert code == 0
    assert saved.read_bytes() == (tmp_path / "expected" / f"p1{ENDING}").read_bytes()

    assert page.evaluate("document.getElementById('axial').parentNode.textContent") == "RLAP"
    page.give_files("#files", images["T2"])  # whose result this is not
    page.wait_for(
        "document.getElementById('result').hidden && document.querySelectorAll('#chosen select').length === 3"
    )
    server.wait_until_empty()


def test_a_file_that_is_no_image_is_said_and_the_next_one_is_predicted(page, images, tmp_path):
    broken = tmp_path / f"p1-t2{ENDING}"
    broken.write_bytes(b"no image")
    page.give_files("#files", broken)
    page.wait_for(f"{CHOICES}.length === 1")
    assert page.evaluate(CHOICES) == ["T2"]
    page.evaluate("document.getElementById('predict').click()")
    assert "image_0003.nii.gz (T2)" in page.wait_for("document.getElementById('error').textContent")
    page.evaluate("document.querySelector('#chosen button').click()")
    page.give_files("#files", images["T2"])
    page.wait_for(f"{CHOICES}.length === 1")
    page.evaluate("document.getElementById('predict').click()")
    page.wait_for("!document.getElementById('result').hidden")
    assert page.evaluate("document.getElementById('error').textContent") == ""


def test_a_zipped_study_from_its_series_to_a_dicom_seg(page, server, tmp_path):
    written_study = pytest.importorskip("tests.dicom.written_study")
    pytest.importorskip("highdicom")
    scans = {name: np.clip(voxels(seed) * 10, 0, 4000).astype(int) for seed, name in enumerate(("FLAIR", "T1c"))}
    study = written_study.write_study(tmp_path / "study", scans)
    options = written_study.PHYSICS["T1c"] | {"SeriesDescription": "ax T1 post, again"}
    written_study.write_series(study, scans["T1c"], 3, **options)
    page.give_files("#files", shutil.make_archive(str(tmp_path / "study"), "zip", study))
    choices = CHOICES.replace("#chosen", "#series")
    page.wait_for(f"{choices}.length === 3")
    assert page.evaluate(choices) == ["FLAIR", "", ""]
    said = "document.getElementById('expected').textContent"
    assert page.evaluate(said).startswith("T1c could be series 2 or 3: choose. FLAIR: ")
    page.evaluate("{const s = document.querySelectorAll('#series select')[2]; s.value = 'T1c'; s.onchange();}")
    assert "choose" not in page.evaluate(said)
    page.evaluate("document.getElementById('output-type').value = 'dicom-seg'")
    page.evaluate("document.getElementById('predict').click()")
    page.wait_for("!document.getElementById('result').hidden")
    assert page.evaluate("document.getElementById('summary').textContent").startswith("From FLAIR + T1c, in ")
    page.wait_for("document.getElementById('axial').src")
    assert "FLAIR" in pixels(page, "axial")[0]
    page.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "downloads"))
    page.evaluate("document.getElementById('save').click()")
    saved = tmp_path / "downloads" / "image.dcm"
    end = time.monotonic() + 30
    while not saved.is_file() and time.monotonic() < end:
        time.sleep(0.1)
    assert saved.read_bytes()[128:132] == b"DICM"
    page.evaluate("document.getElementById('forget').click()")
    page.wait_for("document.getElementById('status').textContent === 'Removed'")
    assert page.evaluate("document.getElementById('result').hidden")
    server.wait_until_empty()
