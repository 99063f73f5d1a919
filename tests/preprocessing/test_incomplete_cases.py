"""A raw dataset with gaps in nnU-Net's commands."""

import json
import multiprocessing
from multiprocessing.pool import ThreadPool

import numpy as np
import pytest
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

from magms_nnunet.errors import InputError
from magms_nnunet.nnunet.raw_dataset import incomplete_files
from magms_nnunet.planners import MAGMSPlanner
from magms_nnunet.preprocessing.fingerprint import extract_fingerprint
from tests.integration.workspace import ENDING, Dataset, Workspace

GAPS = {"case0": (1,), "case2": (0, 2)}


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    workspace = Workspace(tmp_path, Dataset(cases=3, test_cases=0))
    for name, value in workspace.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(multiprocessing.get_context("spawn"), "Pool", ThreadPool)
    monkeypatch.setattr("magms_nnunet.preprocessing.fingerprint.ProcessPoolExecutor", InThisProcess)
    return workspace


class InThisProcess:
    def __init__(self, *_):
        self.map = map

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def leave_gaps(workspace, gaps=GAPS):
    for case, channels in gaps.items():
        for channel in channels:
            (workspace.raw / f"imagesTr/{case}_{channel:04d}{ENDING}").unlink()


def extractor():
    made = DatasetFingerprintExtractor("Dataset901_Balls", 1)
    made.num_foreground_voxels_for_intensitystats = 3000
    made.show_progress_bar = False
    return made


def visible_files(dataset):
    return {case: dict(enumerate(files["images"])) for case, files in dataset.items()}


def test_the_fingerprint_of_a_complete_dataset_is_nnunets(workspace):
    stock = extractor().run(overwrite_existing=True)
    path = workspace.preprocessed / "dataset_fingerprint.json"
    written = path.read_text()
    ours = extractor()
    assert str(extract_fingerprint(ours, visible_files(ours.dataset), True)) == str(stock)
    assert path.read_text() == written


def test_a_complete_dataset_is_planned_as_without_us(workspace, monkeypatch):
    """Byte by byte, also where the functions that look for gaps are taken out of nnU-Net."""
    plans, written = workspace.preprocessed / "MAGMSPlans.json", []
    for ours in (True, False):
        if not ours:
            for cls, name in ((DatasetFingerprintExtractor, "run"), (ExperimentPlanner, "plan_experiment")):
                monkeypatch.setattr(cls, name, getattr(cls, name).__wrapped__)
        extractor().run(overwrite_existing=True)
        MAGMSPlanner("Dataset901_Balls").plan_experiment()
        written.append((plans.read_bytes(), (workspace.preprocessed / "dataset_fingerprint.json").read_bytes()))
    assert written[0] == written[1]


def test_intensities_are_those_of_the_cases_that_have_the_modality(workspace):
    complete = extractor().run(overwrite_existing=True)
    leave_gaps(workspace, {"case0": (1,), "case1": (1,)})
    gaps = extractor().run(overwrite_existing=True)
    key = "foreground_intensity_properties_per_channel"
    assert gaps[key][0] == complete[key][0]
    assert gaps[key][1] != complete[key][1]
    assert gaps[key][1]["mean"] == pytest.approx(complete[key][1]["mean"], rel=0.1)  # no zeros among them


def test_plans_and_preprocessed_cases(workspace, capsys):
    leave_gaps(workspace)
    raw = {path.name for path in workspace.raw.rglob("*")}
    extractor().run(overwrite_existing=True)
    MAGMSPlanner("Dataset901_Balls").plan_experiment()
    assert (
        "magms_nnunet: 2 of 3 training cases are incomplete; cases with FLAIR 2, T1 2, T1c 2, T2 3"
        in capsys.readouterr().out
    )
    DefaultPreprocessor(verbose=False).run("Dataset901_Balls", "3d_fullres", "MAGMSPlans", 1)
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    dataset = nnUNetDatasetBlosc2(str(workspace.preprocessed / "MAGMSPlans_3d_fullres"))
    for case in ("case0", "case1", "case2"):
        images = dataset.load_case(case)[0][:]
        absent = np.isnan(images).all((1, 2, 3))
        assert [*np.flatnonzero(absent)] == [*GAPS.get(case, ())]
        assert np.isfinite(images[~absent]).all()
    assert {path.name for path in workspace.raw.rglob("*")} == raw


def test_stock_planners_and_plans_are_refused(workspace):
    extractor().run(overwrite_existing=True)
    ExperimentPlanner("Dataset901_Balls").plan_experiment()
    leave_gaps(workspace)
    says = (
        r"^2 of 3 training cases are incomplete: case0 lacks T1; case2 lacks FLAIR and T1c: plan and preprocess with "
        r"-pl MAGMSPlanner"
    )
    with pytest.raises(InputError, match=says):
        ExperimentPlanner("Dataset901_Balls").plan_experiment()
    with pytest.raises(InputError, match=says):
        DefaultPreprocessor(verbose=False).run("Dataset901_Balls", "3d_fullres", "nnUNetPlans", 1)


def test_a_modality_that_no_case_has_is_refused(workspace):
    leave_gaps(workspace, {f"case{number}": (3,) for number in range(3)})
    with pytest.raises(InputError, match=r"^no training case has T2: add images, or remove it from dataset\.json$"):
        extractor().run(overwrite_existing=True)


def test_a_case_without_any_image_is_refused(workspace):
    extractor().run(overwrite_existing=True)
    leave_gaps(workspace, {"case1": range(4)})
    with pytest.raises(InputError, match=r"^cases with a label and no image: case1: add images, or remove the labels$"):
        MAGMSPlanner("Dataset901_Balls")


def listed(tmp_path, images):
    (tmp_path / "a_0000.mha").touch()
    (tmp_path / "a_0002.mha").touch()
    (tmp_path / "named.mha").touch()
    description = {"channel_names": {"0": "A", "1": "B", "2": "C"}, "file_ending": ".mha", "dataset": {}}
    paths = [str(tmp_path / image) if image else str(tmp_path) for image in images]  # as nnU-Net resolves ""
    found = incomplete_files({"a": {"images": paths}, "b": {"images": paths}}, description)
    return {channel: path.rpartition("/")[2] for channel, path in found["a"].items()}


@pytest.mark.parametrize("images", [["a_0000.mha", "", "a_0002.mha"], ["a_0000.mha", "a_0002.mha"]])
def test_lists_in_dataset_json(tmp_path, images):
    assert listed(tmp_path, images) == {0: "a_0000.mha", 2: "a_0002.mha"}


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (["a_0000.mha", "a_0001.mha", "a_0002.mha"], r"^a: .*a_0001\.mha does not exist: correct dataset\.json"),
        (["a_0000.mha", "named.mha"], r"^a: dataset\.json lists 2 of 3 images, and named\.mha ends in no channel"),
    ],
)
def test_lists_that_cannot_be_read(tmp_path, images, says):
    with pytest.raises(InputError, match=says):
        listed(tmp_path, images)


def test_one_file_with_all_channels_is_nnunets_matter():
    cases = {name: {"images": [f"/x/{name}_0000.png"]} for name in ("p1", "p2")}
    assert incomplete_files(cases, json.loads('{"channel_names": {"0": "R", "1": "G"}, "file_ending": ".png"}')) is None
