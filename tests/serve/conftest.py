"""A server in this process, with its worker beside it, on the tiny model."""

import json
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from magms_nnunet.serve.client import Client
from magms_nnunet.serve.server import Running, ServeRequest, started
from magms_nnunet.serve.settings import Limits, Models
from tests.faults.tiny import give, model  # noqa: F401 (a fixture)
from tests.integration.workspace import ENDING, write_image

LIMITS = Limits(upload_bytes=4 << 20, waiting=3, cancel_s=10, job_s=120)
BOUNDARY = "limit"


@dataclass(frozen=True)
class Server:
    """A running server and the folder in which it must leave nothing."""

    running: Running
    temporary: Path

    @property
    def client(self) -> Client:
        return Client(self.running.url)

    def ask(self, method: str, path: str, body=None, **headers: str) -> tuple[int, dict, bytes]:
        """Status, headers in lower case, content."""
        connection = HTTPConnection(urlsplit(self.running.url).netloc, timeout=30)
        connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, content

    def post(self, body: bytes, kind: str = f"multipart/form-data; boundary={BOUNDARY}", query: str = ""):
        return self.ask("POST", f"/jobs{query}", body, Content_Type=kind)

    def files(self) -> list[Path]:
        """Of patients: whatever lies in the folder for temporary files and is no folder."""
        return [path for path in self.temporary.rglob("*") if not path.is_dir()]

    def wait_until_empty(self) -> None:
        """It knows no job: what a page asks for comes a moment after a click."""
        end = time.monotonic() + 60
        while self.running.jobs._jobs:
            assert time.monotonic() < end, self.running.jobs._jobs
            time.sleep(0.02)

    def state(self, job: str) -> str:
        return self.client.state(job)["state"]

    def wait(self, job: str, *states: str) -> dict:
        """The job's state, once it is one of these."""
        end = time.monotonic() + 60
        while (state := self.client.state(job))["state"] not in states:
            assert time.monotonic() < end, state
            time.sleep(0.02)
        return state


def part(name: str, filename: str | None, content: bytes) -> bytes:
    """Of a multipart body."""
    file = "" if filename is None else f'; filename="{filename}"'
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n"


def multipart(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def problem(answer: tuple[int, dict, bytes]) -> tuple[int, str]:
    """Status and detail of an answer, which must be a problem as of RFC 9457."""
    status, headers, content = answer
    assert headers["content-type"] == "application/problem+json"
    told = json.loads(content)
    assert told["status"] == status
    assert set(told) == {"type", "title", "status", "detail"}
    return status, told["detail"]


@contextmanager
def serving(folder: Path, temporary: Path, *others: Path, limits: Limits = LIMITS, token: str = ""):
    pytest.importorskip("fastapi")  # of the extra
    with pytest.MonkeyPatch.context() as patch:
        temporary.mkdir(exist_ok=True)
        patch.setenv("TMPDIR", str(temporary))
        patch.setattr("tempfile.tempdir", None)
        models = Models((folder, *others), device="cpu", mirroring=False, threads="1")
        with started(ServeRequest(models, limits, "127.0.0.1", 0), token) as running:
            yield Server(running, temporary)
    assert list(temporary.iterdir()) == []
    shutil.rmtree(temporary)


@pytest.fixture(scope="package")
def the_server(model, tmp_path_factory):  # noqa: F811
    with serving(model, tmp_path_factory.mktemp("temporary")) as server:
        yield server


@pytest.fixture
def server(the_server) -> Server:
    """It holds no job before and no file after each test."""
    the_server.running.jobs._jobs.clear()
    yield the_server
    end = time.monotonic() + 60
    while the_server.files() and time.monotonic() < end:
        time.sleep(0.02)
    assert the_server.files() == []


@pytest.fixture(scope="package")
def images(tmp_path_factory) -> dict[str, Path]:
    """Modality -> file of a patient."""
    folder = give(tmp_path_factory.mktemp("images"), {"p1": range(4)})
    return {name: folder / f"p1_{channel:04d}{ENDING}" for channel, name in enumerate(("FLAIR", "T1", "T1c", "T2"))}


@pytest.fixture(scope="package")
def slow_image(tmp_path_factory) -> dict[str, Path]:
    """A patient that takes seconds: 343 tiles."""
    voxels = np.random.default_rng(0).integers(1, 4, (64, 64, 64)).astype(np.int16)
    path = tmp_path_factory.mktemp("slow") / f"slow_0000{ENDING}"
    write_image(path, voxels)
    return {"FLAIR": path}
