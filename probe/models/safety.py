"""What a model directory may not ask for: code of its own, files outside it, another model in its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from probe.errors import UnsafeError

# A key that makes transformers or peft import a module that the directory names.
CODE_KEYS = ("auto_map", "custom_pipelines", "custom_generate", "megatron_config")
# Where these name a repository ("owner/kernels"), transformers fetches its code and runs it.
KERNEL_KEYS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")


def refuse_code(path: Path) -> None:
    """Refuse a directory of which loading would run code or read elsewhere; nothing in it is loaded for that.

    Raises:
        UnsafeError: a configuration that names code (``auto_map`` and its like), an index that names shards outside,
            a link that leads outside, a pipe or device.
    """
    root = path.resolve()
    for file in sorted(path.iterdir()):
        if file.is_symlink() and not link_stays_inside(file, root):
            raise UnsafeError(f"{file} is a link that leads outside {path}; refused.")
        if not (file.is_file() or file.is_dir() or file.is_symlink()):
            raise UnsafeError(f"{file} is neither a file nor a directory; opening it could wait for ever. Refused.")
        if file.name.endswith(".index.json"):
            _refuse_shards_elsewhere(file)
        elif file.suffix == ".json" and "config" in file.name:  # tokenizer.json and vocab.json are data, and large
            for key, value in _items(_read(file)):
                if (key in CODE_KEYS and value) or (key in KERNEL_KEYS and "/" in str(value)):
                    raise UnsafeError(f"{file} has {key!r}: it asks for code of its own to be run; refused.")


def refuse_adapter(path: Path) -> None:
    """Refuse a model directory with an adapter in it: transformers would load the base model that the adapter names."""
    if (path / "adapter_config.json").exists():
        raise UnsafeError(
            f"{path} has an adapter_config.json, by which another model would be loaded in its place; refused. "
            "Merge the adapter into its model first (probe import-reference --lora does)."
        )


def link_stays_inside(file: Path, root: Path) -> bool:
    """A hub snapshot links into the blobs folder two levels up; anything else must stay inside its directory."""
    target, hub = file.resolve(), root.parent
    return target.is_relative_to(root) or (hub.name == "snapshots" and target.is_relative_to(hub.parent))


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
