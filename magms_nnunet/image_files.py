"""One image file: is it whole, where do its voxels lie, what do they hold. Never more of it in memory than must be."""

import gzip
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from magms_nnunet.geometry import Grid, is_orthonormal, times

if TYPE_CHECKING:
    import nibabel

_CHUNK_BYTES = 1 << 20
_SAMPLE = 1 << 16
_QFORM = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
_OTHER_READERS = (".tif", ".tiff", ".png", ".bmp", ".jpg")  # nnU-Net reads them without SimpleITK, and checks them


class ImageFileError(Exception):
    """A file cannot be used. The message goes on where the file's name ends: ``is empty (0 bytes): copy it again``."""


@dataclass(frozen=True)
class Voxels:
    """What the voxels of a file hold, in the units that readers give.

    Attributes:
        nonfinite: how many are NaN or infinite. They count as 0 below: SimpleITK reads them so from NIfTI.
        minimum: of all; ``maximum``: of all.
        sample: some tens of thousands of values from all over the image, ``(n,)``; all of a small one.
    """

    nonfinite: int
    minimum: float
    maximum: float
    sample: np.ndarray


def read_image_file(path: Path) -> tuple[Grid, Voxels] | None:
    """Read a file to its end, once. None: of a format that SimpleITK does not read.

    Raises:
        ImageFileError: it is missing, damaged, shorter than its header says, no image, or not one greyscale image with
            two or three axes at right angles.
    """
    try:
        str(path).encode()  # SimpleITK would end the whole process
        if path.stat().st_size == 0:
            raise ImageFileError("is empty (0 bytes): copy it again")
        if path.name.endswith(_OTHER_READERS):
            return None
        if path.name.endswith((".nii", ".nii.gz")):
            return _read_nifti(path)
        return read_grid(path), summarize(read_array(path))
    except UnicodeEncodeError as error:
        raise ImageFileError("has a name, or lies in a folder, that is not UTF-8: rename it") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ImageFileError(f"is truncated or damaged ({error}): copy it again") from error
    except OSError as error:
        raise ImageFileError(f"cannot be read ({error.strerror or error})") from error


def read_array(path: Path) -> np.ndarray:
    """All voxels, ``(z, y, x)``, by SimpleITK.

    Raises:
        ImageFileError: they cannot be read.
    """
    import SimpleITK as sitk

    try:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError as error:
        raise ImageFileError("is truncated or damaged (SimpleITK cannot read its voxels): copy it again") from error


def summarize(voxels: np.ndarray) -> Voxels:
    """Of an array in memory, of any shape."""
    return _summarize(iter([voxels.reshape(-1)]), _stride(voxels.shape), 1, 0)


def _read_nifti(path: Path) -> tuple[Grid, Voxels]:
    """The header, then all bytes; SimpleITK would read missing ones as zeros, NaN and infinity as 0."""
    import nibabel

    try:
        image = nibabel.load(path)
    except Exception as error:  # it has many of its own
        _read_to_the_end(path)  # the damage, if there is any, explains more than what follows from it
        read_grid(path)
        raise ImageFileError(f"has a NIfTI header that cannot be read ({_first_line(error)})") from error
    if not isinstance(image, nibabel.Nifti1Pair):
        raise ImageFileError(f"is a {type(image).__name__}, not a NIfTI image: export it again")
    if not _is_finite(path, type(image.header)):  # SimpleITK may look for the axes of such an image for ever
        raise ImageFileError("has a position in its header that is NaN or infinite: export it again")
    stored = image.dataobj
    if stored.dtype.kind not in "iuf" or min(stored.shape) < 1:
        _read_to_the_end(path)
        read_grid(path)
        raise ImageFileError(f"holds {times(stored.shape)} values of type {stored.dtype}: give a greyscale image")
    count = math.prod(stored.shape)
    with _open(path) as stream:
        skipped = _skip(stream, stored.offset)
        chunks = _Chunks(stream, stored.dtype, count)
        voxels = _summarize(iter(chunks), _stride(stored.shape), stored.slope, stored.inter)
        chunks.finish()
    length, needed = skipped + chunks.bytes, stored.offset + count * stored.dtype.itemsize
    grid = read_grid(path, image)
    if length < needed:
        raise ImageFileError(f"is shorter than its header says ({length} of {needed} bytes): copy it again")
    return grid, voxels


