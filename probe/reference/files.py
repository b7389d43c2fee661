"""Files of ``torch.save``: the one place of this library that unpickles, with ``weights_only`` and after a look inside.

Only `probe import-reference` comes here (a test holds this): the public training code saves its projectors this way,
and by default its models and adapters.
"""

from __future__ import annotations

import math
import pickle
import re
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from probe.errors import DamagedError, NonFiniteError, UnsafeError

MOST_PICKLE = 2**26  # bytes of the pickle inside; it describes tensors, and the largest models need 1 MB


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file, or of a file of ``torch.save``, by name.

    Raises:
        DamagedError: no such file, a damaged one, or one that holds something else than named tensors.
        UnsafeError: it would run code, reach outside its directory, or unfold to more than its size.
        NonFiniteError: NaN or infinity in a tensor.
    """
    if not path.is_file():
        raise DamagedError(
            f"wanted a file of tensors, but {path} is {'a directory' if path.is_dir() else 'not there'}."
        )
    if not path.resolve().is_relative_to(path.parent.resolve()):
        raise UnsafeError(f"{path} is a link that leads outside its directory; refused.")
    if path.suffix == ".safetensors":
        try:
            state = load_file(path)
        except (SafetensorError, OSError) as error:
            raise DamagedError(f"{path} is not a readable safetensors file ({error}); it is damaged.") from error
    else:
        _look_inside(path)
        state = _checked(path, _unpickle(path))
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise NonFiniteError(f"{path}: the tensor {name} holds NaN or infinity; no checkpoint can come from it.")
    return state


def _look_inside(path: Path) -> None:
    """Refuse what ``torch.save`` does not write: a bare pickle, compressed or overlapping entries, a huge pickle."""
    with open(path, "rb") as file:
        start = file.read(2)
    if start[:1] == b"\x80":
        raise UnsafeError(
            f"{path} is a bare pickle, which can execute code (torch wrote such files before version 1.6); refused. "
            "Load and save it again with a newer torch, if you trust it."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise DamagedError(f"{path} is not a file of torch.save ({error}); it is damaged or something else.") from error
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise UnsafeError(
                f"{path}: its part {entry.filename!r} is compressed, which torch.save never does; refused."
            )
        if entry.filename.endswith(".pkl") and entry.file_size > MOST_PICKLE:
            raise UnsafeError(f"{path}: its pickle has {entry.file_size} bytes, wanted at most {MOST_PICKLE}; refused.")
    if (unfolded := sum(entry.file_size for entry in entries)) > path.stat().st_size:
        raise UnsafeError(f"{path} has {path.stat().st_size} bytes but unfolds to {unfolded}; refused.")


def _unpickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)|[Uu]nsupported class ([\w.]+)", str(error))
        named = next(filter(None, wanted.groups())) if wanted else ""
        raise UnsafeError(
            f"{path} holds more than tensors{f' ({named})' if named else ''}: loading it could execute code; refused."
        ) from error
    except Exception as error:  # whatever a damaged archive makes of torch's reader
        raise DamagedError(f"{path} cannot be read ({type(error).__name__}: {_first_line(error)}).") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def _checked(path: Path, found: object) -> dict[str, Tensor]:
    """``found`` as a dictionary of ordinary tensors, each of which is as large as it says."""
    if not isinstance(found, dict) or not found:
        raise DamagedError(f"{path}: wanted a dictionary of named tensors, found {type(found).__name__}.")
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise DamagedError(f"{path}: wanted named tensors, found {type(tensor).__name__} as {str(name)[:60]!r}.")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise DamagedError(f"{path}: wanted ordinary tensors, {name} is sparse, quantised or empty of data.")
        needed, held = math.prod(tensor.shape) * tensor.element_size(), tensor.untyped_storage().nbytes()
        if needed > held:
            raise UnsafeError(f"{path}: {name} would unfold from {held} to {needed} bytes; refused.")
    return dict(found)
