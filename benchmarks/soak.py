"""``magms_serve`` under two clients: latency, memory, and whether any job is lost or answered twice.

    python benchmarks/soak.py [--minutes 30] [--json FILE]

The model is the tiny one of ``magms_doctor``, so that the service is measured and not a network. Some requests are
cancelled after a random time, some hold a broken image, some are larger than the server takes. Early on, the worker is
killed once: its job must fail by name, and the next one must run. Beside the latency is what ``magms_predict`` needs
for the same patient, start included.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk

from magms_nnunet.serve.client import Client, ServiceError

CLIENTS, SHARES = 2, {"predict": 70, "cancel": 15, "broken": 10, "oversized": 5}
NAMES, LIMIT_MIB, WARM_UP = ("FLAIR", "T1", "T1c", "T2"), 1, 0.25
KILL_AT = 0.1  # of the time, so that the new worker has warmed up when memory begins to count
_QUIET = ("-device", "cpu", "--disable_tta")


def main(argv: list[str] | None = None) -> dict:
    """Run, print what came of it, and return it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    with TemporaryDirectory() as name:
        folder = Path(name)
        result = soak(folder, make_model(folder), args.minutes)
    print(json.dumps(result, indent=2))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2))
    return result


def make_model(folder: Path) -> Path:
    """The tiny model."""
    for kind in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{kind}"] = str(folder / "home")
    (folder / "home").mkdir()
    from magms_nnunet.environment.tiny_model import make_tiny_model

    return make_tiny_model(folder / "home", NAMES, classes=3)[0]


def make_images(folder: Path) -> dict[str, Path]:
    """A patient, under nnU-Net's names."""
    folder.mkdir()
    rng, images = np.random.default_rng(0), {}
    for channel, name in enumerate(NAMES):
        images[name] = folder / f"p1_{channel:04d}.nii.gz"
        sitk.WriteImage(sitk.GetImageFromArray(rng.normal(100, 20, (24, 24, 24)).astype(np.float32)), images[name])
    return images


def soak(folder: Path, model: Path, minutes: float) -> dict:
    """What the server does in that time."""
    images, temporary = make_images(folder / "images"), folder / "temporary"
    temporary.mkdir()
    alone_s, expected = predict_alone(folder, model)
    log = folder / "log"
    command = [sys.executable, "-m", "magms_nnunet.cli.serve", "-m", str(model), "--port", "0", *_QUIET]
    with open(log, "w") as file:
        server = subprocess.Popen(
            [*command, "--max-upload-mib", str(LIMIT_MIB)],
            stderr=file,
            env=os.environ | {"TMPDIR": str(temporary)},
        )
    try:
        while not (found := re.search(r"ready on (http://\S+)", log.read_text())):
            if server.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.1)
        run = Run(Client(found[1]), images, expected, folder, server.pid)
        run.during(60 * minutes)
        end = time.monotonic() + 60  # the last job that was cancelled may run to its next tile
        while (left := [str(path) for path in temporary.rglob("*") if path.is_file()]) and time.monotonic() < end:
            time.sleep(0.1)
        metrics = run.client._request("GET", "/metrics").decode()
    finally:
        server.terminate()
        server.wait(60)
    restarts = re.search(r"^magms_worker_restarts_total (\S+)", metrics, re.MULTILINE)[1]
    about = {"minutes": minutes, "files_left": left, "worker_restarts": float(restarts)}
    return about | run.summary() | {"magms_predict_s": round(alone_s, 2)}


def predict_alone(folder: Path, model: Path) -> tuple[float, bytes]:
    """Seconds of ``magms_predict`` for the patient, start included, and the segmentation."""
    flags = ("-i", folder / "images", "-o", folder / "alone", "-m", model, "-f", 0, *_QUIET, "--disable_progress_bar")
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "magms_nnunet.cli.predict", *map(str, flags)], check=True)
    return time.monotonic() - begun, (folder / "alone" / "p1.nii.gz").read_bytes()


