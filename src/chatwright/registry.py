"""Names to things: every model, objective, optimizer, schedule, corpus source and verb, looked up when used.

A table maps a name to `"module:attribute"`, so that listing names imports nothing. A plug-in adds its own by an
entry point of the group `chatwright.<kind>`, for example `chatwright.objective`.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from chatwright.errors import UserError, did_you_mean

TABLES: dict[str, dict[str, str]] = {
    "verb": {
        "quickstart": "chatwright.recipes.first_run.quickstart:quickstart",
        "corpus": "chatwright.recipes.text.corpus:corpus",
        "corpus-explain": "chatwright.recipes.text.corpus_explain:corpus_explain",
        "questions": "chatwright.recipes.text.questions:questions",
        "augment": "chatwright.recipes.text.augment:augment",
        "tokenizer": "chatwright.recipes.text.tokenizer:tokenizer",
        "tokenizer-show": "chatwright.recipes.text.tokenizer_show:tokenizer_show",
        "pretrain": "chatwright.recipes.pretrain:pretrain",
        "sft": "chatwright.recipes.sft:sft",
        "reward": "chatwright.recipes.alignment.reward:reward",
        "ppo": "chatwright.recipes.alignment.ppo:ppo",
        "grpo": "chatwright.recipes.alignment.grpo:grpo",
        "rloo": "chatwright.recipes.alignment.grpo:rloo",
        "dpo": "chatwright.recipes.alignment.direct.preference:dpo",
        "kto": "chatwright.recipes.alignment.direct.preference:kto",
        "orpo": "chatwright.recipes.alignment.direct.preference:orpo",
        "simpo": "chatwright.recipes.alignment.direct.preference:simpo",
        "distill": "chatwright.recipes.alignment.distill:distill",
        "best-of-n": "chatwright.recipes.alignment.best_of_n:best_of_n",
        "align": "chatwright.recipes.alignment.loop.align:align",
        "score": "chatwright.recipes.alignment.score:score",
        "import": "chatwright.recipes.foreign.import_model:import_model",
        "export": "chatwright.recipes.foreign.export:export",
        "generate": "chatwright.recipes.generate:generate",
        "fill": "chatwright.recipes.fill:fill",
        "embed": "chatwright.recipes.embed:write_embeddings",
        "translate": "chatwright.recipes.translate:translate",
        "chat": "chatwright.recipes.chat:chat",
        "serve": "chatwright.recipes.serve:serve",
        "votes": "chatwright.recipes.votes:votes",
        "show": "chatwright.recipes.show:show",
        "list": "chatwright.recipes.list:list_names",
    },
    "corpus_source": {
        "python": "chatwright.corpora.reading.python_docs:documents",
        "hf": "chatwright.corpora.reading.hub:HUGGING_FACE",
        "modelscope": "chatwright.corpora.reading.hub:MODELSCOPE",
    },
    "corpus_operator": {
        "clean": "chatwright.corpora.operators.clean:Clean",
        "language": "chatwright.corpora.operators.language:Language",
        "quality": "chatwright.corpora.operators.quality.operator:Quality",
        "classifier": "chatwright.corpora.operators.classifier:Classifier",
        "personal": "chatwright.corpora.operators.personal:Personal",
        "toxicity": "chatwright.corpora.operators.toxicity:Toxicity",
        "exact": "chatwright.corpora.operators.exact:Exact",
        "near": "chatwright.corpora.operators.near:Near",
        "paragraphs": "chatwright.corpora.operators.paragraphs:Paragraphs",
        "decontaminate": "chatwright.corpora.operators.decontaminate:Decontaminate",
        "sentences": "chatwright.corpora.operators.sentences:Sentences",
    },
    "model": {
        "gpt1": "chatwright.models.family.gpt1:GPT1",
        "gpt2": "chatwright.models.family.gpt2:GPT2",
        "gpt3": "chatwright.models.family.gpt3:GPT3",
        "llama": "chatwright.models.family.llama:LLAMA",
        "qwen2": "chatwright.models.family.qwen2:QWEN2",
        "qwen3": "chatwright.models.family.qwen3:QWEN3",
        "bert": "chatwright.models.family.bert:BERT",
        "qwen3-moe": "chatwright.models.family.qwen3_moe:QWEN3_MOE",
        "transformer": "chatwright.models.family.transformer:TRANSFORMER",
        "xlnet": "chatwright.models.family.xlnet:XLNET",
    },
    "objective": {
        "causal": "chatwright.objectives.causal:Causal",
        "chat": "chatwright.objectives.chat:SupervisedChat",
        "pairwise": "chatwright.objectives.reward:PairwiseReward",
        "policy": "chatwright.objectives.policy:ClippedPolicy",
        "ppo": "chatwright.objectives.ppo:PPO",
        "dpo": "chatwright.objectives.preference:DPO",
        "kto": "chatwright.objectives.kto:KTO",
        "orpo": "chatwright.objectives.orpo:ORPO",
        "simpo": "chatwright.objectives.simpo:SimPO",
        "distill": "chatwright.objectives.distill:Distill",
        "masked": "chatwright.objectives.pretraining.masked:Masked",
        "next_sentence": "chatwright.objectives.pretraining.next_sentence:NextSentence",
        "sentence_order": "chatwright.objectives.pretraining.sentence_order:SentenceOrder",
        "position": "chatwright.objectives.pretraining.position:Position",
        "replaced_token": "chatwright.objectives.pretraining.replaced_token:ReplacedToken",
        "contrastive": "chatwright.objectives.pretraining.contrastive:Contrastive",
        "similarity": "chatwright.objectives.pretraining.similarity:Similarity",
        "mixture": "chatwright.objectives.pretraining.mixture:Mixture",
        "seq2seq": "chatwright.objectives.seq2seq:Seq2Seq",
        "span_denoising": "chatwright.objectives.span_denoising:SpanDenoising",
        "permutation": "chatwright.objectives.permutation:Permutation",
    },
    "judge": {
        "function": "chatwright.rewards.judges:FunctionJudge",
        "endpoint": "chatwright.rewards.endpoint:EndpointJudge",
        "people": "chatwright.rewards.people:PeopleJudge",
        "votes": "chatwright.serving.votes.judge:VotesJudge",
    },
    "reward": {
        "exact": "chatwright.rewards.verifiable:Exact",
        "number": "chatwright.rewards.verifiable:Number",
        "regex": "chatwright.rewards.verifiable:Regex",
        "json_schema": "chatwright.rewards.verifiable:JsonSchema",
        "length": "chatwright.rewards.verifiable:Length",
        "function": "chatwright.rewards.function:Function",
    },
    "engine": {
        "own": "chatwright.serving.engines.own:OwnEngine",
        "llamacpp": "chatwright.serving.engines.llamacpp:LlamaCppEngine",
        "openvino": "chatwright.serving.engines.openvino:OpenVinoEngine",
    },
    "optimizer": {
        "adamw": "chatwright.optim.adamw:AdamW",
        "muon": "chatwright.optim.muon:Muon",
    },
    "schedule": {
        "wsd": "chatwright.optim.schedules:WarmupStableDecay",
        "cosine": "chatwright.optim.schedules:Cosine",
        "constant": "chatwright.optim.schedules:Constant",
    },
}


def kinds() -> list[str]:
    """The kinds of thing that have names."""
    return list(TABLES)


@cache
def table(kind: str) -> dict[str, str]:
    """All names of one kind, ours and the plug-ins', each with its `module:attribute`."""
    if kind not in TABLES:
        raise UserError(f"there is no kind of thing called {kind!r}{did_you_mean(kind, TABLES)}")
    plugins = {point.name: point.value for point in entry_points(group=f"chatwright.{kind}")}
    return {**plugins, **TABLES[kind]}


def lookup(kind: str, name: str) -> Any:
    """The thing of that kind and name, imported now; an unknown name answers with the nearest one."""
    known = table(kind)
    if name not in known:
        raise UserError(f"unknown {kind.replace('_', ' ')} {name!r}{did_you_mean(name, known)}")
    module, _, attribute = known[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
