"""What is installed where. Settings of the tools stand in pyproject.toml."""

import re
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (ROOT / "magms_nnunet/__init__.py").read_text()).group(1)
PTH = "zz_magms_nnunet.pth"  # sorts after the .pth of editable installs, which must come first
# One line, as Python demands. It is run at every start, in a virtual environment twice. Without the try, a package that
# cannot be imported (say, an editable install whose checkout has moved) would print two tracebacks each time.
PTH_LINE = (
    r"""import os; exec("try:\n import magms_nnunet.autoload\nexcept Exception as error:\n import warnings\n """
    r"""warnings.warn(f'nnU-Net will not find the classes of magms_nnunet: {error!r}', RuntimeWarning)")"""
)
UNETR = ["monai>=1.5,<1.6"]


class BuildPyWithPth(build_py):
    """Puts the .pth file that lets nnU-Net find us into site-packages, for wheels and for editable installs."""

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
    name="magms_nnunet",
    version=VERSION,
    description="Segmentation from any subset of modalities: MAG-MS as a plug-in of nnU-Net v2",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=[
        "magms_nnunet",
        *(
            f"magms_nnunet.{name}"
            for name in (
                "cli",
                "comparison",
                "cpu",
                "datasets",
                "demo",
                "environment",
                "evaluation",
                "images",
                "inference",
                "losses",
                "metrics",
                "model",
                "networks",
                "nnunet",
                "planners",
                "preprocessing",
                "report",
                "runtime",
                "storage",
                "trainers",
                "training",
            )
        ),
    ],
    package_dir={"magms_nnunet.trainers": "trainers", "magms_nnunet.planners": "planners"},
    install_requires=[
        "torch>=2.6",
        "nnunetv2>=2.8,<3",  # commands, trainers and planners warn of a minor version that is untested
        "batchgenerators>=0.25.1",  # by nnU-Net: trainings here load their data through it, though no module imports it
        "SimpleITK>=2.2.1",
        "numpy>=1.24",
        "safetensors>=0.4",
        # nnU-Net says which versions of these it takes.
        "acvl-utils",
        "dynamic-network-architectures",
        "jinja2",
        "markupsafe",
        "matplotlib",
        "nibabel",
        "pandas",
        "pillow",
        "scipy",
        "tqdm",
    ],
    package_data={"magms_nnunet.report": ["templates/*"], "magms_nnunet.comparison": ["published_tables/*"]},
    extras_require={
        "unetr": UNETR,
        "dev": [*UNETR, "hypothesis", "pytest", "ruff", "build", "setuptools>=68", "wheel"],
    },
    entry_points={
        "console_scripts": [
            "magms_compare=magms_nnunet.cli.compare:main",
            "magms_convert=magms_nnunet.cli.convert:main",
            "magms_doctor=magms_nnunet.cli.doctor:main",
            "magms_export=magms_nnunet.cli.export:main",
            "magms_import=magms_nnunet.cli.import_model:main",
            "magms_subset_dataset=magms_nnunet.cli.subset_dataset:main",
            "magms_evaluate=magms_nnunet.cli.evaluate:main",
            "magms_predict=magms_nnunet.cli.predict:main",
            "magms_demo=magms_nnunet.cli.demo:main",
        ]
    },
    cmdclass={"build_py": BuildPyWithPth},
)
