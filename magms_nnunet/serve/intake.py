"""Receives uploads: streams them to a job's private folder within limits, and trusts nothing in them.

The server chooses the names of stored files. The names by the client decide the modality and nothing else.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from magms_nnunet.errors import InputError, shorten
from magms_nnunet.modalities import Modalities
from magms_nnunet.serve.archive import MOST_FILES, unpack
from magms_nnunet.serve.problems import Problem
from magms_nnunet.serve.settings import Limits
from magms_nnunet.serve.study import Study
from magms_nnunet.serve.upload import Upload, too_large

_HEADER_BYTES, _MOST_HEADERS = 4096, 8  # of a part


async def receive(request: Request, folder: Path, limits: Limits, ending: str) -> list[Upload] | Study:
    """Store the files of a request.

    Args:
        request: multipart, each part named after a modality; or a zip, see :func:`magms_nnunet.serve.archive.unpack`.
        folder: private, empty.
        limits: of sizes.
        ending: of the model's files.

    Raises:
        Problem: the request is malformed or too large.
        ClientDisconnect: the upload ended early.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.upload_bytes:
        raise too_large(limits)
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    chunks = _bounded(request, limits)
    if kind == b"multipart/form-data" and options.get(b"boundary"):
        return await _Parts(options[b"boundary"], folder).read(chunks)
    if kind == b"application/zip":
        archive = folder / "study.zip"
        with open(archive, "xb") as file:
            async for chunk in chunks:
                await asyncio.to_thread(file.write, chunk)
        try:
            return await asyncio.to_thread(unpack, archive, folder, limits, ending)
        finally:
            archive.unlink()
    raise Problem(415, "send the files as multipart/form-data, a part per modality, or as application/zip")


def channels_of(uploads: list[Upload], modalities: Modalities, ending: str) -> dict[int, Path]:
    """Assign the uploaded files to channels.

    Args:
        uploads: the files.
        modalities: of the model.
        ending: of the files that the model reads.

    Returns:
        Channel -> file.

    Raises:
        Problem: there is no file, a modality is unknown or given twice, or a file has another ending.
    """
    found: dict[int, Path] = {}
    for upload in uploads:
        try:
            (channel,) = modalities.parse([upload.modality])
        except InputError as error:
            raise Problem(422, str(error)) from error
        name = modalities.names[channel]
        if not upload.name.lower().endswith(ending.lower()):
            raise Problem(422, f"{shorten(upload.name)} ({name}): the model reads {ending}: convert the file")
        if channel in found:
            raise Problem(422, f"{name} was given twice: give each modality once")
        found[channel] = upload.path
    if not found:
        raise Problem(422, f"there is no file: give at least one of {modalities.listing()}")
    return found


async def _bounded(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """Yield the body within its size limit, and refuse a client that sends nothing for too long."""
    stream, received = request.stream().__aiter__(), 0
    while True:
        try:
            chunk = await asyncio.wait_for(stream.__anext__(), limits.idle_s)
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError as error:
            raise Problem(408, f"nothing was sent for {limits.idle_s:g} s: send it again") from error
        received += len(chunk)
        if received > limits.upload_bytes:
            raise too_large(limits)
        yield chunk


class _Parts:
    """Writes each part of a multipart body to a file, as the parser calls."""

    def __init__(self, boundary: bytes, folder: Path):
        self._folder, self._uploads, self._complete = folder, [], False
        self._file: Any = None  # open while a part is received
        self._field, self._value, self._headers = b"", b"", {}
        self._parser = MultipartParser(
            boundary,
            {
                "on_header_field": self._on_field,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers,
                "on_part_data": lambda data, start, end: self._file.write(data[start:end]),
                "on_part_end": lambda: self._file.close(),
                "on_end": self._on_end,
            },
        )

    async def read(self, chunks: AsyncIterator[bytes]) -> list[Upload]:
        try:
            async for chunk in chunks:
                await asyncio.to_thread(self._parser.write, chunk)
        except FormParserError as error:
            raise Problem(400, f"the multipart body is malformed ({error})") from error
        finally:
            if self._file is not None:
                self._file.close()
        if not self._complete:
            raise Problem(400, "the multipart body ends before its last boundary: send it again")
        return self._uploads

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field = self._longer(self._field, data[start:end])

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value = self._longer(self._value, data[start:end])

    def _longer(self, text: bytes, more: bytes) -> bytes:
        if len(text) + len(more) > _HEADER_BYTES or len(self._headers) > _MOST_HEADERS:
            raise Problem(400, "a part of the multipart body has too long a header")
        return text + more

    def _on_header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._headers = {}
        name, filename = (options.get(key, b"").decode("utf-8", "replace") for key in (b"name", b"filename"))
        if not name or not filename:
            raise Problem(422, "each part must be a file and be named after its modality")
        if len(self._uploads) == MOST_FILES:
            raise Problem(413, f"there are more than {MOST_FILES} files: send the images of one patient")
        path = self._folder / f"part_{len(self._uploads)}"
        self._uploads.append(Upload(path, name, filename))
        self._file = open(path, "xb")  # noqa: SIM115 closed at the part's end, and where the body ends early

    def _on_end(self) -> None:
        self._complete = True
