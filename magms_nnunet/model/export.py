"""Packs trained models into a zip in nnU-Net's layout, with a manifest of hashes and the weights as safetensors."""

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch
from safetensors.torch import save_model

from magms_nnunet.errors import InputError
from magms_nnunet.model import expected, manifest
from magms_nnunet.model.checkpoints import read_checkpoint
from magms_nnunet.model.model import Fold, TrainedModel, fingerprint_of, load_model
from magms_nnunet.model.model_json import read_model_json, without_listed_files
from magms_nnunet.nnunet.version import installed_versions
from magms_nnunet.storage.files import UNFINISHED, reason, sha256, write_then_rename

# Unlike nnU-Net's export, ours has no debug.json, no validation and no lists of training files, which name folders,
# machines and patients.
_BESIDE_FOLDS = ("plans.json", "dataset_fingerprint.json")


def export_models(
    folders: Sequence[Path],
    output: Path,
    *,
    folds: Sequence[Fold],
    checkpoints: Sequence[str] = ("checkpoint_final.pth",),
    overwrite: bool = False,
    trust_checkpoint: bool = False,
) -> str:
    """Write a zip that ``magms_import`` and ``nnUNetv2_install_pretrained_model_from_zip`` can read.

    Args:
        folders: of the models, ``DATASET/TRAINER__PLANS__CONFIGURATION``.
        output: the zip.
        folds: of each model.
        checkpoints: file names within each fold.
        overwrite: whether to replace an existing ``output``.
        trust_checkpoint: see :func:`magms_nnunet.model.model.load_model`.

    Returns:
        SHA-256 of the zip.

    Raises:
        InputError: ``output`` exists or cannot be written, or a model cannot be loaded.
    """
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists: choose another -o, or replace it with --overwrite")

    def write(name: str) -> None:
        with zipfile.ZipFile(name, "w") as archive:
            for folder in folders:
                models = [load_model(folder, folds, file, trust_checkpoint=trust_checkpoint) for file in checkpoints]
                _add_model(archive, models, trust_checkpoint)

    try:
        write_then_rename(output, write)
    except OSError as error:
        raise InputError(f"cannot write {output} ({reason(error, output.parent)}): choose another -o") from error
    return sha256(output)


def _add_model(archive: zipfile.ZipFile, models: Sequence[TrainedModel], trust: bool) -> None:
    """Add a model, loaded once for each of its checkpoint files."""
    folder = models[0].folder
    inside = PurePosixPath(folder.parent.name, folder.name)
    names = [name for name in _BESIDE_FOLDS if (folder / name).is_file()]
    digests = {name: _add(archive, inside / name, folder / name) for name in names}
    dataset_json = without_listed_files(models[0].dataset_json)
    digests["dataset.json"] = _add_json(archive, inside / "dataset.json", dataset_json)
    fingerprints = {}
    for model in models:
        checkpoints = []
        for fold, weights in zip(model.folds, model.weights, strict=True):
            checkpoint = PurePosixPath(f"fold_{fold}", model.checkpoint)
            digests[str(checkpoint)] = _add_checkpoint(archive, inside / checkpoint, folder / checkpoint, trust)
            checkpoints.append(digests[str(checkpoint)])
            model.network.load_state_dict(weights)
            with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=Path(archive.filename or "").parent) as temporary:
                name, path = checkpoint.with_suffix(".safetensors"), Path(temporary, "weights")
                save_model(model.network, str(path), {"trainer": model.trainer, "configuration": model.configuration})
                digests[str(name)] = _add(archive, inside / name, path)
        fingerprints[model.fingerprint] = fingerprint_of(checkpoints)
    if (expectation := _expectation(models, fingerprints)) is not None:
        digests[expected.FILE] = _add_json(archive, inside / expected.FILE, expectation)
    _add_json(archive, inside / manifest.FILE, _manifest(models, digests))


def _add_json(archive: zipfile.ZipFile, name: PurePosixPath, content: dict) -> str:
    """Add a JSON file, and return its SHA-256."""
    text = json.dumps(content, indent=2)
    archive.writestr(str(name), text, zipfile.ZIP_DEFLATED)
    return hashlib.sha256(text.encode()).hexdigest()


def _add_checkpoint(archive: zipfile.ZipFile, name: PurePosixPath, path: Path, trust: bool) -> str:
    """Add a checkpoint without lists of training files, and return the SHA-256 of the added file."""
    content = read_checkpoint(path, trust)
    arguments = content["init_args"]
    if "dataset" not in arguments["dataset_json"]:
        return _add(archive, name, path)
    arguments["dataset_json"] = without_listed_files(arguments["dataset_json"])
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=Path(archive.filename or "").parent) as temporary:
        torch.save(content, Path(temporary, "checkpoint"))
        return _add(archive, name, Path(temporary, "checkpoint"))


def _add(archive: zipfile.ZipFile, name: PurePosixPath, path: Path) -> str:
    """Add a file, and return its SHA-256. Weights hardly shrink, so they are stored without compression."""
    entry = zipfile.ZipInfo.from_file(path, str(name), strict_timestamps=False)
    entry.compress_type = zipfile.ZIP_DEFLATED if name.suffix == ".json" else zipfile.ZIP_STORED
    digest = hashlib.sha256()
    with open(path, "rb") as source, archive.open(entry, "w", force_zip64=True) as target:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
            target.write(chunk)
    return digest.hexdigest()


def _manifest(models: Sequence[TrainedModel], digests: dict[str, str]) -> dict:
    model = models[0]
    return {
        "model": model.folder.name,
        "dataset": model.plans["dataset_name"],
        "channel_names": dict(enumerate(model.modalities.names)),
        "folds": [str(fold) for fold in model.folds],
        "expected_dice": _expected_dice(models),
        "versions": installed_versions(),
        "files": digests,
    }


def _expectation(models: Sequence[TrainedModel], fingerprints: dict[str, str]) -> dict | None:
    """Return the evaluation that ``--attach`` has kept, without paths of this machine; None: there is none.

    Args:
        models: one per checkpoint file.
        fingerprints: of the models here -> of the exported models.
    """
    path = models[0].folder / expected.FILE
    if not path.is_file():
        return None
    content = read_model_json(path)
    if "dataset" in content:
        content["dataset"] = expected.last_name(str(content["dataset"]))
    if isinstance(content.get("sha256"), str):
        content["sha256"] = fingerprints.get(content["sha256"], content["sha256"])
    return content


def _expected_dice(models: Sequence[TrainedModel]) -> dict | None:
    """Return subset -> mean Dice, where one of the exported checkpoints was evaluated with ``--attach``."""
    path = models[0].folder / expected.FILE
    if not path.is_file():
        return None
    content = read_model_json(path)
    if content.get("sha256") not in [model.fingerprint for model in models]:
        return None
    try:
        return {subset: scores["mean"] for subset, scores in content["subsets"].items()}
    except (KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is damaged: remove it, or run magms_evaluate --attach again") from error
