"""Reads JSON files of any origin safely, and writes our own."""

import json
from pathlib import Path

from magms_nnunet.errors import InputError
from magms_nnunet.storage.files import open_regular, write_then_rename

_MOST_BYTES = 256 << 20  # the largest of nnU-Net's lists every case of a large dataset


def read_json(path: Path):
    """Return the content of a JSON file.

    Raises:
        OSError: the file cannot be read, or is a pipe or a device.
        ValueError: the content is no JSON, has too many levels, or is too large.
    """
    with open(path, "rb", opener=open_regular) as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES >> 20} MB")
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("too many levels") from None


def read_json_object(path: Path, missing: str, remedy: str) -> dict:
    """Return the content of a file that must hold a JSON object.

    Args:
        path: the file.
        missing: the message if there is no such file.
        remedy: what the user can do if the file is damaged, for the message.

    Raises:
        InputError: the file is missing, cannot be read, is not JSON, or holds no object.
    """
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise InputError(missing) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}): {remedy}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object, not a {type(content).__name__}: {remedy}")
    return content


def write_json(path: Path, content: dict | list) -> None:
    """Write a JSON file in place, where no other process reads it."""
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def replace_json(path: Path, content: dict | list) -> None:
    """Write a JSON file so that a crash leaves either the old file or the new one."""
    write_then_rename(path, lambda name: write_json(Path(name), content))
