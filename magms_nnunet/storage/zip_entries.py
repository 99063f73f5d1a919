"""Entries of a zip of unknown origin."""

import stat
import zipfile
from pathlib import PureWindowsPath


def refusal(entry: zipfile.ZipInfo) -> str | None:
    """Return the reason why an entry must not be unpacked, as the end of a sentence; None: it may be unpacked."""
    name, kind = entry.filename, stat.S_IFMT(entry.external_attr >> 16)
    windows = PureWindowsPath(name)
    if name.startswith("/") or windows.drive or windows.root:
        return "has an absolute path"
    if ".." in windows.parts or "\\" in name:
        return "leads out of its folder"
    if kind not in (0, stat.S_IFDIR if entry.is_dir() else stat.S_IFREG):
        return "is a link or a device, not a file"
    return "is encrypted" if entry.flag_bits & 1 else None
