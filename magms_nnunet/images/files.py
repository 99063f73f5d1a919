"""Reads one image file to its end: completeness, grid and voxels. Voxels are read in parts, to need little memory."""

import gzip
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from magms_nnunet.errors import format_size
from magms_nnunet.images.grid import Grid, is_orthonormal
from magms_nnunet.images.nifti_header import (
    HEADER_BYTES,
    contradicting_forms,
    contradicting_scaling,
    has_form,
    is_finite,
    misnamed,
    simpleitk_scaling,
)

if TYPE_CHECKING:
    import nibabel

Content = TypeVar("Content")
_CHUNK_BYTES = 1 << 20
_SAMPLE = 1 << 16
_ON_THE_GRID = ((0, 4), (40, 112), (120, 124), (252, 348))  # bytes of a NIfTI-1 header; no scaling, no texts
_HEADER_OF = {".nii": ".nii", ".nii.gz": ".nii.gz", ".hdr": ".hdr", ".img": ".hdr", ".img.gz": ".hdr.gz"}
_OTHER_READERS = (".tif", ".tiff", ".png", ".bmp", ".jpg")  # nnU-Net reads them without SimpleITK, and checks them


class ImageFileError(Exception):
    """A file cannot be used. The message follows the file's name: ``is empty (0 bytes): copy it again``."""


@dataclass(frozen=True)
class Voxels:
    """A summary of the voxels of a file, in the units that readers give.

    Attributes:
        nonfinite: number of NaN and infinite voxels. They count as 0 below: SimpleITK reads them so from NIfTI.
        minimum: of all voxels.
        maximum: of all voxels.
        sample: some tens of thousands of values from all over the image, ``(n,)``; all values of a small one.
    """

    nonfinite: int
    minimum: float
    maximum: float
    sample: np.ndarray


def read_image_file(path: Path) -> tuple[Grid, Voxels] | None:
    """Read a file to its end, once; None: its format is none that SimpleITK reads.

    Raises:
        ImageFileError: the file is missing, damaged, shorter than its header says, no image, or not one greyscale
            image with two or three axes at right angles.
    """
    return _opened(path, _read)


def read_header(path: Path, grids: dict[bytes, Grid]) -> Grid | None:
    """Read the grid of a file without its voxels; None: its format is none that SimpleITK reads.

    Args:
        path: of the file.
        grids: bytes of NIfTI headers on the grid -> grid; grids of new headers are added.

    Raises:
        ImageFileError: as :func:`read_image_file`, as far as the header tells.
    """

    def read(path: Path) -> Grid:
        header = _stored_header(path)
        if header is None or not path.name.endswith((".nii", ".nii.gz")):
            return read_grid(path, header)
        on_grid = b"".join(header.binaryblock[start:end] for start, end in _ON_THE_GRID)
        if on_grid not in grids:
            grids[on_grid] = read_grid(path, header)
        return grids[on_grid]

    return _opened(path, read)


def _read(path: Path) -> tuple[Grid, Voxels]:
    if path.name.endswith((".nii", ".nii.gz")):
        return _read_nifti(path)
    return read_grid(path), summarize(read_array(path))


def _opened(path: Path, read: Callable[[Path], Content]) -> Content | None:
    """Call ``read`` on a readable file; None: its format is none that SimpleITK reads."""
    try:
        str(path).encode()  # SimpleITK would end the whole process
        if path.is_dir():  # ITK would print a page on it
            raise ImageFileError("is a folder: give the image file")
        if path.stat().st_size == 0:
            raise ImageFileError("is empty (0 bytes): copy it again")
        return None if path.name.endswith(_OTHER_READERS) else read(path)
    except UnicodeEncodeError as error:
        raise ImageFileError("has a name, or lies in a folder, that is not UTF-8: rename it") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        if problem := misnamed(path):
            raise ImageFileError(problem) from error
        raise ImageFileError(f"is truncated or damaged ({error}): copy it again") from error
    except OSError as error:
        raise ImageFileError(f"cannot be read ({error.strerror or error})") from error


