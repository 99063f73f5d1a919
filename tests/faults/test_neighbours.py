"""Files of somebody else beside a result, or where a command is started: none costs the run, and none is run."""

import json
import os
import subprocess
import sys
from contextlib import closing

import pytest

from magms_nnunet.cli import exits
from magms_nnunet.comparison.systems import read_evaluation
from magms_nnunet.environment.examination import check_with_torch
from magms_nnunet.errors import InputError
from magms_nnunet.inference.processes import workers
from magms_nnunet.model.model_json import read_model_json
from magms_nnunet.storage.json_files import read_json
from tests.faults.tiny import T1C, give
from tests.integration.workspace import ENDING, files_in

HOSTILE = {
    "deep": lambda path: path.write_text(100_000 * '{"a":' + "1" + 100_000 * "}"),
    "list": lambda path: path.write_text(100_000 * "["),
    "pipe": os.mkfifo,
    "folder": lambda path: path.mkdir(),
    "bytes": lambda path: path.write_bytes(b"\xff\xfe{"),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path),
}


@pytest.mark.fault(12)
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_json_of_one_case_costs_that_case_only(kind, magms_predict, tmp_path):
    images, out = give(tmp_path / "images", dict.fromkeys("ab", (T1C,))), tmp_path / "out"
    out.mkdir()
    HOSTILE[kind](out / "a.json")
    code, lines = magms_predict(images, out)
    assert files_in(out) >= {f"b{ENDING}", "b.json"}
    if kind == "loop":  # a link to nowhere is no file, and is replaced
        assert (code, lines) == (0, [])
    else:
        (line,) = lines
        assert code == 3
        assert f"a: {out / 'a.json'} is no result of magms_predict: move it away" in line
    # The next run reads every JSON that is there.
    assert magms_predict(images, out, "--continue_prediction")[0] == code


@pytest.mark.fault(20)
@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", ["dataset.json", "plans.json"])
def test_hostile_json_of_a_model_is_refused_in_one_line(name, kind, tmp_path):
    HOSTILE[kind](tmp_path / name)
    with pytest.raises(InputError) as error:
        read_model_json(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    with pytest.raises((OSError, ValueError)):
        read_json(tmp_path / name)


@pytest.mark.fault(20)
@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", ["run.json", "scores.csv"])
def test_hostile_evaluation_is_refused_in_one_line(name, kind, tmp_path):
    run = {"model": {"name": "m", "dataset": "d", "sha256": "0", "folds": []}, "protocol": "absent"}
    (tmp_path / "run.json").write_text(
        json.dumps(run | {"modalities": ["F"], "regions": {"a": [1]}, "subsets": ["F"], "cases": ["a"]})
    )
    (tmp_path / name).unlink(missing_ok=True)
    HOSTILE[kind](tmp_path / name)
    with pytest.raises(InputError, match=r"evaluate again|is it a folder of magms_evaluate"):
        read_evaluation(tmp_path)


@pytest.mark.fault(8)
def test_pipe_in_place_of_an_image_fails_its_case(magms_predict, tmp_path):
    images, out = give(tmp_path / "images", dict.fromkeys("ab", (T1C,))), tmp_path / "out"
    assert magms_predict(images, out) == (0, [])
    (images / f"a_0002{ENDING}").unlink()
    os.mkfifo(images / f"a_0002{ENDING}")
    code, (line,) = magms_predict(images, out)
    assert code == 3
    assert f"a: a_0002{ENDING} (T1c) is empty" in line
    code, (line,) = magms_predict(images, out, "--continue_prediction")
    assert code == 2
    assert f"a_0002{ENDING} cannot be read (not a regular file)" in line


# --- Python files in the folder where a command is started ------------------------------------------------------------


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """The working directory, full of modules that leave a file behind when they are imported."""
    folder, trace = tmp_path / "working", tmp_path / "imported"
    folder.mkdir()
    code = f"import os\nos.close(os.open({str(trace)!r}, os.O_CREAT))\n"
    for name in ("torch", "nnunetv2", "multiprocessing", "json", "numpy", "magms_nnunet", "tqdm"):
        (folder / f"{name}.py").write_text(code)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    return trace


@pytest.mark.fault(20)
def test_doctor_runs_no_file_of_the_working_directory(planted):
    with closing(check_with_torch(limit_s=120)) as findings:
        first = next(findings)
    assert first.subject == "torch"
    assert first.status == "OK"
    assert not planted.exists()


@pytest.mark.fault(20)
@pytest.mark.skipif(sys.version_info < (3, 11), reason="PYTHONSAFEPATH exists from Python 3.11 on")
def test_worker_runs_no_file_of_the_working_directory(planted):
    def work() -> int:
        with workers(1) as executor:
            return executor.submit(max, 0, -1).result()

    assert exits.run("command", work, debug=True) == 0
    assert not planted.exists()


@pytest.mark.fault(20)
@pytest.mark.skipif(sys.version_info < (3, 11), reason="PYTHONSAFEPATH exists from Python 3.11 on")
def test_python_that_a_command_starts_runs_no_file_of_the_working_directory(planted):
    def work() -> int:
        return subprocess.run([sys.executable, "-c", "import json, magms_nnunet.errors"]).returncode

    assert exits.run("command", work, debug=True) == 0
    assert not planted.exists()
