"""The manifest of an exported model: the SHA-256 of its files, so that altered files are not used."""

from collections.abc import Mapping
from pathlib import Path

from magms_nnunet.errors import InputError
from magms_nnunet.model.model_json import read_model_json

FILE = "magms_manifest.json"


def read_manifest(folder: Path) -> dict | None:
    """Return the manifest in a model's folder; None: there is none, as for a model that was trained here.

    Raises:
        InputError: the manifest is damaged.
    """
    if not (folder / FILE).is_file():
        return None
    manifest = read_model_json(folder / FILE)
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(isinstance(digest, str) for digest in files.values()):
        raise InputError(f"{folder / FILE} is damaged: it lists no files; import the model again")
    return manifest


def check_unaltered(folder: Path, manifest: dict, digests: Mapping[str, str]) -> None:
    """Check that files are unaltered since the export.

    Args:
        folder: of the model.
        manifest: its manifest.
        digests: file, relative to the folder -> its SHA-256.

    Raises:
        InputError: a file was altered or added.
    """
    for name, digest in digests.items():
        exported = manifest["files"].get(name)
        if exported != digest:
            what = "was not among them when" if exported is None else "was altered after"
            raise InputError(
                f"{folder / name} {what} the model was exported (SHA-256 in {FILE}): import the model again, or remove "
                f"{FILE} if the change is yours"
            )
