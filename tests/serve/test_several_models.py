"""Several models in one server, one of them a cascade, whose first stage runs before its second."""

import json
import shutil

import numpy as np
import pytest

from magms_nnunet.errors import InputError
from magms_nnunet.serve.client import ServiceError
from magms_nnunet.serve.settings import Models
from tests.faults.tiny import NAMES, magms_predict, make_second_stage, voxels  # noqa: F401
from tests.inference.test_patient import predict  # noqa: F401
from tests.integration.workspace import ENDING
from tests.serve.conftest import multipart, part, problem, serving

FIRST, SECOND = "MAGMSTrainer__MAGMSPlans__tiny", "MAGMSTrainer__MAGMSPlans__second"


@pytest.fixture(scope="module")
def home(model, tmp_path_factory):
    """Both stages, as nnU-Net lays them down."""
    folder = tmp_path_factory.mktemp("results")
    shutil.copytree(model, folder / FIRST)
    make_second_stage(model, folder)
    return folder


@pytest.fixture(scope="module")
def server(home, tmp_path_factory):
    with serving(home / SECOND, tmp_path_factory.mktemp("temporary"), home / FIRST) as server:
        yield server


def test_each_is_listed_and_has_to_be_named(server):
    listed = {model["id"]: model for model in server.client.models()}
    assert {name: model["previous_stage"] for name, model in listed.items()} == {FIRST: None, SECOND: FIRST}
    assert all(model["modalities"] == [*NAMES] for model in listed.values())
    body = multipart(part("T1", f"x{ENDING}", b"1"))
    for query, named in (("", "no model is named"), ("?model=other", "no model other")):
        assert problem(server.post(body, query=query)) == (404, f"{named}: this server has {SECOND}, {FIRST}")
    with pytest.raises(ServiceError, match="no model is named"):
        server.client.submit_study(__file__)


def test_the_stages_are_those_of_magms_predict(server, home, images, magms_predict, tmp_path):  # noqa: F811
    subset = ("FLAIR", "T1c")
    flags, previous = ("--modalities", *subset), ("-prev_stage_predictions", tmp_path / "first")
    for stage, more in ((FIRST, flags), (SECOND, (*flags, *previous))):
        output = tmp_path / ("first" if stage == FIRST else "second")
        assert magms_predict(images["T1"].parent, output, "-m", home / stage, *more)[0] == 0
    found = {
        stage: server.client.predict({name: images[name] for name in subset}, model=stage, case="p1", poll_s=0.05)
        for stage in (FIRST, SECOND)
    }
    for stage, folder in ((FIRST, "first"), (SECOND, "second")):
        assert found[stage].segmentation == (tmp_path / folder / f"p1{ENDING}").read_bytes()
        assert found[stage].report == (tmp_path / folder / "p1.json").read_bytes()
    assert found[FIRST].segmentation != found[SECOND].segmentation
    assert server.files() == []


def test_a_study_for_a_cascade(server, home, predict, tmp_path):  # noqa: F811
    written_study = pytest.importorskip("tests.dicom.written_study")
    study = written_study.write_study(tmp_path / "study", {"T2": np.clip(voxels(0) * 10, 0, 4000).astype(int)})
    first, second = (tmp_path / stage / f"p1{ENDING}" for stage in (FIRST, SECOND))
    assert predict(first, "-m", home / FIRST, "--dicom", study)[0] == 0
    assert predict(second, "-m", home / SECOND, "--dicom", study, "-prev_stage_predictions", first)[0] == 0
    result = server.client.predict_study(study, model=SECOND, case="p1", poll_s=0.05)
    assert result.segmentation == second.read_bytes()
    assert json.loads(result.report) == json.loads(second.with_name("p1.json").read_text())


def test_a_cascade_whose_first_stage_does_not_fit(home, tmp_path):
    from magms_nnunet.serve.worker import stages

    shutil.copytree(home / SECOND, tmp_path / SECOND)
    models = Models((tmp_path / SECOND,), device="cpu")
    with pytest.raises(InputError, match=f"its first is not beside it: add {tmp_path / FIRST}"):
        stages(tmp_path / SECOND, models)
    shutil.copytree(home / FIRST, tmp_path / FIRST)
    content = json.loads((tmp_path / FIRST / "dataset.json").read_text())
    content["channel_names"] = dict(zip("0123", reversed(NAMES), strict=True))
    (tmp_path / FIRST / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="channel_names"):
        stages(tmp_path / SECOND, models)
