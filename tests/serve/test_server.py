"""The server as a process: its address, its token, its end."""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from magms_nnunet.cli.serve import main
from magms_nnunet.errors import InputError
from magms_nnunet.serve.client import Client, ServiceError
from magms_nnunet.serve.private_folder import private_folder
from magms_nnunet.serve.server import TOKEN, is_loopback, token_for
from tests.serve.conftest import Server, problem, serving

pytest.importorskip("fastapi")  # of the extra

SECRET = "0123456789abcdef"


@pytest.fixture
def process(model, tmp_path):
    """The command, its server and its log; ended at the end."""
    log = tmp_path / "log"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "magms_nnunet.cli.serve", "-m", model, "--port", "0", "-device", "cpu"]
    with open(log, "w") as file:
        started = subprocess.Popen(
            [*map(str, command), "--disable_tta", "--stop-seconds", "200"],
            stderr=file,
            env=os.environ | {"TMPDIR": str(temporary), TOKEN: SECRET, "OMP_NUM_THREADS": "1"},
        )
    end, found = time.monotonic() + 120, None
    while not found and time.monotonic() < end and started.poll() is None:
        time.sleep(0.1)
        found = re.search(r"ready on (http://\S+)", log.read_text())
    assert found, log.read_text()
    yield started, Client(found[1], SECRET), log, temporary
    started.kill()
    started.wait()


def test_sigterm_lets_the_job_that_runs_finish_and_gives_the_others_back(process, slow_image, images):
    started, client, log, temporary = process
    running, waiting = client.submit(slow_image, case="patient"), client.submit(images)
    while client.state(running)["state"] == "waiting":
        time.sleep(0.02)
    started.send_signal(signal.SIGTERM)
    while client.state(waiting)["state"] == "waiting":
        time.sleep(0.02)
    assert client.state(waiting)["problem"]["status"] == 503
    with pytest.raises(ServiceError, match="stopping") as caught:
        client.submit(images)
    assert caught.value.status == 503
    while client.state(running)["state"] == "running":
        time.sleep(0.02)
    assert client.result(running).name == "patient.nii.gz"
    assert started.wait(120) == 143
    assert list(temporary.iterdir()) == []
    text = log.read_text()
    assert "Traceback" not in text
    assert "leaked" not in text
    assert "patient" not in text  # names of patients are not logged


def test_the_token(model, tmp_path, images):
    with serving(model, tmp_path / "temporary", token=SECRET) as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {SECRET}é"}):
            status, answered, _ = answer = server.ask("GET", "/models", **headers)
            assert (status, answered["www-authenticate"]) == (401, "Bearer")
            problem(answer)
        assert server.ask("POST", "/jobs")[0] == 401
        for path in ("/", "/health", "/ready"):
            assert server.ask("GET", path)[0] == 200, path
        client = Client(server.running.url, SECRET)
        assert client.predict(images, poll_s=0.05).name == "image.nii.gz"
        with pytest.raises(InputError, match=r"cannot listen on 127.0.0.1, port \d+ \(Address already in use\)"):
            second_server(server)


def second_server(server: Server) -> None:
    from magms_nnunet.serve.server import _bind

    _bind("127.0.0.1", int(server.running.url.rpartition(":")[2]))


@pytest.mark.parametrize(("host", "loopback"), [("127.0.0.1", True), ("::1", True), ("localhost", True)])
def test_hosts_of_this_machine(host, loopback, monkeypatch):
    monkeypatch.delenv(TOKEN, raising=False)
    assert is_loopback(host) is loopback
    assert token_for(host) == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_others_need_a_token(host, monkeypatch):
    monkeypatch.delenv(TOKEN, raising=False)
    with pytest.raises(InputError, match=f"set the variable {TOKEN}"):
        token_for(host)
    for short in ("secret", "é" * 20):
        monkeypatch.setenv(TOKEN, short)
        with pytest.raises(InputError, match="16 printable ASCII"):
            token_for(host)
    monkeypatch.setenv(TOKEN, SECRET)
    assert token_for(host) == SECRET


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-m", "nowhere"], "-m nowhere is no folder"),
        (["-m", ".", "-m", "."], "-m . is given twice"),
        (["-m", ".", "--port", "65536"], "--port must be from 0 to 65535"),
        (["-m", ".", "--queue", "0"], "--queue must be above 0"),
        (["-m", ".", "-f", "x"], "-f takes numbers"),
        (["-m", ".", "--host", "0.0.0.0"], TOKEN),
        (["-m", ".", "--host", "no such host"], "cannot listen on no such host"),
        ([], "required: -m"),
    ],
)
def test_bad_flags(flags, message, capfd, monkeypatch):
    monkeypatch.delenv(TOKEN, raising=False)
    if "no such host" in flags:
        monkeypatch.setenv(TOKEN, SECRET)
    try:
        code = main(flags)
    except SystemExit as exit:
        code = exit.code
    assert code == 2
    assert message in capfd.readouterr().err.splitlines()[-1]


def test_a_folder_that_is_no_model_is_said_so(tmp_path, capfd):
    assert main(["-m", str(tmp_path), "--port", "0", "-device", "cpu"]) == 2
    assert str(tmp_path) in capfd.readouterr().err.splitlines()[-1]


def test_what_a_killed_server_left_is_removed_and_what_a_living_one_has_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / "magms_serve_left"
    left.mkdir()
    (left / "p1.nii.gz").touch()
    (tmp_path / "magms_serve_link").symlink_to(tmp_path)
    with private_folder() as first:
        assert not left.exists()
        assert first.stat().st_mode & 0o777 == 0o700
        with private_folder() as second:
            assert first.is_dir()
            assert second != first
    assert [path.name for path in tmp_path.iterdir()] == ["magms_serve_link"]


def test_the_port_is_free_again_after_the_end(model, tmp_path):
    from magms_nnunet.serve.server import _bind

    with _bind("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            pass
    _bind("127.0.0.1", port).close()
