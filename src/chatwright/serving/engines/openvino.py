"""OpenVINO GenAI behind the server, over the run's own GGUF (`openvino-genai`)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from chatwright.errors import UserError
from chatwright.generation.continuous.contract import Ask
from chatwright.generation.text import TextModel
from chatwright.serving.engines.contract import Ability, EngineOptions
from chatwright.serving.engines.gguf import export
from chatwright.serving.engines.serial import Emit, SerialEngine

# Its reader of GGUF takes no bf16.
_KINDS = {"int8": "q8_0", "int4": "q4_0", "bf16": "f16", "float32": "f32"}


class OpenVinoEngine(SerialEngine):
    """OpenVINO GenAI over the exported GGUF file: one reply at a time."""

    abilities: frozenset[Ability] = frozenset({"penalties"})

    def __init__(self, text: TextModel, directory: Path, options: EngineOptions) -> None:
        try:
            import openvino
            import openvino_genai
        except ImportError:
            raise UserError(
                "engine=openvino needs openvino-genai; install it with `pip install chatwright[openvino]`"
            ) from None
        self._openvino, self._genai = openvino, openvino_genai
        shape = text.model.options
        # the pipeline reads from the file for as long as it lives
        self._place = tempfile.TemporaryDirectory(prefix="chatwright-")
        file = export(directory, Path(self._place.name), _KINDS[options.weights])
        settings = {} if options.threads is None else {"INFERENCE_NUM_THREADS": options.threads}
        self._pipeline: Any = openvino_genai.LLMPipeline(str(file), "CPU", **settings)
        super().__init__(
            min(options.context or shape.context, shape.context), shape.vocab_size, options.queue
        )

    def write(self, ask: Ask, emit: Emit) -> None:
        """See `SerialEngine.write`."""
        config, sampling = self._genai.GenerationConfig(), ask.sampling
        config.max_new_tokens = sampling.max_new_tokens
        config.ignore_eos = True
        config.do_sample = not sampling.is_greedy
        config.repetition_penalty = sampling.repetition_penalty
        config.presence_penalty, config.frequency_penalty = ask.presence_penalty, ask.frequency_penalty
        if config.do_sample:
            config.temperature, config.top_p = sampling.temperature, sampling.top_p
            config.top_k = sampling.top_k or self.vocab_size
            if sampling.seed is not None:
                config.rng_seed = (sampling.seed + ask.row) % 2**32
        ids_1T = np.array([list(ask.prompt)], dtype=np.int64)
        inputs = self._genai.TokenizedInputs(
            self._openvino.Tensor(ids_1T), self._openvino.Tensor(np.ones_like(ids_1T))
        )
        self._pipeline.generate(inputs, config, self._streamer(emit))

    def _streamer(self, emit: Emit) -> Any:
        status = self._genai.StreamingStatus

        class Streamer(self._genai.StreamerBase):  # type: ignore[misc, name-defined]
            """Gives each token on, as OpenVINO has written it."""

            def write(self, tokens: int | list[int]) -> Any:
                given = [tokens] if isinstance(tokens, int) else tokens
                going = all(emit(int(token)) for token in given)
                return status.RUNNING if going else status.STOP

            def end(self) -> None:
                """Nothing is held back."""

        return Streamer()

    def close(self, drain: float) -> None:
        """See `Engine.close`."""
        super().close(drain)
        self._place.cleanup()
