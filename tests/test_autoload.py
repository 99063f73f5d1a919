"""nnU-Net finds our classes by name, and never fails because of us."""

import inspect
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from operator import attrgetter
from pathlib import Path

import nnunetv2
import pytest
from nnunetv2.preprocessing.normalization import default_normalization_schemes
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

import magms_nnunet
from magms_nnunet import autoload, planners, trainers
from magms_nnunet.preprocessing import normalization

NNUNET = Path(nnunetv2.__path__[0])
# The arguments of nnU-Net's own calls, less the name.
TRAINER_FOLDER = (str(NNUNET / "training/nnUNetTrainer"), "nnunetv2.training.nnUNetTrainer")
PLANNER_FOLDER = (str(NNUNET / "experiment_planning"), "nnunetv2.experiment_planning")
NORMALIZATION_FOLDER = (str(NNUNET / "preprocessing/normalization"), "nnunetv2.preprocessing.normalization")

OTHERS = [(name, PLANNER_FOLDER) for name in autoload.PLANNERS]
OTHERS += [(name, NORMALIZATION_FOLDER) for name in autoload.NORMALIZATIONS]
ALL = {**autoload.TRAINERS, **autoload.PLANNERS, **autoload.NORMALIZATIONS}


def python(*arguments, **environment) -> subprocess.CompletedProcess:
    environment = {**os.environ, **environment}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)


def run_code(code: str, **environment) -> str:
    """Runs ``code`` in a Python process of its own; returns what it wrote to stderr."""
    result = python("-c", code, **environment)
    assert result.returncode == 0, result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def worker():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("name", autoload.TRAINERS)
def test_trainers_are_found(name):
    assert recursive_find_trainer_class_by_name(name) is getattr(trainers, name)


@pytest.mark.parametrize(("name", "folder"), OTHERS)
def test_planners_and_normalizations_are_found(name, folder):
    assert recursive_find_python_class(folder[0], name, folder[1]) is getattr(import_module(ALL[name]), name)


@pytest.mark.parametrize("folder", [PLANNER_FOLDER, NORMALIZATION_FOLDER])
def test_unknown_classes_are_not_found(folder):
    assert recursive_find_python_class(folder[0], "MAGMSNoSuchClass", folder[1]) is None


@pytest.mark.parametrize("hooked", autoload._HOOKS)
def test_unknown_attributes_raise_as_python_does(hooked):
    with pytest.raises(AttributeError, match=rf"^module '{hooked}' has no attribute 'MAGMSNoSuchClass'$"):
        import_module(hooked).MAGMSNoSuchClass  # noqa: B018


@pytest.mark.parametrize(("table", "package"), [(autoload.TRAINERS, trainers), (autoload.PLANNERS, planners)])
def test_tables_are_what_the_packages_export(table, package):
    assert {name: getattr(package, name).__module__ for name in package.__all__} == table


def test_normalization_table_is_what_the_module_defines():
    base = default_normalization_schemes.ImageNormalization
    classes = inspect.getmembers(normalization, lambda value: inspect.isclass(value) and issubclass(value, base))
    own = {name: cls.__module__ for name, cls in classes if cls.__module__ == normalization.__name__}
    assert own == autoload.NORMALIZATIONS


def test_spawned_workers_find_and_unpickle_everything(worker):
    found = [worker.submit(recursive_find_trainer_class_by_name, name).result() for name in autoload.TRAINERS]
    found += [worker.submit(recursive_find_python_class, at[0], name, at[1]).result() for name, at in OTHERS]
    assert [cls.__name__ for cls in found] == list(ALL)
    assert list(worker.map(attrgetter("__module__"), found)) == list(ALL.values())


def test_our_trainer_is_found_before_nnunet_opens_its_variants(worker):
    """They need packages (timm, torchvision) that a broken installation may fail to import."""
    worker.submit(recursive_find_trainer_class_by_name, "MAGMSTrainer").result()
    opened = worker.submit(eval, "list(__import__('sys').modules)").result()
    folder = "nnunetv2.training.nnUNetTrainer."
    assert [name for name in opened if name.startswith(folder)] == [folder + "nnUNetTrainer"]


def test_off_is_off_until_a_command_of_ours_asks():
    run_code(
        """
import sys
from nnunetv2.preprocessing.normalization import default_normalization_schemes as schemes
from magms_nnunet import autoload
assert not hasattr(schemes, "OwnSupportZScoreNormalization")
assert not any(isinstance(finder, autoload._Finder) for finder in sys.meta_path)
autoload.install()  # as our own commands do
assert hasattr(schemes, "OwnSupportZScoreNormalization")
""",
        MAGMS_AUTOLOAD="0",
    )


def test_install_covers_modules_imported_before_and_after_and_registers_once():
    run_code(
        """
import sys
from nnunetv2.preprocessing.normalization import default_normalization_schemes as before
from magms_nnunet import autoload
autoload.install()
autoload.install()
assert sum(isinstance(finder, autoload._Finder) for finder in sys.meta_path) == 1
from nnunetv2.experiment_planning.experiment_planners import default_experiment_planner as after
assert before.OwnSupportZScoreNormalization.__name__ == "OwnSupportZScoreNormalization"
assert after.MAGMSPlanner.__name__ == "MAGMSPlanner"
""",
        MAGMS_AUTOLOAD="0",
    )


