"""The metrics of a server for Prometheus."""

from collections import Counter
from collections.abc import Mapping, Sequence

from magms_nnunet.serve.device import Device
from magms_nnunet.serve.job import ENDED, RUNNING, WAITING
from magms_nnunet.serve.jobs import Jobs

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics(jobs: Jobs, devices: Sequence[Device], answers: Counter[int]) -> str:
    """Return the metrics of the server as Prometheus reads them.

    Args:
        jobs: of the server.
        devices: that run them.
        answers: HTTP status -> number of answers.
    """
    lines: list[str] = []

    def add(name: str, kind: str, text: str, values: Mapping[str, float]) -> None:
        lines.extend((f"# HELP magms_{name} {text}", f"# TYPE magms_{name} {kind}"))
        lines.extend(f"magms_{name}{labels} {value:g}" for labels, value in values.items())

    ended = {f'{{state="{state}"}}': jobs.ended[state] for state in ENDED}
    add("jobs_total", "counter", "Jobs that have ended.", ended)
    states = {f'{{state="{state}"}}': jobs.count(state) for state in (WAITING, RUNNING, *ENDED)}
    add("jobs", "gauge", "Jobs that wait, run, or are held for their clients.", states)
    buckets: dict[str, float] = {f'_bucket{{le="{limit}"}}': count for limit, count in sorted(jobs.buckets.items())}
    done = jobs.ended["done"]
    buckets |= {'_bucket{le="+Inf"}': done, "_sum": jobs.seconds, "_count": done}
    add("job_seconds", "histogram", "From the end of the upload to the result, of jobs that are done.", buckets)
    add("workers_ready", "gauge", "Workers whose models are loaded.", {"": sum(device.ready for device in devices)})
    restarts = sum(device.restarts for device in devices)
    add("worker_restarts_total", "counter", "Workers that were started again.", {"": restarts})
    statuses = {f'{{status="{status}"}}': count for status, count in sorted(answers.items())}
    add("http_answers_total", "counter", "Answers by status of HTTP.", statuses)
    return "\n".join(lines) + "\n"
