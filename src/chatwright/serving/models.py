"""What is served: runs by name, what each can do, and how far the loading is."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from chatwright.errors import UserError, did_you_mean
from chatwright.generation.constrained import Grammars
from chatwright.generation.embedding import Embedder
from chatwright.generation.engine import Vocabulary
from chatwright.generation.text import TextModel
from chatwright.generation.translation import Translator
from chatwright.models.decoder import DecoderOptions
from chatwright.models.encoder import EncoderOptions
from chatwright.models.encoder_decoder import EncoderDecoderOptions
from chatwright.models.family.architecture import public_architecture
from chatwright.models.interop.directory import read_json
from chatwright.models.interop.files import WEIGHTS, load_model, read_options
from chatwright.models.interop.heads import read_heads
from chatwright.models.interop.weights import reward_heads
from chatwright.registry import lookup
from chatwright.rewards.model import RewardModel
from chatwright.runs import Run
from chatwright.serving.desk import Desk
from chatwright.serving.engines.contract import Engine, EngineOptions
from chatwright.serving.errors import ApiError, unavailable
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.tokenizer import Tokenizer

Ability = Literal["chat", "completion", "embedding", "translation", "score"]
Place = str | Path | Run


@dataclass(frozen=True)
class Known:
    """A run that is going to be served."""

    id: str
    directory: Path
    abilities: tuple[Ability, ...]


class Writer:
    """What writes text: the engine with the tokenizer and, of a chat model, the renderer."""

    def __init__(self, text: TextModel, engine: Engine) -> None:
        self.text, self.engine = text, engine
        self._lock = threading.Lock()

    @property
    def tokenizer(self) -> Tokenizer:
        return self.text.tokenizer

    @property
    def vocabulary(self) -> Vocabulary:
        return self.text.vocabulary

    @property
    def renderer(self) -> Renderer:
        return self.text.chat_renderer()

    @property
    def grammars(self) -> Grammars:
        """What makes constraints; the first call walks the vocabulary."""
        with self._lock:
            return self._grammars

    @cached_property
    def _grammars(self) -> Grammars:
        end = self.tokenizer.eos if self.tokenizer.eos in self.vocabulary.end_ids else None
        chosen = min(self.vocabulary.end_ids) if end is None else end
        return Grammars(self.tokenizer, chosen, self.engine.vocab_size)


class ServedModel:
    """A run that is served. Only the parts of its abilities are there; vectors of a decoder are loaded when asked for."""

    def __init__(self, known: Known, options: EngineOptions) -> None:
        self.id, self.directory, self.abilities = known.id, known.directory, known.abilities
        self.created = int((known.directory / WEIGHTS).stat().st_mtime)
        self.fingerprint = _fingerprint(known.directory)
        self.desk = Desk(options.queue)
        self.writer = _writer(known.directory, options) if "completion" in self.abilities else None
        if self.writer is None:
            # a run that gives vectors alone should be ready when it says so
            _ = self.worker

    @cached_property
    def worker(self) -> Embedder | Translator | RewardModel:
        """What the desk's jobs work with."""
        if "translation" in self.abilities:
            return Translator.load(self.directory)
        if "score" in self.abilities:
            return RewardModel.load(self.directory)
        return Embedder.load(self.directory)

    @property
    def context(self) -> int:
        """The most tokens of a text, or of a prompt and its reply together."""
        if self.writer is not None:
            return self.writer.engine.context
        worker = self.worker
        return worker.longest if isinstance(worker, Embedder) else int(worker.model.options.context)

    @property
    def described(self) -> dict[str, Any]:
        """The model as /v1/models lists it."""
        return {
            "id": self.id,
            "object": "model",
            "created": self.created,
            "owned_by": "chatwright",
            "abilities": list(self.abilities),
            "context": self.context,
        }

    @property
    def alive(self) -> bool:
        """Whether what writes its replies still works."""
        return self.writer is None or self.writer.engine.alive

    def stats(self) -> Mapping[str, float]:
        """What runs and waits."""
        if self.writer is not None:
            return self.writer.engine.stats()
        return {"running": min(1, self.desk.present), "waiting": max(0, self.desk.present - 1)}

    def close(self, drain: float) -> None:
        """Stop, after what runs, for at most `drain` seconds."""
        ends = time.monotonic() + drain
        if self.writer is not None:
            self.writer.engine.close(drain)
        self.desk.close(max(0.0, ends - time.monotonic()))


