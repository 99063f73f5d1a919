"""The queue and what is held, without a server."""

import threading
from contextlib import suppress

import pytest

from magms_nnunet.serve.job import DONE, FAILED, Answer
from magms_nnunet.serve.jobs import Jobs
from magms_nnunet.serve.problems import Problem
from magms_nnunet.serve.settings import Limits


def finished(jobs: Jobs):
    job = jobs.begin()
    jobs.submit(job)
    jobs.end(jobs.next(0), DONE, answer=Answer("x.nii.gz", b"1", b"{}"))
    return job


def test_the_oldest_results_are_forgotten_first(tmp_path):
    jobs = Jobs(tmp_path, Limits(kept=2))
    made = [finished(jobs) for _ in range(3)]
    with pytest.raises(Problem):
        jobs.get(made[0].id)
    assert [jobs.get(job.id).state for job in made[1:]] == [DONE, DONE]
    assert list(tmp_path.iterdir()) == []


def test_first_come_first_served(tmp_path):
    jobs = Jobs(tmp_path, Limits())
    made = [jobs.begin() for _ in range(3)]
    for job in made:
        jobs.submit(job)
    assert [jobs.next(0) for _ in range(4)] == [*made, None]


def test_a_job_that_is_cancelled_while_it_ends_leaves_nothing(tmp_path, monkeypatch):
    jobs = Jobs(tmp_path, Limits())
    job = jobs.begin()
    jobs.submit(job)
    jobs.next(0)
    cancelling = threading.Thread(target=lambda: jobs.remove(job.id))

    def removed_while_it_is_cancelled(folder, ignore_errors):
        cancelling.start()
        cancelling.join(0.2)  # it waits for the folder to be gone
        with suppress(OSError):
            folder.rmdir()

    monkeypatch.setattr("magms_nnunet.serve.job.shutil.rmtree", removed_while_it_is_cancelled)
    jobs.end(job, DONE, answer=Answer("x.nii.gz", b"1", b"{}"))
    cancelling.join()
    assert list(tmp_path.iterdir()) == []


def test_a_stop_gives_back_what_waits_and_takes_nothing(tmp_path):
    jobs = Jobs(tmp_path, Limits())
    running, waiting, uploading = (jobs.begin() for _ in range(3))
    for job in (running, waiting):
        jobs.submit(job)
    jobs.next(0)
    jobs.stop()
    assert (jobs.get(waiting.id).state, jobs.get(waiting.id).status) == (FAILED, 503)
    for refused in (jobs.begin, lambda: jobs.submit(uploading)):
        with pytest.raises(Problem, match="stopping"):
            refused()
    assert not jobs.wait_until_idle(0)
    jobs.end(running, DONE, answer=Answer("x.nii.gz", b"1", b"{}"))
    assert jobs.wait_until_idle(0)
    assert jobs.has_unfetched()
    running.fetched = True
    assert not jobs.has_unfetched()
    assert list(tmp_path.iterdir()) == []


def test_seconds_are_counted_into_buckets(tmp_path):
    jobs = Jobs(tmp_path, Limits())
    job = jobs.begin()
    jobs.submit(job)
    job.made -= 3
    jobs.end(jobs.next(0), DONE)
    assert [limit for limit, count in jobs.buckets.items() if count] == [5, 10, 30, 60, 120, 300, 600, 1800]
    assert jobs.seconds == pytest.approx(3, abs=1)
