"""JSON files that somebody else may have written: whatever is there, reading it ends, and with one of two errors."""

import json
from pathlib import Path

from magms_nnunet.storage.files import open_regular

_MOST_BYTES = 256 << 20  # the largest of nnU-Net's lists every case of a large dataset


def read_foreign_json(path: Path):
    """Content of a JSON file.

    Raises:
        OSError: it cannot be read, or is a pipe or a device.
        ValueError: it is no JSON, of too many levels, or too large.
    """
    with open(path, "rb", opener=open_regular) as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES >> 20} MB")
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("too many levels") from None