class Run:
    """Two clients and what they have seen."""

    def __init__(self, client: Client, images: dict[str, Path], expected: bytes, folder: Path, server: int):
        self.client, self._images, self._expected, self._server = client, images, expected, server
        self._broken_image, self._large_image = folder / "broken.nii.gz", folder / "large.nii.gz"
        self._broken_image.write_bytes(images["T1"].read_bytes()[:-500])
        self._large_image.write_bytes(os.urandom((LIMIT_MIB << 20) + 1))
        self._outcomes: Counter[str] = Counter()
        self._latencies_s: list[float] = []
        self._memory_mib: list[float] = []
        self._wrong: list[str] = []
        self._ids: Counter[str] = Counter()

    def during(self, seconds: float) -> None:
        """Ask until the time is over."""
        begun = time.monotonic()
        threads = [threading.Thread(target=self._ask_until, args=(begun + seconds, seed)) for seed in range(CLIENTS)]
        for thread in threads:
            thread.start()
        time.sleep(KILL_AT * seconds)
        self._ask("kill", random.Random())
        for thread in threads:
            thread.join()

    def summary(self) -> dict:
        """Figures; the slope of memory leaves out the first quarter, in which everything is used for the first time."""
        memory = self._memory_mib[int(WARM_UP * len(self._memory_mib)) :]
        slope = np.polyfit(np.arange(len(memory)), memory, 1)[0] * 100 if len(memory) > 1 else float("nan")
        p50, p95 = np.percentile(self._latencies_s, (50, 95))
        return {
            "requests": len(self._memory_mib),
            "outcomes": dict(self._outcomes),
            "jobs_answered_twice": sum(count > 1 for count in self._ids.values()),
            "wrong": self._wrong[:10],
            "latency_p50_s": round(float(p50), 3),
            "latency_p95_s": round(float(p95), 3),
            "memory_mib_first_last": [round(memory[0]), round(memory[-1])],
            "memory_slope_mib_per_100_requests": round(float(slope), 3),
        }

    def _ask_until(self, end: float, seed: int) -> None:
        chance = random.Random(seed)
        while time.monotonic() < end:
            (kind,) = chance.choices([*SHARES], [*SHARES.values()])
            self._ask(kind, chance)

    def _ask(self, kind: str, chance: random.Random) -> None:
        try:
            getattr(self, f"_{kind}")(chance)
        except Exception as error:
            self._wrong.append(f"{kind}: {type(error).__name__}: {error}")
        self._outcomes[kind] += 1
        self._memory_mib.append(sum(resident_mib(self._server).values()))

    def _predict(self, chance: random.Random) -> None:
        begun = time.monotonic()
        job = self.client.submit(self._images, case="p1")
        self._ids[job] += 1
        while (state := self.client.state(job))["state"] in ("waiting", "running"):
            time.sleep(0.02)
        result = self.client.result(job)
        self._latencies_s.append(time.monotonic() - begun)
        self.client.delete(job)
        if state["state"] != "done" or result.segmentation != self._expected:
            raise RuntimeError(f"{state} and another segmentation than magms_predict's")

    def _cancel(self, chance: random.Random) -> None:
        job = self.client.submit(self._images, case="p1")
        self._ids[job] += 1
        time.sleep(chance.uniform(0, 0.5))
        self.client.delete(job)
        self._refused(404, lambda: self.client.state(job))

    def _kill(self, chance: random.Random) -> None:
        job = self.client.submit(self._images, case="killed")
        self._ids[job] += 1
        while self.client.state(job)["state"] == "waiting":
            time.sleep(0.01)
        sizes = resident_mib(self._server)
        sizes.pop(self._server)
        os.kill(max(sizes, key=sizes.__getitem__), signal.SIGKILL)
        while (state := self.client.state(job))["state"] == "running":
            time.sleep(0.02)
        self.client.delete(job)
        if state["state"] != "failed" or not state["problem"]["detail"].startswith("killed: "):
            raise RuntimeError(f"its worker was killed, and it is {state}")

    def _broken(self, chance: random.Random) -> None:
        self._refused(422, lambda: self.client.predict({"T1": self._broken_image}, poll_s=0.02))

    def _oversized(self, chance: random.Random) -> None:
        self._refused(413, lambda: self.client.submit({"T1": self._large_image}))

    def _refused(self, status: int, call) -> None:
        try:
            call()
        except ServiceError as error:
            if error.status != status:
                raise
        else:
            raise RuntimeError(f"was not refused with {status}")


def resident_mib(server: int) -> dict[int, float]:
    """Memory of the server and of every process that it has started, by process."""
    parents, sizes = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
                sizes[int(entry.name)] = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
            except OSError:  # it has ended
                continue
    return {pid: size / (1 << 20) for pid, size in sizes.items() if server in _ancestry(pid, parents)}


def _ancestry(pid: int, parents: dict[int, int]) -> set[int]:
    found = set()
    while pid and pid not in found:
        found.add(pid)
        pid = parents.get(pid, 0)
    return found


if __name__ == "__main__":
    main()
