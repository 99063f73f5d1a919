"""What pip installs is found by nnU-Net from anywhere, costs each start two modules, and goes away without a trace."""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

NEEDED = ("pip", "build", "setuptools", "wheel")  # looked up, not imported: pip and setuptools dislike one process
pytestmark = pytest.mark.skipif(None in map(find_spec, NEEDED), reason=f"needs {', '.join(NEEDED)}")

ROOT = Path(__file__).parents[2]
PTH = "zz_magms_nnunet.pth"

LOOK_UP = """
import sys
from pathlib import Path

import nnunetv2
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

def find(folder, name):
    path = Path(nnunetv2.__path__[0]).joinpath(*folder.split("."))
    return recursive_find_python_class(str(path), name, f"nnunetv2.{folder}")

for cls in (
    recursive_find_trainer_class_by_name("MAGMSTrainer"),
    find("experiment_planning", "MAGMSPlanner"),
    find("preprocessing.normalization", "OwnSupportZScoreNormalization"),
):
    print(cls.__name__, sys.modules[cls.__module__].__file__)
"""


def pip(python: Path | str, *arguments: str):
    command = [sys.executable, "-m", "pip", "--python", str(python), *arguments, "-q", "--disable-pip-version-check"]
    subprocess.run(command, check=True)


class Environment:
    """A virtual environment without pip; with ``borrow``, it also sees what is installed beside pytest."""

    def __init__(self, folder: Path, borrow: bool):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.folder = folder
        self.python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        (self.site_packages,) = folder.rglob("site-packages")
        if borrow:  # a path in a .pth is appended to sys.path; the .pth files in it are not read
            beside_pytest = [path for path in sys.path if path.endswith("-packages")]
            (self.site_packages / "borrowed.pth").write_text("\n".join(beside_pytest) + "\n")

    def install(self, *arguments: str):
        pip(self.python, "install", "--no-deps", "--no-index", "--no-build-isolation", *arguments)

    def traces(self) -> list[Path]:
        return list(self.folder.rglob("*magms*"))

    def run(self, code: str, cwd: Path) -> list[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [str(self.python), "-c", code]
        return subprocess.run(
            command, cwd=cwd, env=environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout.splitlines()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("magms_nnunet", "trainers", "planners"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    """Built from the sdist, which is built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "-o", str(folder), str(checkout)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("*.whl"))


def test_wheel_holds_every_module_and_its_data_and_nothing_else(wheel, checkout):
    installed_as = {"trainers": "magms_nnunet/trainers", "planners": "magms_nnunet/planners"}
    expected = {PTH}
    for folder in ("magms_nnunet", "trainers", "planners"):
        for file in filter(Path.is_file, (checkout / folder).rglob("*")):  # templates and tables as well
            expected.add(f"{installed_as.get(folder, folder)}/{file.relative_to(checkout / folder).as_posix()}")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == expected


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_installed_then_found_then_uninstalled(kind, wheel, checkout, tmp_path):
    environment = Environment(tmp_path / "env", borrow=True)
    assert environment.traces() == []

    environment.install(*(["-e", str(checkout)] if kind == "editable" else ["--force-reinstall", str(wheel)]))
    assert len((environment.site_packages / PTH).read_text().splitlines()) == 1
    engine = environment.site_packages / "magms_nnunet" if kind == "wheel" else checkout / "magms_nnunet"
    leaves = engine if kind == "wheel" else checkout
    assert environment.run(LOOK_UP, cwd=tmp_path) == [
        f"MAGMSTrainer {leaves / 'trainers' / 'magms_trainer.py'}",
        f"MAGMSPlanner {leaves / 'planners' / 'magms_planner.py'}",
        f"OwnSupportZScoreNormalization {engine / 'preprocessing' / 'normalization.py'}",
    ]

    pip(environment.python, "uninstall", "-y", "magms_nnunet")
    assert environment.traces() == []
    assert environment.run("import sys; print('magms_nnunet' in sys.modules)", cwd=tmp_path) == ["False"]


def test_a_package_deleted_by_hand_is_one_warning(wheel, tmp_path):
    environment = Environment(tmp_path / "env", borrow=False)
    environment.install(str(wheel))
    shutil.rmtree(environment.site_packages / "magms_nnunet")
    command = [str(environment.python), "-c", "pass"]
    stderr = subprocess.run(command, check=True, cwd=tmp_path, stderr=subprocess.PIPE, text=True).stderr
    assert stderr.count("RuntimeWarning: nnU-Net will not find the classes of magms_nnunet: ModuleNotFoundError") == 1
    assert len(stderr.splitlines()) == 1


def test_a_start_of_python_imports_two_modules_of_ours_and_nothing_for_them(wheel, tmp_path):
    without = Environment(tmp_path / "without", borrow=False)
    with_us = Environment(tmp_path / "with", borrow=False)
    with_us.install(str(wheel))
    code = "import sys; print('\\n'.join(sys.modules))"
    more, fewer = (set(environment.run(code, cwd=tmp_path)) for environment in (with_us, without))
    assert more - fewer == {"magms_nnunet", "magms_nnunet.autoload"}
