import os
from pathlib import Path

import pytest
import soak

from magms_nnunet.serve.client import ServiceError


@pytest.fixture
def run(tmp_path) -> soak.Run:
    images = soak.make_images(tmp_path / "images")
    return soak.Run(None, images, b"", tmp_path, os.getpid())


def test_summary_of_figures_worked_out_by_hand(run):
    run._memory_mib = [50.0, 100.0, 100.5, 101.0]  # the first quarter does not count
    run._latencies_s = [1.0, 2.0, 3.0]
    run._ids.update(["a", "b", "b"])
    summary = run.summary()
    assert summary["memory_slope_mib_per_100_requests"] == 50
    assert summary["latency_p50_s"] == 2
    assert summary["jobs_answered_twice"] == 1


def test_a_request_that_should_be_refused_must_be(run):
    def refuse():
        raise ServiceError(413, "too large")

    run._refused(413, refuse)
    with pytest.raises(ServiceError):
        run._refused(404, refuse)
    with pytest.raises(RuntimeError, match="was not refused"):
        run._refused(413, lambda: None)


def test_memory_of_this_process_and_its_children():
    status = Path("/proc/self/status").read_text()
    of_this_process = int(status.split("VmRSS:")[1].split()[0]) / 1024
    assert sum(soak.resident_mib(os.getpid()).values()) == pytest.approx(of_this_process, rel=0.2)
    assert soak._ancestry(3, {3: 2, 2: 1, 1: 0}) == {3, 2, 1}


def test_the_large_file_is_larger_than_what_the_server_takes(run):
    assert run._large_image.stat().st_size > soak.LIMIT_MIB << 20
