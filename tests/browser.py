"""Chromium, driven over the pipe of its DevTools protocol: no package is needed for it."""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """One page of a headless browser.

    Attributes:
        complaints: what the page has written to the console, and its exceptions.
    """

    def __init__(self, folder: Path, url: str):
        to_browser, self._commands = os.pipe()
        self._events, from_browser = os.pipe()
        inherited = [os.dup(descriptor) for descriptor in (to_browser, from_browser)]
        shell = f'exec 3<&{inherited[0]} 4>&{inherited[1]}; exec "$@"'
        flags = ["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe"]
        flags += ["--no-sandbox"] if os.geteuid() == 0 else []
        self._temporary = TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True)  # paths of sockets must be short
        self._log = open(folder / "browser.log", "wb")  # noqa: SIM115 closed with the page
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", BROWSER, *flags, f"--user-data-dir={folder / 'profile'}"],
            pass_fds=inherited,
            env=os.environ | {"TMPDIR": self._temporary.name},
            stdout=self._log,
            stderr=self._log,
        )
        for descriptor in (to_browser, from_browser, *inherited):
            os.close(descriptor)
        self._number, self._received, self._session = 0, b"", None
        self.complaints: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Page", "Log", "DOM"):
            self.send(f"{domain}.enable")
        self.visit(url)

    def visit(self, url: str) -> None:
        """Load an address in place of the present one."""
        self.send("Page.navigate", url=url)
        self.wait_for(f"location.href.startsWith({url!r}) && document.readyState === 'complete'")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._temporary.cleanup()
        self._log.close()
        os.close(self._commands)
        os.close(self._events)

    def send(self, method: str, **params) -> dict:
        """Give a command and wait for its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._note(answer)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def evaluate(self, expression: str):
        """The value of an expression, or what its promise comes to."""
        result = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, expression: str):
        """Its value, once it is true."""
        end = time.monotonic() + 120
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, (expression, self.evaluate("document.body.innerText"))
            time.sleep(0.1)
        return value

    def give_files(self, selector: str, *paths: Path) -> None:
        """Choose files, as a person does in the dialog."""
        found = self.send("Runtime.evaluate", expression=f"document.querySelector({selector!r})")["result"]["objectId"]
        self.send("DOM.setFileInputFiles", objectId=found, files=[*map(str, paths)])

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key where the focus is."""
        event = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", **event, **({"text": text} if text else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **event)

    def resize(self, width: int) -> None:
        """Give the page a width in pixels."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)

    def screenshot(self, path: Path, width: int) -> None:
        self.resize(width)
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _next(self) -> dict:
        while b"\0" not in self._received:
            received = os.read(self._events, 1 << 16)
            assert received, "the browser has ended"
            self._received += received
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] != "verbose":
            self.complaints.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(params["args"]))