@pytest.fixture
def copy(tmp_path):
    """A copy of magms_nnunet to break. It comes before the installed one where PYTHONPATH names its parent."""
    ignore = shutil.ignore_patterns("__pycache__")
    for package in (magms_nnunet, trainers, planners):
        folder = tmp_path.joinpath(*package.__name__.split("."))
        shutil.copytree(package.__path__[0], folder, ignore=ignore, dirs_exist_ok=True)
    return tmp_path / "magms_nnunet"


SYNTAX_ERROR = "def broken(:\n"
RAISES = "raise RuntimeError('broken')\n"
RAISES_ATTRIBUTE_ERROR = "import os; os.no_such_attribute\n"  # which hasattr() takes for "no such class"


def look_up(stock: str, ours: str, folder: tuple[str, str], copy: Path) -> str:
    """Looks up a class of nnU-Net's, which must work, and then ours, which must not; returns the last error."""
    code = f"""
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class as find
assert find({folder[0]!r}, {stock!r}, {folder[1]!r}).__name__ == {stock!r}
find({folder[0]!r}, {ours!r}, {folder[1]!r})
"""
    stderr = python("-c", code, PYTHONPATH=str(copy.parent)).stderr
    assert "Warning" not in stderr
    return stderr.splitlines()[-1]


@pytest.mark.parametrize("fault", [SYNTAX_ERROR, RAISES, RAISES_ATTRIBUTE_ERROR])
def test_a_broken_module_breaks_only_its_classes(copy, fault):
    (copy / "preprocessing/normalization.py").write_text(fault)
    error = look_up("ZScoreNormalization", "OwnSupportZScoreNormalization", NORMALIZATION_FOLDER, copy)
    assert error.startswith("ImportError: magms_nnunet has 'OwnSupportZScoreNormalization' but cannot import it: ")


def test_a_broken_engine_breaks_only_our_trainers(copy):
    (copy / "losses/distillation.py").write_text(SYNTAX_ERROR)
    error = look_up("nnUNetTrainer", "MAGMSTrainer", TRAINER_FOLDER, copy)
    assert error.startswith("ImportError: magms_nnunet has 'MAGMSTrainer' but cannot import it: SyntaxError(")


BROKEN_HOOKS = {
    "package raises": ("__init__.py", RAISES),
    "tables raise": ("autoload.py", RAISES),
    "syntax error": ("autoload.py", SYNTAX_ERROR),
    "cannot wrap": ("autoload.py", "{}\ndef _answer_after_execution(loader, names): raise RuntimeError('broken')\n"),
    "cannot add names": ("autoload.py", "{}\ndef add_names(module, names): raise RuntimeError('broken')\n"),
}


@pytest.mark.parametrize(("name", "fault"), BROKEN_HOOKS.values(), ids=BROKEN_HOOKS)
def test_a_broken_hook_is_one_warning(copy, name, fault):
    (copy / name).write_text(fault.replace("{}", (copy / name).read_text()))
    stderr = run_code(
        """
from nnunetv2.preprocessing.normalization import default_normalization_schemes as schemes
assert schemes.ZScoreNormalization and not hasattr(schemes, "OwnSupportZScoreNormalization")
""",
        PYTHONPATH=str(copy.parent),
    )
    assert stderr.count("RuntimeWarning: nnU-Net will not find the classes of magms_nnunet: ") == 1
    assert "Traceback" not in stderr


def test_a_broken_package_lets_stock_training_start(copy):
    """nnUNetv2_train comes as far as the plans file, which is missing."""
    (copy / "autoload.py").write_text(RAISES)
    entry = "from nnunetv2.run.run_training import run_training_entry; run_training_entry()"
    flags = ["Dataset999_None", "2d", "0", "-tr", "nnUNetTrainer", "-device", "cpu"]
    stderr = python("-c", entry, *flags, PYTHONPATH=str(copy.parent), nnUNet_preprocessed=str(copy.parent)).stderr
    assert re.search(r"FileNotFoundError: .*Dataset999_None/nnUNetPlans\.json", stderr.splitlines()[-1]), stderr
    assert stderr.count("Warning: ") == 1


def test_nnunets_own_tests_pass_as_without_us():
    def run(**environment):
        tests = ["nnunetv2.tests.test_find_objects", "nnunetv2.tests.test_paths"]
        report = python("-m", "unittest", *tests, **environment).stderr
        return re.search(r"^Ran \d+ tests", report, re.M)[0], set(re.findall(r"^(?:ERROR|FAIL): .*", report, re.M))

    ran, failed = run()
    assert int(ran.split()[1]) > 0
    if failed:  # perhaps also without us
        ran_without, failed_without = run(MAGMS_AUTOLOAD="0")
        assert ran == ran_without
        assert failed <= failed_without