class _Chunks:
    """The voxels of a stream, some at a time; ``bytes`` counts what has been read."""

    def __init__(self, stream: BinaryIO, dtype: np.dtype, count: int):
        self.stream, self.dtype, self.left, self.bytes = stream, dtype, count, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        while self.left and (chunk := self.stream.read(min(_CHUNK_BYTES, self.left * self.dtype.itemsize))):
            self.bytes += len(chunk)
            whole = len(chunk) // self.dtype.itemsize
            self.left -= whole
            yield np.frombuffer(chunk, self.dtype, whole)
            if len(chunk) % self.dtype.itemsize:
                return

    def finish(self) -> None:
        """Read on to the checksum."""
        while self.stream.read(_CHUNK_BYTES):
            pass


def _summarize(chunks: Iterator[np.ndarray], stride: int, slope: float, inter: float) -> Voxels:
    nonfinite, position, ends, sample = 0, 0, [], []
    for chunk in chunks:
        size = chunk.size
        if chunk.dtype.kind == "f":
            finite = np.isfinite(chunk)
            if not finite.all():
                nonfinite += size - np.count_nonzero(finite)
                chunk = np.where(finite, chunk, 0)
        if size:
            ends += [chunk.min(), chunk.max()]
            sample.append(chunk[-position % stride :: stride])
        position += size
    with np.errstate(over="ignore", invalid="ignore"):  # in a damaged file these may be any numbers
        scaled = np.array(ends or [0], np.float64) * slope + inter
        values = np.concatenate(sample).astype(np.float64) * slope + inter if sample else np.zeros(0)
    return Voxels(nonfinite, float(scaled.min()), float(scaled.max()), values)


def _stride(shape: tuple[int, ...]) -> int:
    """Every how manieth voxel is sampled; no common divisor with an axis, which would sample a few columns only."""
    stride = max(1, math.prod(shape) // _SAMPLE)
    while stride > 1 and any(math.gcd(stride, n) > 1 for n in shape if n > 1):
        stride += 1
    return stride


def _open(path: Path) -> BinaryIO:
    return gzip.open(path) if path.name.endswith(".gz") else open(path, "rb")


def _skip(stream: BinaryIO, length: int) -> int:
    done = 0
    while done < length and (chunk := stream.read(min(_CHUNK_BYTES, length - done))):
        done += len(chunk)
    return done


def _read_to_the_end(path: Path) -> None:
    with _open(path) as stream:
        while stream.read(_CHUNK_BYTES):
            pass


def read_grid(path: Path, nifti: "nibabel.Nifti1Pair | None" = None) -> Grid:
    """From the header, by SimpleITK, which nnU-Net reads with; ``nifti``: what nibabel read of it.

    Raises:
        ImageFileError: no image, or not one greyscale image with two or three axes at right angles.
    """
    import SimpleITK as sitk  # 0.2 s that `--help` need not wait for

    if nifti is not None and len(nifti.shape) == 3:
        axes = nifti.affine[:3, :3] / np.maximum(np.linalg.norm(nifti.affine[:3, :3], axis=0), 1e-12)
        if not is_orthonormal(axes):  # where qform and sform differ, SimpleITK would take the one that it likes
            raise ImageFileError(_oblique(nifti.shape, axes))
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ImageFileError("is not an image that SimpleITK can read: replace it") from error
    size = reader.GetSize()
    if len(size) not in (2, 3):
        raise ImageFileError(f"is {len(size)}-D ({times(size)}): give one 3-D image per modality and file")
    if reader.GetNumberOfComponents() != 1:
        raise ImageFileError(
            f"has {reader.GetNumberOfComponents()} values per voxel ({times(size)}; an RGB, complex or vector image): "
            "give a greyscale image"
        )
    grid = Grid(size, reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())
    if not grid.is_orthonormal:
        raise ImageFileError(_oblique(size, grid.axes))
    return grid


def _is_finite(path: Path, header_class: "type[nibabel.Nifti1Header]") -> bool:
    """Whether the matrices in the header that say where the image lies hold numbers only.

    In the header as it is stored: nibabel takes a matrix of an unknown kind for none, SimpleITK does not.
    """
    with _open(path) as stream:
        header = header_class.from_fileobj(stream, check=False)
    sform = [header[f"srow_{axis}"] for axis in "xyz"] if header["sform_code"] else []
    qform = [header[part] for part in _QFORM] if header["qform_code"] else []
    return all(np.isfinite(values).all() for values in (*sform, *qform))


def _oblique(size: tuple[int, ...], axes: np.ndarray) -> str:
    cosines = " ".join(f"{value:.3g}" for value in axes.ravel())
    return (
        f"({times(size)}) has axes that are not at right angles (direction cosines {cosines}): "
        "resample it to a grid without shear"
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
