"""What a model directory may not ask for: code of its own, files outside it, another model in its place."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from probe.errors import UnsafeError

# A key that makes transformers or peft import a module that the directory names.
CODE_KEYS = ("auto_map", "custom_pipelines", "custom_generate", "megatron_config")
# Where these name a repository ("owner/kernels"), transformers fetches its code and runs it.
KERNEL_KEYS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")


# A key of a tokenizer's configuration that names a file (vocab_file, tokenizer_file, spm_file, …) ends so.
FILE_KEY = "_file"


def refuse_code(path: Path) -> None:
    """Refuse a directory of which loading would run code or read elsewhere; nothing in it is loaded for that.

    The whole tree is walked: transformers looks into folders of a model too (``additional_chat_templates/*.jinja`` is
    read, and written again beside whatever is trained from it).

    Raises:
        UnsafeError: a configuration that names code (``auto_map`` and its like) or a file outside, an index that names
            shards outside, a link that leads outside or back to itself, a pipe or device.
    """
    root = path.resolve()
    for file in _whole_tree(path):
        if file.is_symlink():
            refuse_link(file, path, root)
        elif not (file.is_file() or file.is_dir()):
            raise UnsafeError(f"{file} is neither a file nor a directory; opening it could wait for ever. Refused.")
        if file.name.endswith(".index.json"):
            _refuse_shards_elsewhere(file)
        elif file.suffix == ".json" and "config" in file.name:  # tokenizer.json and vocab.json are data, and large
            _refuse_settings(file, root)


def _whole_tree(path: Path) -> Iterator[Path]:
    """Everything under ``path``, in order; no link is followed."""
    for folder, folders, files in os.walk(path, followlinks=False):
        folders.sort()
        yield from (Path(folder, name) for name in sorted([*folders, *files]))


def refuse_link(file: Path, path: Path, root: Path) -> None:
    """Refuse a link that leads out of ``root`` (which ``path`` resolves to), to itself, or to a folder it lies in."""
    try:
        target = file.resolve(strict=True)
    except FileNotFoundError:
        target = Path(os.path.realpath(file))  # nothing is there yet; where would it be?
    except (OSError, RuntimeError) as error:  # Python below 3.13 raises RuntimeError for a loop
        raise UnsafeError(f"{file} is a link that leads back to itself; refused. Remove it.") from error
    if not _stays_inside(target, root):
        raise UnsafeError(f"{file} is a link that leads outside {path}; refused.")
    if file.parent.resolve().is_relative_to(target):
        raise UnsafeError(f"{file} is a link to a folder that it lies in, which has no end; refused. Remove it.")


def _refuse_settings(file: Path, root: Path) -> None:
    for key, value in _items(_read(file)):
        if (key in CODE_KEYS and value) or (key in KERNEL_KEYS and "/" in str(value)):
            raise UnsafeError(f"{file} has {key!r}: it asks for code of its own to be run; refused.")
        # A path of the machine that the model was made on is common, and harmless where nothing lies there.
        if key.endswith(FILE_KEY) and isinstance(value, str) and _leads_out(file.parent / value, root):
            raise UnsafeError(f"{file} has {key!r}: {value!r}, a file outside of its directory; refused.")


def _leads_out(place: Path, root: Path) -> bool:
    try:
        return os.path.lexists(place) and not _stays_inside(Path(os.path.realpath(place)), root)
    except ValueError:  # a NUL in the name
        return False


def refuse_adapter(path: Path) -> None:
    """Refuse a model directory with an adapter in it: transformers would load the base model that the adapter names."""
    if (path / "adapter_config.json").exists():
        raise UnsafeError(
            f"{path} has an adapter_config.json, by which another model would be loaded in its place; refused. "
            "Merge the adapter into its model first (probe import-reference --lora does)."
        )


def _stays_inside(target: Path, root: Path) -> bool:
    """A hub snapshot links into the blobs folder two levels up; anything else must stay inside its directory."""
    hub = root.parent
    return target.is_relative_to(root) or (hub.name == "snapshots" and target.is_relative_to(hub.parent / "blobs"))


def _refuse_shards_elsewhere(file: Path) -> None:
    weight_map = dict(_items(_read(file))).get("weight_map")
    for name in sorted(map(str, weight_map.values())) if isinstance(weight_map, dict) else []:
        if Path(name).name != name or name in ("", ".", ".."):
            raise UnsafeError(f"{file} names the shard {name!r}, which is not a file of its own directory; refused.")


def _read(file: Path) -> Any:
    """A JSON file's content, or None where it is none; its reader will say what is wrong with it."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError):
        return None


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value of nested objects and lists."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield from one.items()
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
