"""A client of ``magms_serve`` that needs only the standard library.

>>> client = Client("http://127.0.0.1:8000")
>>> result = client.predict({"T1c": "patient_t1c.nii.gz", "FLAIR": "patient_flair.nii.gz"})
>>> result.save("segmentations")
"""

import http.client
import json
import os
import secrets
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlencode, urlsplit

_CHUNK_BYTES = 1 << 20


class ServiceError(Exception):
    """The service refuses a request, or a job has failed.

    Args:
        status: of HTTP.
        detail: message of the service.
        problem: all members of the problem details, RFC 9457.
    """

    def __init__(self, status: int, detail: str, problem: Mapping | None = None):
        super().__init__(detail)
        self.status, self.detail, self.problem = status, detail, dict(problem or {})


@dataclass(frozen=True)
class Result:
    """A segmentation, as ``magms_predict`` writes it.

    Attributes:
        name: of the file.
        segmentation: bytes of the file.
        report: bytes of the JSON beside it.
    """

    name: str
    segmentation: bytes = field(repr=False)
    report: bytes = field(repr=False)

    def save(self, folder: str | os.PathLike) -> Path:
        """Write both files to a folder, which is made if needed; return the path of the segmentation."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / Path(self.name).name
        path.with_name(f"{json.loads(self.report)['case']}.json").write_bytes(self.report)
        path.write_bytes(self.segmentation)
        return path


class Client:
    """Talks to one server.

    Args:
        url: such as ``http://127.0.0.1:8000``.
        token: of the server, if it requires one.
        timeout_s: seconds for one answer, not for a job.
    """

    def __init__(self, url: str, token: str | None = None, timeout_s: float = 60):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url must be http://HOST:PORT or https://HOST:PORT, got {url!r}")
        self._address, self._https = parts.netloc, parts.scheme == "https"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout_s = timeout_s

    def models(self) -> list[dict]:
        """Return the models: identifier, modalities, labels and the Dice to expect."""
        return self._json("GET", "/models")

    def submit(self, images: Mapping[str, str | os.PathLike], *, model: str | None = None, case: str = "image") -> str:
        """Upload a patient's files.

        Args:
            images: modality -> file. Modalities are names of dataset.json, usual aliases, or channel numbers.
            model: identifier; None: the only model of the server.
            case: name of the result.

        Returns:
            Identifier of the job.

        Raises:
            ServiceError: the service refuses the files.
            OSError: a file or the server cannot be reached.
        """
        query = {"case": case} | ({} if model is None else {"model": model})
        boundary = secrets.token_hex(16)
        parts = [(_head(boundary, name, Path(path)), Path(path)) for name, path in images.items()]
        end = f"--{boundary}--\r\n".encode()
        length = sum(len(head) + path.stat().st_size + 2 for head, path in parts) + len(end)
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(length)}
        return self._json("POST", f"/jobs?{urlencode(query)}", _body(parts, end), headers)["id"]

    def submit_study(
        self, study: str | os.PathLike, *, model: str | None = None, case: str = "image", **flags: str | list[str]
    ) -> str:
        """Upload a patient's DICOM study.

        Args:
            study: folder of the study, or a zip of it.
            model: identifier; None: the only model of the server.
            case: name of the result.
            flags: of ``magms_predict --dicom``: ``series=["T1c=5"]``, ``modalities=["T1c", "T2"]``,
                ``output_type="dicom-seg"``, ``grid="T1c"``, ``register="rigid"``.

        Returns:
            Identifier of the job.

        Raises:
            ServiceError: the service refuses the study; ``problem["series"]`` lists the series to choose from.
            OSError: a file or the server cannot be reached.
        """
        query: dict[str, str | list[str]] = {"case": case} | ({} if model is None else {"model": model})
        query |= {name.replace("_", "-"): value for name, value in flags.items()}
        with _zipped(Path(study)) as file:
            length = str(os.fstat(file.fileno()).st_size)
            headers = {"Content-Type": "application/zip", "Content-Length": length}
            return self._json("POST", f"/jobs?{urlencode(query, doseq=True)}", file, headers)["id"]

    def state(self, job: str) -> dict:
        """Return the state of a job."""
        return self._json("GET", f"/jobs/{quote(job)}")

    def result(self, job: str) -> Result:
        """Return the result of a finished job.

        Raises:
            ServiceError: the job is not finished, or has failed.
        """
        name = self.state(job).get("file", "")
        segmentation = self._request("GET", f"/jobs/{quote(job)}/result")
        return Result(name, segmentation, self._request("GET", f"/jobs/{quote(job)}/report"))

    def delete(self, job: str) -> None:
        """Cancel a job, or delete its result on the server."""
        self._request("DELETE", f"/jobs/{quote(job)}")

    def predict(
        self,
        images: Mapping[str, str | os.PathLike],
        *,
        model: str | None = None,
        case: str = "image",
        poll_s: float = 0.5,
    ) -> Result:
        """Upload a patient, wait, fetch the result, and delete it on the server.

        Args:
            images: as for :meth:`submit`.
            model: as for :meth:`submit`.
            case: as for :meth:`submit`.
            poll_s: seconds between two questions for the state of the job.

        Raises:
            ServiceError: the service refuses the files, or the job has failed.
        """
        return self._finished(self.submit(images, model=model, case=case), poll_s)

    def predict_study(self, study: str | os.PathLike, *, poll_s: float = 0.5, **options) -> Result:
        """Upload a study, wait, fetch the result, and delete it on the server; see :meth:`submit_study`.

        Raises:
            ServiceError: the service refuses the study, or the job has failed.
        """
        return self._finished(self.submit_study(study, **options), poll_s)

    def _finished(self, job: str, poll_s: float) -> Result:
        try:
            while (state := self.state(job))["state"] in ("waiting", "running"):
                time.sleep(poll_s)
            if state["state"] != "done":
                problem = state.get("problem", {})
                detail = problem.get("detail", f"the job is {state['state']}")
                raise ServiceError(problem.get("status", 409), detail, problem)
            return self.result(job)
        finally:
            self.delete(job)

    def _json(self, method: str, path: str, body=None, headers: Mapping[str, str] | None = None):
        return json.loads(self._request(method, path, body, headers))

    def _request(self, method: str, path: str, body=None, headers: Mapping[str, str] | None = None) -> bytes:
        connect = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        connection = connect(self._address, timeout=self._timeout_s)
        try:
            with suppress(
                BrokenPipeError, ConnectionResetError
            ):  # refused during the upload: the answer has the reason
                connection.request(method, path, body, self._headers | dict(headers or {}))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise _error(content, answer)
        return content


def _head(boundary: str, name: str, path: Path) -> bytes:
    names = [text.replace('"', "%22").replace("\r", "").replace("\n", "") for text in (name, path.name)]
    disposition = 'Content-Disposition: form-data; name="{}"; filename="{}"'.format(*names)
    return f"--{boundary}\r\n{disposition}\r\nContent-Type: application/octet-stream\r\n\r\n".encode()


def _body(parts: list[tuple[bytes, Path]], end: bytes) -> Iterator[bytes]:
    for head, path in parts:
        yield head
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
        yield b"\r\n"
    yield end


@contextmanager
def _zipped(study: Path) -> Iterator[IO[bytes]]:
    """Yield the zip of a study, which is made of a folder."""
    if not study.is_dir():
        with open(study, "rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1, strict_timestamps=False) as archive:
            for path in sorted(path for path in study.rglob("*") if path.is_file()):
                archive.write(path, path.relative_to(study))
        file.seek(0)
        yield file


def _error(content: bytes, answer: http.client.HTTPResponse) -> ServiceError:
    try:
        problem = json.loads(content)
        return ServiceError(answer.status, problem["detail"], problem)
    except (ValueError, KeyError, TypeError):  # the answer of a proxy
        return ServiceError(answer.status, f"HTTP {answer.status} {answer.reason}")
