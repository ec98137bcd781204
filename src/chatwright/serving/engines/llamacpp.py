"""llama.cpp behind the server, over the run's own GGUF (`llama-cpp-python`)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from chatwright.errors import UserError
from chatwright.generation.continuous.contract import Ask, Constraint
from chatwright.generation.text import TextModel
from chatwright.serving.engines.contract import Ability, EngineOptions
from chatwright.serving.engines.gguf import export
from chatwright.serving.engines.serial import Emit, SerialEngine

_KINDS = {"int8": "q8_0", "int4": "q4_0", "bf16": "bf16", "float32": "f32"}


class LlamaCppEngine(SerialEngine):
    """One reply at a time; the beginning that a prompt shares with the one before is not computed again."""

    abilities: frozenset[Ability] = frozenset({"constraint", "penalties", "bias"})

    def __init__(self, text: TextModel, directory: Path, options: EngineOptions) -> None:
        try:
            from llama_cpp import Llama
        except ImportError:
            raise UserError(
                "engine=llamacpp needs llama-cpp-python; install it with `pip install chatwright[llamacpp]`"
            ) from None
        shape = text.model.options
        context = min(options.context or shape.context, shape.context)
        with tempfile.TemporaryDirectory(prefix="chatwright-") as place:
            file = export(directory, Path(place), _KINDS[options.weights])
            # the file is mapped or read here, and may go when the model is there
            self._llama: Any = Llama(
                model_path=str(file),
                n_ctx=context,
                n_threads=options.threads,
                use_mmap=False,
                verbose=False,
            )
        super().__init__(context, shape.vocab_size, options.queue)

    def write(self, ask: Ask, emit: Emit) -> None:
        """See `SerialEngine.write`."""
        sampling = ask.sampling
        if sampling.seed is not None:
            self._llama.set_seed((sampling.seed + ask.row) % 2**32)
        tokens = self._llama.generate(
            list(ask.prompt),
            temp=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            min_p=sampling.min_p,
            repeat_penalty=sampling.repetition_penalty,
            presence_penalty=ask.presence_penalty,
            frequency_penalty=ask.frequency_penalty,
            logits_processor=[_Changes(ask)],
        )
        for token in tokens:
            if not emit(int(token)):
                return
            if ask.constraint is not None:
                ask.constraint.accept(int(token))


class _Changes:
    """What is done to the logits before llama.cpp samples: bans, biases, the constraint."""

    def __init__(self, ask: Ask) -> None:
        self._banned = sorted(ask.vocabulary.banned)
        self._bias, self._constraint = dict(ask.logit_bias), ask.constraint

    def __call__(self, ids: Any, scores_V: Any) -> Any:
        scores_V = np.array(scores_V)
        scores_V[[token for token in self._banned if token < len(scores_V)]] = -np.inf
        for token, value in self._bias.items():
            scores_V[token] += value
        if self._constraint is not None:
            scores_V[~_mask(self._constraint, len(scores_V))] = -np.inf
        return scores_V


def _mask(constraint: Constraint, size: int) -> Any:
    allowed = constraint.allowed()
    return np.ones(size, dtype=bool) if allowed is None else allowed.numpy()[:size]
