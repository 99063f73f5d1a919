"""A zipped DICOM study: magms_predict --dicom's files and refusals, and nothing of the patient left."""

import io
import json
import os
import signal
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from tests.dicom.written_study import PHYSICS, SECRETS, T1, write_series, write_study

hd = pytest.importorskip("highdicom")
import pydicom  # noqa: E402

from magms_nnunet.serve.client import ServiceError  # noqa: E402
from tests.faults.tiny import voxels  # noqa: E402
from tests.inference.test_patient import predict  # noqa: E402, F401
from tests.integration.workspace import ENDING  # noqa: E402
from tests.serve.conftest import LIMITS, multipart, part, problem  # noqa: E402
from tests.serve.test_uploads import zipped  # noqa: E402


def scan(seed: int) -> np.ndarray:
    return np.clip(voxels(seed) * 10, 0, 4000).astype(int)


def contents(folder) -> bytes:
    """A zip of a folder."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder))
        archive.writestr("viewer/README.txt", "what a hospital's disc holds besides")
        archive.writestr("DICOMDIR", bytes(128) + b"DICM")
    return stream.getvalue()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """FLAIR and T1c on one grid."""
    return write_study(tmp_path_factory.mktemp("clear") / "study", {"FLAIR": scan(0), "T1c": scan(1)})


@pytest.fixture(scope="module")
def unclear(tmp_path_factory):
    """FLAIR, two series T1c, and a localizer."""
    folder = write_study(tmp_path_factory.mktemp("unclear") / "study", {"FLAIR": scan(0), "T1c": scan(1)})
    write_series(folder, scan(2), 3, **PHYSICS["T1c"], SeriesDescription="second of the two, T1 post")
    write_series(folder, scan(3), 4, **T1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    return folder


def refused(server, body: bytes, query: str = "", path: str = "/jobs") -> tuple[int, str]:
    found = problem(server.ask("POST", f"{path}{query}", body, Content_Type="application/zip"))
    assert server.files() == []
    assert str(server.temporary) not in found[1]
    assert not any(secret in found[1] for secret in SECRETS)
    return found


def test_the_result_is_that_of_magms_predict(server, study, predict, tmp_path):  # noqa: F811
    assert predict(tmp_path / f"p1{ENDING}", "--dicom", study)[0] == 0
    status, _, content = server.post(contents(study), "application/zip", "?case=p1&slices=true")
    assert status == 202
    job = json.loads(content)
    assert job["modalities"] == ["FLAIR", "T1c"]
    state = server.wait(job["id"], "done")
    assert server.files() == []  # of the patient
    result = server.client.result(job["id"])
    assert result.segmentation == (tmp_path / f"p1{ENDING}").read_bytes()
    assert result.report == (tmp_path / "p1.json").read_bytes()
    assert not any(secret.encode() in result.report for secret in SECRETS)
    assert state["slices"]["axial"] == 18
    for modality, status in (("T1c", 200), ("T2", 404)):
        assert server.ask("GET", f"/jobs/{job['id']}/slices/axial/9?modality={modality}")[0] == status


def test_dicom_seg(server, study, predict, tmp_path):  # noqa: F811
    assert predict(tmp_path / f"p1{ENDING}", "--dicom", study)[0] == 0
    labels = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / f"p1{ENDING}"))
    job = server.client.submit_study(study, case="p1", output_type="dicom-seg")
    server.wait(job, "done")
    assert server.ask("GET", f"/jobs/{job}/result")[1]["content-type"] == "application/dicom"
    result = server.client.result(job)
    assert result.name == "p1.dcm"
    found = hd.seg.segread(io.BytesIO(result.segmentation))
    assert found.PatientID == "ID-4711"
    for label in (1, 2):
        mask = found.get_volume(segment_numbers=[label], combine_segments=False).array[..., 0]
        assert mask.sum() == (labels == label).sum()
    assert result.report == (tmp_path / "p1.json").read_bytes()


def test_a_series_that_is_not_clear_is_chosen_by_the_client(server, unclear):
    with pytest.raises(ServiceError, match=r"T1c could be series 2 or series 3: say which with series=T1c=") as caught:
        server.client.submit_study(unclear)
    assert caught.value.status == 422
    assert "leave it out with modalities" in str(caught.value)
    assert server.files() == []
    listed = caught.value.problem["series"]
    assert [series["modalities"] for series in listed] == [["FLAIR"], ["T1c"], ["T1c"], []]
    assert [series["problem"] for series in listed] == [None, None, None, "is a localizer"]
    assert listed[2]["description"] == "second of the two, T1 post"
    _, _, content = server.ask("POST", "/series", contents(unclear), Content_Type="application/zip")
    assert json.loads(content) == listed
    options = {"series": [f"T1c={listed[2]['uid']}"], "modalities": ["T1c"]}
    report = json.loads(server.client.predict_study(unclear, case="p1", poll_s=0.05, **options).report)
    assert report["files"] == {"T1c": "series 3 (T1c)"}


def test_grids_that_differ(server, tmp_path):
    write_study(tmp_path / "study", {"FLAIR": scan(0)})
    write_series(tmp_path / "study", scan(1)[::2], 5, spacing_mm=(4, 1, 0.8), **PHYSICS["T1c"])
    with pytest.raises(ServiceError, match="resample them to one grid with grid"):
        server.client.predict_study(tmp_path / "study", poll_s=0.05)
    job = server.client.submit_study(tmp_path / "study", grid="T1c")
    server.wait(job, "done")
    assert json.loads(server.client.result(job).report)["grid"]["resampled"] == ["FLAIR"]


def test_a_killed_worker_leaves_nothing_of_the_patient(server, tmp_path):
    """Between the conversion of the study and its end."""
    write_study(tmp_path / "study", {"FLAIR": np.random.default_rng(0).integers(1, 500, (64, 64, 64))})
    job = server.client.submit_study(tmp_path / "study")
    while not any(path.name.startswith("image_0000") for path in server.files()):
        assert server.state(job) in ("waiting", "running")
    os.kill(server.running.devices[0]._process._all[0]._process.pid, signal.SIGKILL)
    server.wait(job, "failed")
    assert server.files() == []


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("?series=T1c=7", "series=T1c=7: there is no such series (POST /series shows the table)"),
        ("?series=T1c", "series=T1c: give NAME=UID"),
        ("?modalities=T2", "no series is T2"),
        ("?modalities=T9", "unknown modality 'T9'"),
        ("?register=rigid", "register needs grid"),
        ("?output-type=png", "output-type"),
    ],
)
def test_parameters(server, study, query, detail):
    answer = server.post(contents(study), "application/zip", query)
    assert answer[0] == 422
    assert detail in json.loads(answer[2])["detail"]
    assert server.files() == []


def test_parameters_of_studies_are_none_of_images(server):
    body = multipart(part("T1", f"x{ENDING}", b"1"))
    for query in ("?output-type=dicom-seg", "?grid=T1", "?series=T1=1"):
        status, detail = problem(server.post(body, query=query))
        assert (status, "are for DICOM" in detail) == (422, True)
    assert refused(server, zipped(**{f"T1{ENDING}": b"1"}), path="/series") == (
        422,
        "no DICOM in the zip: zip the folder that holds the study",
    )


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-100])


def another_patient(path):
    image = pydicom.dcmread(path)
    image.PatientID = "another"
    image.save_as(path)


def bomb(path):
    """Deflated: a thousandth of what it becomes."""
    image = pydicom.dcmread(path, stop_before_pixels=True)
    image.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    image.save_as(path, enforce_file_format=True)
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    meta = path.read_bytes()[: 132 + 12 + image.file_meta.FileMetaInformationGroupLength]
    path.write_bytes(meta + packing.compress(bytes(1 << 26)) + packing.flush())


def rubbish(path):
    path.write_bytes(path.read_bytes()[:140] + b"\xff" * 500)


@pytest.mark.parametrize(
    ("spoil", "detail"),
    [
        (cut_off, "'S1/IM010000' is truncated or damaged"),
        (another_patient, "the zip holds images of 2 patients"),
        (bomb, "'S1/IM010000' is deflated"),
        (rubbish, "'S1/IM010000' is truncated or damaged"),
    ],
)
def test_a_study_that_cannot_be_used(spoil, detail, server, tmp_path):
    folder = write_study(tmp_path / "study", {"FLAIR": scan(0)})
    spoil(folder / "S1/IM010000")
    status, told = refused(server, contents(folder))
    assert (status, detail in told) == (422, True), told


def test_headers_that_declare_a_huge_volume(server, study, monkeypatch):
    monkeypatch.setattr(server.running.jobs, "limits", replace(LIMITS, voxels=18 * 17 * 16 - 1))
    status, detail = refused(server, contents(study))
    assert (status, detail) == (422, "series 1 (FLAIR) has 4896 voxels, and this server takes 4895: crop it")


def test_a_list_of_entries_that_would_fill_the_memory(server, monkeypatch):
    monkeypatch.setattr("magms_nnunet.serve.archive._DIRECTORY_BYTES", 1000)
    body = zipped(**{f"{n}": b"" for n in range(30)})
    assert refused(server, body) == (413, "the zip holds too many files: send the images of one patient")


def test_without_pydicom_the_server_says_so(server, study, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    status, detail = refused(server, contents(study))
    assert status == 501
    assert 'pip install "magms_nnunet[dicom]"' in detail
