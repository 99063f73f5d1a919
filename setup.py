"""Where the packages lie, and the .pth file. All metadata is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

PTH = "zz_magms_nnunet.pth"  # sorts after the .pth of editable installs, which must come first
# One line, as Python demands. It is run at every start, in a virtual environment twice. Without the try, a package that
# cannot be imported (say, an editable install whose checkout has moved) would print two tracebacks each time.
PTH_LINE = (
    r"""import os; exec("try:\n import magms_nnunet.autoload\nexcept Exception as error:\n import warnings\n """
    r"""warnings.warn(f'nnU-Net will not find the classes of magms_nnunet: {error!r}', RuntimeWarning)")"""
)


class BuildPyWithPth(build_py):
    """Puts the .pth file that lets nnU-Net find this package into site-packages, for wheels and editable installs."""

    def _pth_target(self) -> Path:
        if self.editable_mode:
            return Path(self.get_finalized_command("install").install_lib) / PTH
        return Path(self.build_lib) / PTH

    def run(self):
        super().run()
        target = self._pth_target()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(PTH_LINE + "\n")

    def get_outputs(self, include_bytecode=1):
        return [*super().get_outputs(include_bytecode), str(self._pth_target())]


setup(
    packages=[*find_packages(include=["magms_nnunet*"]), "magms_nnunet.trainers", "magms_nnunet.planners"],
    package_dir={"magms_nnunet.trainers": "trainers", "magms_nnunet.planners": "planners"},
    cmdclass={"build_py": BuildPyWithPth},
)
