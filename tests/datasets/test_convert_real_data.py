"""Real patients come back voxel by voxel from the layouts of BraTS and of the Decathlon."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from magms_nnunet.datasets.convert import convert
from tests.datasets.nnunet_home import voxels, write

DATA = Path(__file__).parents[3] / "shared" / "data" / "Dataset210_BraTS"
CASES = ("BraTS2021_00006", "Brats18_2013_2_1")

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="patients' images are not part of the repository")


def check(made, case, original):
    """Images, labels and geometry of ``case`` are those of ``original``."""
    (label,) = made.folder.glob(f"labels*/{case}.nii.gz")
    pairs = [(label, DATA / "labelsTr" / f"{original}.nii.gz")]
    for channel in range(4):
        (image,) = made.folder.glob(f"images*/{case}_{channel:04d}.nii.gz")
        pairs.append((image, DATA / "imagesTr" / f"{original}_{channel:04d}.nii.gz"))
    for new, old in pairs:
        np.testing.assert_array_equal(voxels(new), voxels(old))
        np.testing.assert_array_equal(nibabel.load(new).affine, nibabel.load(old).affine)
        assert nibabel.load(new).get_data_dtype() == nibabel.load(old).get_data_dtype()


def test_brats(home, tmp_path):
    for case, folder in zip(CASES, ("BraTS2021_00006", "HGG/Brats18_2013_2_1"), strict=True):
        (tmp_path / "src" / folder).mkdir(parents=True)
        for channel, part in enumerate(("flair", "t1", "t1ce", "t2")):
            link = tmp_path / "src" / folder / f"{case}_{part}.nii.gz"
            link.symlink_to(DATA / "imagesTr" / f"{case}_{channel:04d}.nii.gz")
        ours = voxels(DATA / "labelsTr" / f"{case}.nii.gz")
        published = np.choose(ours, (0, 2, 1, 4)).astype(np.int16)
        affine = nibabel.load(DATA / "labelsTr" / f"{case}.nii.gz").affine
        write(tmp_path / "src" / folder / f"{case}_seg.nii.gz", published, affine)
    made = convert("brats", tmp_path / "src", "503")
    for case in CASES:
        check(made, case, case)
    description = json.loads((made.folder / "dataset.json").read_text())
    regions = json.loads((DATA / "dataset_regions.json").read_text())
    for key in ("channel_names", "labels", "regions_class_order"):
        assert description[key] == regions[key]


def test_decathlon(home, tmp_path):
    folder = tmp_path / "Task01_BrainTumour"
    originals = dict(zip(("BRATS_001", "BRATS_002", "BRATS_003"), (*CASES, CASES[0]), strict=True))
    for case, original in originals.items():
        volumes = [DATA / "imagesTr" / f"{original}_{channel:04d}.nii.gz" for channel in range(4)]
        stacked = np.stack([voxels(path) for path in volumes], axis=-1)
        write(folder / "imagesTr" / f"{case}.nii.gz", stacked, nibabel.load(volumes[0]).affine)
        (folder / "labelsTr").mkdir(exist_ok=True)
        (folder / "labelsTr" / f"{case}.nii.gz").symlink_to(DATA / "labelsTr" / f"{original}.nii.gz")
    names = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}
    modality = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    (folder / "dataset.json").write_text(json.dumps({"modality": modality, "labels": names}))
    made = convert("msd", folder, "502")
    for case, original in originals.items():
        check(made, case, original)
