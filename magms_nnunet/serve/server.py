"""``magms_serve``: binds, loads the models, and answers until it is stopped."""

import ipaddress
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from magms_nnunet.errors import InputError
from magms_nnunet.runtime.signals import Stopped, exit_on_signal
from magms_nnunet.serve.device import Device, say
from magms_nnunet.serve.jobs import Jobs
from magms_nnunet.serve.private_folder import private_folder
from magms_nnunet.serve.settings import Limits, Models

TOKEN = "MAGMS_SERVE_TOKEN"
_SHORTEST_TOKEN = 16
_PICK_UP_S = 5  # for clients to fetch the last result
_SPARE_S = 10  # to end processes


@dataclass(frozen=True)
class ServeRequest:
    """The flags of ``magms_serve``."""

    models: Models
    limits: Limits
    host: str
    port: int


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        url: of the page.
        jobs: of the server.
        devices: that run them.
        answering: thread that answers.
    """

    url: str
    jobs: Jobs
    devices: list[Device]
    answering: threading.Thread


def serve(request: ServeRequest) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        InputError: see :func:`started`.
        Stopped: by the signal, after the running job.
    """
    token = token_for(request.host)
    stopping, received, limits = threading.Event(), [], request.limits

    def on_signal(number: int, frame: object) -> None:
        received.append(number)
        stopping.set()
        if len(received) > 1:
            raise Stopped(number)

    with started(request, token) as running:
        asks = "clients must send the token" if token else "no token is needed, as only this machine can ask"
        with exit_on_signal(limits.stop_s + _PICK_UP_S + _SPARE_S, on_signal):
            say(f"ready on {running.url} ({asks}); Ctrl-C stops it")
            while running.answering.is_alive() and not stopping.wait(0.5):
                pass
            if received:
                _finish(running.jobs, limits)
    if received:
        raise Stopped(received[0])
    raise RuntimeError("the HTTP server has ended")


@contextmanager
def started(request: ServeRequest, token: str) -> Iterator[Running]:
    """Bind, load the models, and answer in a thread; stop at the end of the block.

    Raises:
        InputError: the address or a model cannot be used, or the extra is not installed.
    """
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise InputError(f"magms_serve needs {error.name}: pip install 'magms_nnunet[serve]'") from error
    from magms_nnunet.serve.app import Service, make_app

    with ExitStack() as stack:
        listening = stack.enter_context(_bind(request.host, request.port))
        jobs = Jobs(stack.enter_context(private_folder()), request.limits)
        devices, models = _load(request.models, jobs, stack)
        hosts = frozenset({"localhost", request.host} if is_loopback(request.host) else ())
        app = make_app(Service(models, jobs, devices, token, hosts))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False))
        answering = threading.Thread(target=server.run, args=([listening],), daemon=True)
        for device in devices:
            device.start({name: model["folder"] for name, model in models.items()})
        answering.start()
        host = f"[{request.host}]" if ":" in request.host else request.host
        try:
            yield Running(f"http://{host}:{listening.getsockname()[1]}", jobs, devices, answering)
        finally:
            server.should_exit = True
            answering.join(_SPARE_S)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def token_for(host: str) -> str:
    """Return the token that clients must send; empty: none.

    Raises:
        InputError: other machines can reach the server, and the token is missing or too short.
    """
    token = os.environ.get(TOKEN, "")
    if not token and not is_loopback(host):
        raise InputError(
            f"--host {host} can be reached from other machines: set the variable {TOKEN} to a secret that clients must "
            'send, such as "$(openssl rand -hex 24)"; put TLS in front of it'
        )
    if token and (len(token) < _SHORTEST_TOKEN or not (token.isascii() and token.isprintable())):
        raise InputError(f"the variable {TOKEN} must hold {_SHORTEST_TOKEN} printable ASCII characters or more")
    return token


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(128)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise InputError(
            f"cannot listen on {host}, port {port} ({error.strerror}): choose another --port, or stop what has it"
        ) from error
    return listening


def _load(models: Models, jobs: Jobs, stack: ExitStack) -> tuple[list[Device], dict[str, dict]]:
    """Return one device per GPU or one for the CPU, and identifier -> description of each model."""

    def device(number: int) -> tuple[Device, list[dict], int]:
        made = Device(number, jobs, models)
        stack.callback(made.stop)
        return made, *made.load()

    first, loaded, gpus = device(0)
    others = [device(number)[0] for number in range(1, gpus)]
    return [first, *others], _identified(loaded)


def _identified(loaded: list[dict]) -> dict[str, dict]:
    """Identify models by the name of the folder, after that of the dataset where two have one name."""
    count = Counter(model["name"] for model in loaded)
    names = [model["name"] if count[model["name"]] == 1 else f"{model['dataset']}/{model['name']}" for model in loaded]
    if len(set(names)) < len(names):
        raise InputError(f"two models have the same dataset and folder name, {sorted(names)[0]}: rename one's folder")
    return dict(zip(names, loaded, strict=True))


def _finish(jobs: Jobs, limits: Limits) -> None:
    """Fail the waiting jobs, let the running one finish, and let its client fetch the result."""
    jobs.stop()
    say(f"stopping: the job that runs has {limits.stop_s:g} s to finish")
    if jobs.wait_until_idle(limits.stop_s) and jobs.has_unfetched():
        end = time.monotonic() + _PICK_UP_S
        while jobs.has_unfetched() and time.monotonic() < end:
            time.sleep(0.1)


def resolved(folders: list[str]) -> tuple[Path, ...]:
    """Return the folders of models as absolute paths.

    Raises:
        InputError: a path is no folder, or is given twice.
    """
    paths = tuple(Path(folder).resolve() for folder in folders)
    for folder, path in zip(folders, paths, strict=True):
        if not path.is_dir():
            raise InputError(f"-m {folder} is no folder: give TRAINER__PLANS__CONFIGURATION of a trained model")
        if paths.count(path) > 1:
            raise InputError(f"-m {folder} is given twice")
    return paths