def read_array(path: Path) -> np.ndarray:
    """Read all voxels, ``(z, y, x)``, with SimpleITK.

    Raises:
        ImageFileError: they cannot be read.
    """
    import SimpleITK as sitk

    try:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError as error:
        raise ImageFileError("is truncated or damaged (SimpleITK cannot read its voxels): copy it again") from error


def summarize(voxels: np.ndarray) -> Voxels:
    """Summarise an array of any shape."""
    return _summarize(iter([voxels.reshape(-1)]), _stride(voxels.shape), 1, 0)


def _read_nifti(path: Path) -> tuple[Grid, Voxels]:
    """Read the header, then all bytes; SimpleITK would read missing ones as zeros, NaN and infinity as 0."""
    header = _stored_header(path)
    if header is None:
        raise _no_nifti(path)
    corrected = header.copy()
    slope, inter = simpleitk_scaling(header)
    corrected["scl_slope"], corrected["scl_inter"] = slope, inter
    try:
        corrected.check_fix()
        shape, dtype, offset = corrected.get_data_shape(), corrected.get_data_dtype(), corrected.get_data_offset()
    except Exception as error:  # nibabel has many of its own
        raise _unreadable(path, error) from error
    if dtype.kind not in "iuf" or min(shape, default=0) < 1:
        _read_to_the_end(path)
        read_grid(path, header)
        raise ImageFileError(f"holds {format_size(shape)} values of type {dtype}: give a greyscale image")
    count = math.prod(shape)
    with _open(path) as stream:
        skipped = _skip(stream, offset)
        chunks = _Chunks(stream, dtype, count)
        voxels = _summarize(iter(chunks), _stride(shape), slope, inter)
        chunks.finish()
    length, needed = skipped + chunks.bytes, offset + count * dtype.itemsize
    grid = read_grid(path, header)
    if length < needed:
        raise ImageFileError(f"is shorter than its header says ({length} of {needed} bytes): copy it again")
    if problem := contradicting_scaling(header):
        raise ImageFileError(problem)
    return grid, voxels


def _no_nifti(path: Path) -> ImageFileError:
    """Return the error for a file that is named like a NIfTI image and has no header of one."""
    import nibabel

    if problem := misnamed(path):
        return ImageFileError(problem)
    try:
        image = nibabel.load(path)
    except Exception as error:
        return _unreadable(path, error)
    if isinstance(image, nibabel.Nifti2Image):
        return ImageFileError("is NIfTI-2, which SimpleITK, and so nnU-Net, does not read: save it as NIfTI-1")
    return ImageFileError(f"is a {type(image).__name__}, not a NIfTI image: export it again")


def _unreadable(path: Path, error: Exception) -> ImageFileError:
    _read_to_the_end(path)  # the damage, if there is any, explains more than what follows from it
    read_grid(path)
    return ImageFileError(f"has a NIfTI header that cannot be read ({_first_line(error)})")


class _Chunks:
    """The voxels of a stream, in parts; ``bytes`` counts those that have been read."""

    def __init__(self, stream: BufferedIOBase, dtype: np.dtype, count: int):
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
        """Read the rest, up to the checksum."""
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
            sample.append(chunk[-position % stride :: stride].copy())  # a view would keep the whole chunk in memory
        position += size
    with np.errstate(over="ignore", invalid="ignore"):  # in a damaged file these may be any numbers
        scaled = np.array(ends or [0], np.float64) * slope + inter
        values = np.concatenate(sample).astype(np.float64) * slope + inter if sample else np.zeros(0)
    return Voxels(nonfinite, float(scaled.min()), float(scaled.max()), values)


