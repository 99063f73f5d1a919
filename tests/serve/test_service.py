"""What clients are promised: magms_predict's files, progress, cancelling, a bounded queue, and nothing left behind."""

import io
import json
import os
import signal
import time
import zipfile

import pytest

from magms_nnunet.serve.client import ServiceError
from tests.faults.tiny import magms_predict  # noqa: F401 (a fixture)
from tests.integration.workspace import ENDING
from tests.serve.conftest import problem

SUBSET = ("FLAIR", "T1c")


@pytest.fixture
def expected(magms_predict, images, tmp_path):  # noqa: F811
    """What magms_predict writes: segmentation and JSON."""
    code, _ = magms_predict(images["T1"].parent, tmp_path, "--modalities", *SUBSET)
    assert code == 0
    return (tmp_path / f"p1{ENDING}").read_bytes(), (tmp_path / "p1.json").read_bytes()


def test_files_are_those_of_magms_predict(server, images, expected, tmp_path):
    result = server.client.predict({"flair": images["FLAIR"], "2": images["T1c"]}, case="p1", poll_s=0.05)
    assert (result.segmentation, result.report) == expected
    path = result.save(tmp_path / "saved")
    assert (path.read_bytes(), path.with_name("p1.json").read_bytes()) == expected
    with pytest.raises(ServiceError, match="no such job"):  # the client has deleted it
        server.client.state("p1")


@pytest.mark.parametrize("names", [("p1_0000", "p1_0002"), ("FLAIR", "t1ce"), ("study/FLAIR", "study/__MACOSX/T1c")])
def test_a_zip_of_the_files_is_the_same(server, images, expected, names):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, modality in zip(names, SUBSET, strict=True):
            archive.write(images[modality], f"{name}{ENDING}")
    status, headers, content = server.post(stream.getvalue(), "application/zip", "?case=p1")
    assert status == 202
    job = json.loads(content)
    assert headers["location"] == f"/jobs/{job['id']}"
    server.wait(job["id"], "done")
    result = server.client.result(job["id"])
    if names[1].startswith("study/__MACOSX"):  # which is the system's, and no image
        assert job["modalities"] == ["FLAIR"]
    else:
        assert (result.segmentation, result.report) == expected


def test_nothing_of_a_patient_is_on_the_disk_when_the_answer_is_there(server, images):
    job = server.client.submit(images, case="SECRET NAME")
    server.wait(job, "done")
    assert server.files() == []
    assert list(server.temporary.rglob("*SECRET*")) == []
    assert server.client.result(job).name == f"SECRET NAME{ENDING}"  # it is in memory
    server.client.delete(job)
    assert problem(server.ask("GET", f"/jobs/{job}/result"))[0] == 404


def test_a_broken_image_fails_as_magms_predict_says_it(server, images, tmp_path, magms_predict):  # noqa: F811
    (tmp_path / f"p1_0000{ENDING}").write_bytes(images["FLAIR"].read_bytes()[:-200])
    _, lines = magms_predict(tmp_path, tmp_path / "output")
    with pytest.raises(ServiceError) as caught:
        server.client.predict({"FLAIR": tmp_path / f"p1_0000{ENDING}"}, case="p1", poll_s=0.05)
    assert caught.value.status == 422
    assert lines[-1] == f"magms_predict: {caught.value.detail}"


def test_the_result_of_a_failed_job_is_a_problem(server, tmp_path):
    (tmp_path / f"x{ENDING}").write_bytes(b"no image")
    job = server.client.submit({"T2": tmp_path / f"x{ENDING}"})
    server.wait(job, "failed")
    status, detail = problem(server.ask("GET", f"/jobs/{job}/result"))
    assert status == 409
    assert "image_0003.nii.gz (T2)" in detail


def test_progress_and_cancelling(server, slow_image):
    restarts = server.running.devices[0].restarts
    job = server.client.submit(slow_image)
    assert problem(server.ask("GET", f"/jobs/{job}/result"))[0] == 409
    server.wait(job, "running")
    seen = set()
    while len(seen) < 3:
        seen.add(server.client.state(job)["progress"])
    assert all(0 <= progress < 1 for progress in seen)
    server.client.delete(job)
    assert problem(server.ask("GET", f"/jobs/{job}"))[0] == 404
    end = time.monotonic() + 60
    while server.files() and time.monotonic() < end:
        time.sleep(0.02)
    assert server.files() == []
    assert server.running.devices[0].restarts == restarts  # the worker stopped by itself


def test_the_queue_is_bounded(server, slow_image, images):
    running = server.client.submit(slow_image)
    server.wait(running, "running")
    waiting = [server.client.submit(images) for _ in range(3)]
    assert [server.client.state(job)["position"] for job in waiting] == [0, 1, 2]
    with pytest.raises(ServiceError, match="3 jobs are waiting") as caught:
        server.client.submit(images)
    assert caught.value.status == 429
    server.client.delete(waiting[0])  # which frees a slot
    again = server.client.submit(images)
    server.client.delete(running)
    for job in (*waiting[1:], again):
        server.wait(job, "done")


def test_a_killed_worker_costs_the_job_that_ran_and_no_other(server, slow_image, images):
    device = server.running.devices[0]
    restarts = device.restarts
    job = server.client.submit(slow_image, case="killed")
    after = server.client.submit(images)
    server.wait(job, "running")
    time.sleep(0.3)
    os.kill(device._process._all[0]._process.pid, signal.SIGKILL)
    state = server.wait(job, "failed")
    assert state["problem"]["status"] == 500
    assert state["problem"]["detail"].startswith("killed: its process was ended by SIGKILL")
    server.wait(after, "done")
    assert device.restarts == restarts + 1


def test_old_results_are_forgotten(server, images, monkeypatch):
    job = server.client.submit(images)
    server.wait(job, "done")
    server.running.jobs._jobs[job].ended -= server.running.jobs.limits.keep_s
    end = time.monotonic() + 60
    while server.ask("GET", f"/jobs/{job}")[0] != 404 and time.monotonic() < end:
        time.sleep(0.1)
    assert problem(server.ask("GET", f"/jobs/{job}"))[0] == 404


def test_state_of_the_server(server, images):
    server.client.predict(images, poll_s=0.05)
    assert json.loads(server.ask("GET", "/health")[2]) == {"status": "ok"}
    assert json.loads(server.ask("GET", "/ready")[2]) == {"status": "ready"}
    (model,) = server.client.models()
    assert model["modalities"] == ["FLAIR", "T1", "T1c", "T2"]
    schema = json.loads(server.ask("GET", "/openapi.json")[2])
    assert set(schema["paths"]["/jobs"]["post"]["requestBody"]["content"]) == {"multipart/form-data", "application/zip"}
    text = server.ask("GET", "/metrics")[2].decode()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values['magms_jobs_total{state="done"}']) >= 1
    assert values["magms_job_seconds_count"] == values['magms_job_seconds_bucket{le="+Inf"}']
    assert values["magms_workers_ready"] == "1"
