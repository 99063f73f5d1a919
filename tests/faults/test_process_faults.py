"""An internal error within one case."""

import pytest

from magms_nnunet.inference import command, folder, pipeline
from tests.faults.tiny import SIDE_FILES, T1C, give
from tests.integration.workspace import ENDING, files_in


def look_up(name: str):
    return {}[name]


@pytest.fixture(params=["checks", "preprocessing", "network", "export"])
def faulty(request, monkeypatch):
    """One of the steps fails for the case ``b``."""
    where = {
        "checks": (command, "check_case", lambda case, *rest: case.name),
        "preprocessing": (pipeline, "preprocess_case", lambda case, *rest: case.name),
        "network": (folder, "_logits", lambda predictor, job, data: job.case.name),
        "export": (folder, "export_case", lambda *arguments: arguments[6]["case"]),
    }
    module, name, case_of = where[request.param]
    right = getattr(module, name)

    def step(*arguments, **options):
        return look_up("no such key") if case_of(*arguments) == "b" else right(*arguments, **options)

    monkeypatch.setattr(module, name, step)


@pytest.mark.fault(16)
def test_fault_of_ours_in_a_case_is_said_and_the_others_finish(faulty, magms_predict, tmp_path):
    images, out = give(tmp_path / "images", {case: [T1C] for case in "abc"}), tmp_path / "out"
    code, lines = magms_predict(images, out)
    assert code == 1
    assert lines == ["magms_predict: b: unexpected KeyError: 'no such key' (--debug shows where)"]
    assert files_in(out) == SIDE_FILES | {f"{case}{end}" for case in "ac" for end in (ENDING, ".json")}