def _stride(shape: tuple[int, ...]) -> int:
    """Return the sampling stride: without a common divisor with an axis, which would sample a few columns only."""
    stride = max(1, math.prod(shape) // _SAMPLE)
    while stride > 1 and any(math.gcd(stride, n) > 1 for n in shape if n > 1):
        stride += 1
    return stride


def _open(path: Path) -> BufferedIOBase:
    return gzip.open(path) if path.name.endswith(".gz") else open(path, "rb")


def _skip(stream: BufferedIOBase, length: int) -> int:
    done = 0
    while done < length and (chunk := stream.read(min(_CHUNK_BYTES, length - done))):
        done += len(chunk)
    return done


def _read_to_the_end(path: Path) -> None:
    with _open(path) as stream:
        while stream.read(_CHUNK_BYTES):
            pass


def read_grid(path: Path, header: "nibabel.Nifti1Header | None" = None, *, many: bool = False) -> Grid:
    """Read the grid of an image from its header, by SimpleITK, which nnU-Net reads with.

    Args:
        path: of the image.
        header: of a NIfTI file, as it is stored, if it has been read.
        many: whether a fourth axis is accepted; the grid is that of each of its volumes.

    Raises:
        ImageFileError: the file is no image, or not one greyscale image with two or three axes at right angles.
    """
    import SimpleITK as sitk  # 0.2 s that `--help` need not wait for

    if header is None:
        header = _stored_header(path)
    volume = header is not None and header["dim"][0] in ((3, 4) if many else (3,))
    if volume:
        affine = _affine(header)[:3, :3]
        axes = affine / np.maximum(np.linalg.norm(affine, axis=0), 1e-12)
        if not is_orthonormal(axes):  # where qform and sform differ, SimpleITK would take either
            raise ImageFileError(_oblique(header.get_data_shape(), axes))
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # it would print lines beside our message
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ImageFileError("is not an image that SimpleITK can read: replace it") from error
    size, spacing_mm, origin_mm = reader.GetSize(), reader.GetSpacing(), reader.GetOrigin()
    direction = reader.GetDirection()
    if many and len(size) == 4:
        size, spacing_mm, origin_mm = size[:3], spacing_mm[:3], origin_mm[:3]
        direction = tuple(np.reshape(direction, (4, 4))[:3, :3].ravel().tolist())
    if len(size) not in (2, 3):
        raise ImageFileError(f"is {len(size)}-D ({format_size(size)}): give one 3-D image per modality and file")
    if reader.GetNumberOfComponents() != 1:
        raise ImageFileError(
            f"has {reader.GetNumberOfComponents()} values per voxel ({format_size(size)}; an RGB, complex or vector "
            "image): give a greyscale image"
        )
    grid = Grid(size, spacing_mm, origin_mm, direction)
    if not grid.is_orthonormal:
        raise ImageFileError(_oblique(size, grid.axes))
    if volume and len(size) == 3:
        return replace(grid, forms=contradicting_forms(header, grid), is_placed=has_form(header))
    return grid


def _stored_header(path: Path) -> "nibabel.Nifti1Header | None":
    """Return the header of a NIfTI-1 file with nothing corrected in it; None: it is of another format.

    Raises:
        ImageFileError: the position is no number; SimpleITK may search for the axes of such an image for ever.
    """
    import nibabel

    ending = next((ending for ending in sorted(_HEADER_OF, reverse=True) if path.name.endswith(ending)), None)
    file = path if ending is None else path.with_name(path.name.removesuffix(ending) + _HEADER_OF[ending])
    if ending is None or not file.is_file():
        return None
    try:
        with _open(file) as stream:
            header = nibabel.Nifti1Header(stream.read(HEADER_BYTES), check=False)
    except nibabel.wrapstruct.WrapStructError:
        return None
    if header["sizeof_hdr"] != HEADER_BYTES or header["magic"].item() not in (b"n+1", b"ni1"):
        return None
    if not is_finite(header):
        raise ImageFileError("has a position in its header that is NaN or infinite: export it again")
    return header


def _affine(header: "nibabel.Nifti1Header") -> np.ndarray:
    try:
        return header.get_best_affine()
    except Exception as error:
        raise ImageFileError(f"has a NIfTI header that cannot be read ({_first_line(error)})") from error


def _oblique(size: tuple[int, ...], axes: np.ndarray) -> str:
    cosines = " ".join(f"{value:.3g}" for value in axes.ravel())
    return (
        f"({format_size(size)}) has axes that are not at right angles (direction cosines {cosines}): "
        "resample it to a grid without shear"
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
