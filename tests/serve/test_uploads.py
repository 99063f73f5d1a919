"""Bad uploads: the right status, one problem, no job, no file."""

import gzip
import http.client
import io
import socket
import stat
import time
import zipfile
from dataclasses import replace
from urllib.parse import urlsplit

import nibabel
import numpy as np
import pytest

from magms_nnunet.serve.client import ServiceError
from tests.integration.workspace import ENDING
from tests.serve.conftest import BOUNDARY, LIMITS, multipart, part, problem

FILE = f"x{ENDING}"
BODIES = {
    "no file": (multipart(), 422, "no file"),
    "unknown modality": (multipart(part("T1x", FILE, b"1")), 422, "unknown modality 'T1x'"),
    "ambiguous by number": (multipart(part("7", FILE, b"1")), 422, "unknown modality '7'"),
    "same modality twice": (multipart(part("T1", FILE, b"1"), part("T1w", FILE, b"2")), 422, "T1 was given twice"),
    "another ending": (multipart(part("T1", "x.nrrd", b"1")), 422, "the model reads .nii.gz"),
    "a field that is no file": (multipart(part("T1", None, b"1")), 422, "must be a file"),
    "a path as its name": (multipart(part("../../etc/passwd", FILE, b"1")), 422, "unknown modality"),
    "a URL": (multipart(part("url", None, b"http://169.254.169.254/")), 422, "must be a file"),
    "cut off": (part("T1", FILE, b"1" * 1000), 400, "ends before its last boundary"),
    "a header of a part without end": (b"--limit\r\nX: " + b"1" * 100_000, 400, "header"),
    "no multipart": (b"something else", 400, "malformed"),
}


@pytest.mark.parametrize("name", BODIES)
def test_body(server, name):
    body, status, detail = BODIES[name]
    found = problem(server.post(body))
    assert found[0] == status
    assert detail in found[1]
    assert server.files() == []


def test_query(server):
    body = multipart(part("T1", FILE, b"1"))
    assert problem(server.post(body, query="?model=other"))[0] == 404
    for case in ("..", "a%2Fb", "a%00b", ".magms_x", "x" * 101, ""):
        assert problem(server.post(body, query=f"?case={case}"))[0] == 422, case
    assert problem(server.post(body, query="?slices=perhaps"))[0] == 422
    assert problem(server.post(body, "text/plain"))[0] == 415
    assert problem(server.ask("GET", "/nothing"))[0] == 404
    assert problem(server.ask("PUT", "/jobs"))[0] == 405


def zipped(**entries: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return stream.getvalue()


def link() -> bytes:
    entry = zipfile.ZipInfo(f"T1{ENDING}")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    return stream.getvalue()


ZIPS = {
    "a bomb": (zipped(**{f"T1{ENDING}": bytes(LIMITS.upload_bytes + 1)}), 413, "larger than"),
    "many files": (zipped(**{f"{n}{ENDING}": b"" for n in range(65)}), 413, "65 files"),
    "a path upwards": (zipped(**{f"../T1{ENDING}": b"1"}), 400, "leads out of its folder"),
    "a path of Windows": (zipped(**{f"..\\T1{ENDING}": b"1"}), 400, "leads out of its folder"),
    "an absolute path": (zipped(**{f"/tmp/T1{ENDING}": b"1"}), 400, "absolute path"),
    "a link": (link(), 400, "is a link"),
    "several cases": (zipped(**{f"a_0000{ENDING}": b"1", f"b_0000{ENDING}": b"1"}), 422, "several cases"),
    "a case's channel twice": (zipped(**{f"x/a_0000{ENDING}": b"1", f"y/a_0000{ENDING}": b"1"}), 422, "twice"),
    "damaged": (zipped(**{f"T1{ENDING}": b"1" * 100})[:-30], 400, "damaged"),
    "no zip": (b"PK", 400, "damaged"),
    "empty": (zipped(), 422, "no file"),
}


@pytest.mark.parametrize("name", ZIPS)
def test_zip(server, name):
    body, status, detail = ZIPS[name]
    found = problem(server.post(body, "application/zip"))
    assert found[0] == status
    assert detail in found[1]
    assert server.files() == []


def raw(server, *sent: bytes) -> bytes:
    """What is answered to bytes on a socket, which is then closed."""
    address = urlsplit(server.running.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        for content in sent:
            connection.sendall(content)
        answer = http.client.HTTPResponse(connection)
        answer.begin()  # head and body may come one after the other
        return b"%d " % answer.status + answer.read()


def head(length: int) -> bytes:
    lines = ("POST /jobs HTTP/1.1", "Host: localhost", f"Content-Type: multipart/form-data; boundary={BOUNDARY}")
    return "\r\n".join((*lines, f"Content-Length: {length}", "", "")).encode()


def test_ten_gigabytes_are_refused_before_they_are_sent(server):
    answer = raw(server, head(10_000_000_000))
    assert answer.startswith(b"413 ")
    assert b"larger than" in answer


def test_more_than_allowed_is_refused_where_no_length_is_declared(server):
    body, kind = iter([part("T1", FILE, b""), *[bytes(1 << 20)] * 5]), f"multipart/form-data; boundary={BOUNDARY}"
    with pytest.raises(ServiceError, match="larger than") as caught:
        server.client._request("POST", "/jobs", body, {"Content-Type": kind})
    assert caught.value.status == 413


def test_an_upload_that_ends_in_the_middle_frees_its_slot(server):
    address = urlsplit(server.running.url)
    for _ in range(LIMITS.waiting + 1):
        with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
            connection.sendall(head(1000) + part("T1", FILE, b"1"))
    end = time.monotonic() + 60
    while (status := problem(server.post(multipart()))[0]) == 429 and time.monotonic() < end:
        time.sleep(0.02)  # it has not seen yet that they have ended
    assert status == 422


def test_an_upload_that_sends_nothing_is_ended(server, monkeypatch):
    monkeypatch.setattr(server.running.jobs, "limits", replace(LIMITS, idle_s=0.5))
    answer = raw(server, head(1000) + part("T1", FILE, b"1"))  # waits for the answer
    assert answer.startswith(b"408 ")


def test_a_header_that_declares_a_huge_image_does_not_fill_the_memory(server, tmp_path):
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    nibabel.save(image, tmp_path / FILE)
    content = bytearray(gzip.decompress((tmp_path / FILE).read_bytes()))
    content[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    (tmp_path / FILE).write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(ServiceError, match="has 27000000000000 voxels"):
        server.client.predict({"T1": tmp_path / FILE}, poll_s=0.05)


def test_other_sites_pages_cannot_ask(server):
    assert problem(server.ask("GET", "/models", Host="attacker.example"))[0] == 421
    assert problem(server.ask("GET", "/models", Origin="http://attacker.example"))[0] == 403
    assert server.ask("GET", "/models", Origin=server.running.url)[0] == 200