@dataclass
class Served:
    """All models of one server. `load` takes long and runs beside the server, which answers 503 until it is done."""

    known: Sequence[Known]
    options: EngineOptions = field(default_factory=EngineOptions)
    models: dict[str, ServedModel] = field(default_factory=dict)
    draining: bool = False
    failure: Exception | None = None
    _ends: float | None = None

    @property
    def state(self) -> str:
        """`loading`, `ready`, `draining` or `failed`."""
        if self.draining:
            return "draining"
        if self.failure is not None:
            return "failed"
        if not all(model.alive for model in list(self.models.values())):
            return "failed"
        return "ready" if len(self.models) == len(self.known) else "loading"

    def load(self) -> None:
        """Load every model, one after another, until the server stops."""
        try:
            for known in self.known:
                self.models[known.id] = ServedModel(known, self.options)
                if self.draining:
                    # all may have been closed before this one was there
                    self.close(0.0)
                    return
        except Exception as error:
            self.failure = error
            raise

    def model(self, name: str, ability: Ability) -> ServedModel:
        """The model of that name; refused where there is none, it cannot do that, or is not loaded yet."""
        if self.draining:
            raise unavailable("the server is shutting down")
        found = next((known for known in self.known if known.id == name), None)
        if found is None:
            raise self.unknown(name)
        if ability not in found.abilities:
            able = [known.id for known in self.known if ability in known.abilities]
            others = f"; take {' or '.join(able)}" if able else ""
            message = f"the model {name!r} offers {', '.join(found.abilities)} and not {ability}{others}"
            raise ApiError(400, message, "model", "model_not_able")
        if name not in self.models:
            raise unavailable(f"the model {name!r} is still being loaded")
        return self.models[name]

    def unknown(self, name: str) -> ApiError:
        """The refusal of a name that no model has."""
        hint = did_you_mean(name, [known.id for known in self.known])
        return ApiError(404, f"there is no model {name!r}{hint}", "model", "model_not_found")

    def able(self, ability: Ability) -> list[ServedModel]:
        """The loaded models that can do that."""
        return [model for model in self.models.values() if ability in model.abilities]

    def close(self, drain: float) -> None:
        """Close every model; `drain` seconds from the first call are for all of them together."""
        self.draining = True
        self._ends = self._ends or time.monotonic() + drain
        for model in list(self.models.values()):
            model.close(max(0.0, self._ends - time.monotonic()))


def find_runs(places: Sequence[Place]) -> list[Known]:
    """The runs to serve with their names and abilities, before anything is loaded; what cannot be served is refused."""
    directories = [place.directory if isinstance(place, Run) else Path(place) for place in places]
    abilities = [abilities_of(directory) for directory in directories]
    names = distinct_names(directories)
    return [
        Known(name, directory, able)
        for name, directory, able in zip(names, directories, abilities, strict=True)
    ]


def distinct_names(directories: Sequence[Path]) -> list[str]:
    """Each directory's own name; where several have the same, as much of their paths as tells them apart."""
    paths = [directory.resolve().parts for directory in directories]
    for place, path in enumerate(paths):
        if path in paths[:place]:
            raise UserError(f"{directories[place]} is given twice; give each run once")
    names = []
    for path in paths:
        others = [other for other in paths if other != path]
        size = 1
        while any(other[-size:] == path[-size:] for other in others):
            size += 1
        names.append("/".join(path[-size:]))
    return names


def abilities_of(directory: Path) -> tuple[Ability, ...]:
    """What the model in a directory can be asked for."""
    if not (directory / WEIGHTS).is_file():
        raise UserError(f"{directory} holds no model but a run of {Run.open(directory).verb!r}")
    place = directory / "config.json"
    config = read_json(place)
    architecture = public_architecture(config, str(place))
    if reward_heads(config, architecture):
        return ("score",)
    options = read_options(directory)
    if isinstance(options, EncoderDecoderOptions):
        return ("translation",)
    has_heads = bool(read_heads(config, architecture.public, str(place)))
    if isinstance(options, EncoderOptions) or (isinstance(options, DecoderOptions) and has_heads):
        return ("embedding",)
    if isinstance(options, DecoderOptions):
        chats = is_chat(Tokenizer.load(directory))
        return ("chat", "completion", "embedding") if chats else ("completion", "embedding")
    name = type(options).architecture
    raise UserError(f"{directory} holds a model of the architecture {name}, which cannot be served")


def is_chat(tokenizer: Tokenizer) -> bool:
    """Whether a model with this tokenizer was taught to chat."""
    return tokenizer.template is not None and tokenizer.eos == tokenizer.im_end


def _writer(directory: Path, options: EngineOptions) -> Writer:
    tokenizer = Tokenizer.load(directory)
    renderer = Renderer(tokenizer) if is_chat(tokenizer) else None
    text = TextModel(load_model(directory), tokenizer, renderer)
    return Writer(text, lookup("engine", options.engine)(text, directory, options))


def _fingerprint(directory: Path) -> str | None:
    """Which weights these are, of a run of ours."""
    run = Run(directory)
    content = run.info["content"] if run.exists else None
    return str(content)[:16] if content else None
