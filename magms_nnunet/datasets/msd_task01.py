"""Medical Segmentation Decathlon Task01_BrainTumour: 484 labelled 4-D images (medicaldecathlon.com)."""

from pathlib import Path

from magms_nnunet.datasets.source import (
    BRAIN_TUMOUR_CHANNELS,
    BRAIN_TUMOUR_REGIONS,
    Source,
    SourceCase,
    lacking,
    register,
    unexpected,
)
from magms_nnunet.errors import InputError
from magms_nnunet.modalities import Modalities
from magms_nnunet.storage.files import is_hidden
from magms_nnunet.storage.json_files import read_json

_ENDING = ".nii.gz"
_LABELS = {"1": "edema", "2": "non-enhancing", "3": "enhancing"}  # beginnings of their names in dataset.json


def find(folder: Path) -> Source:
    """Find the labelled cases of an unpacked Task01_BrainTumour; the split has the paper's proportions, 388, 72, 24.

    Raises:
        InputError: the folder holds something else, or its dataset.json gives channels or labels another meaning.
    """
    description = folder / "dataset.json"
    if not all((description.is_file(), (folder / "imagesTr").is_dir(), (folder / "labelsTr").is_dir())):
        raise unexpected(folder, "dataset.json, imagesTr and labelsTr of Task01_BrainTumour")
    volumes = _volumes(description)
    found: dict[str, dict[str, Path]] = {}
    for part, files in (("image", "imagesTr"), ("label", "labelsTr")):
        for path in _images(folder / files):
            register(found.setdefault(path.name.removesuffix(_ENDING), {}), part, path)
    if not found:
        raise unexpected(folder / "imagesTr", f"BRATS_001{_ENDING}, ...")
    cases, incomplete = [], {}
    for name, files in sorted(found.items()):
        if what := lacking(files, {"image": "the image", "label": "the label"}):
            incomplete[name] = what
        else:
            cases.append(SourceCase(name, name, (files["image"],), files["label"]))
    unlabelled = len(_images(folder / "imagesTs"))
    return Source(
        name="MSDBrainTumour",
        channels=BRAIN_TUMOUR_CHANNELS,
        labels=BRAIN_TUMOUR_REGIONS,
        label_values={0: 0, 1: 1, 2: 2, 3: 3},
        cases=cases,
        incomplete=incomplete,
        proportions=(388, 72, 24),
        volumes=volumes,
        notes=[f"{unlabelled} images of imagesTs have no labels and are left out"] if unlabelled else [],
    )


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"*{_ENDING}") if not is_hidden(path))


def _volumes(description: Path) -> tuple[int, ...]:
    """Return the positions of our channels along the fourth axis."""
    try:
        content = read_json(description)
        modalities = Modalities.from_dataset_json(content)
        labels = {str(value): str(name).lower() for value, name in content["labels"].items()}
    except (ValueError, KeyError, AttributeError, OSError) as error:
        raise InputError(f"{description} is not the Decathlon's ({type(error).__name__}: {error})") from error
    if labels.keys() != {"0", *_LABELS} or any(not labels[value].startswith(name) for value, name in _LABELS.items()):
        raise InputError(
            f"{description} has the labels {labels}: expected 1 edema, 2 non-enhancing tumor, 3 enhancing tumour"
        )
    if len(modalities) != len(BRAIN_TUMOUR_CHANNELS):
        raise InputError(f"{description} has the modalities {modalities.listing()}: expected FLAIR, T1w, t1gd, T2w")
    return tuple(modalities.parse([name])[0] for name in BRAIN_TUMOUR_CHANNELS)
