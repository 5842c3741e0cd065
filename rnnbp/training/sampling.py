"""Text from a trained character model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rnnbp.backends import backend as backend_by_name
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray
from rnnbp.runs import read_checkpoint
from rnnbp.training.config import Config
from rnnbp.training.masking import of_evaluation
from rnnbp.training.setup import build_model
from rnnbp.training.state import complete, load_params


def sample(
    folder: Path,
    prompt: str = "",
    length: int = 500,
    temperature: float = 1.0,
    seed: int = 0,
    backend: str | None = None,
    device: str | None = None,
) -> Iterator[str]:
    """`length` characters, one by one, from RUN/best.safetensors after a prompt.

    Each is drawn from softmax(logits / temperature); temperature 0 takes the likeliest. Without a prompt the model
    starts after a line break, or after the first character that it knows. `backend` and `device` say where it runs.
    """
    if length < 1:
        raise UserError(f"--length must be at least 1; got {length}")
    if not 0 <= temperature < float("inf"):
        raise UserError(f"--temperature must be a number >= 0; got {temperature}")
    checkpoint = read_checkpoint(folder / "best.safetensors")
    meta = complete(checkpoint)
    config, data = Config.from_dict(meta["config"]), meta["data"]
    if data["vocabulary"] is None:
        raise UserError(f"run {folder} learnt task {config.task}, not text: sample needs a run on text")
    number = {character: k for k, character in enumerate(data["vocabulary"])}
    strange = sorted(set(prompt) - set(number))
    if strange:
        raise UserError(f"the prompt may hold only characters that the run has seen; got {strange[0]!r}")
    model = build_model(config, data["inputs"], data["input_size"], data["output_size"], data["loss"])
    on = backend_by_name(backend, device)
    params = {name: on.asarray(w, config.dtype) for name, w in load_params(model, checkpoint).items()}
    start = prompt or ("\n" if "\n" in number else data["vocabulary"][0])

    def generate() -> Iterator[str]:
        rng, state = np.random.default_rng(seed), None
        ids = np.asarray([[number[character]] for character in start])  # (T, B) with B = 1
        for _ in range(length):
            masks = of_evaluation(model, on, config.dtype, *ids.shape)
            logits, state = model.run(params, on.asarray(ids), state, data=masks, backend=on)
            chosen = draw(rng, on.to_numpy(logits)[-1, 0].astype(np.float64), temperature)
            yield data["vocabulary"][chosen]
            ids = np.asarray([[chosen]])

    return generate()


def draw(rng: np.random.Generator, logits: HostArray, temperature: float) -> int:
    """A class number from softmax(logits / temperature)."""
    if temperature == 0:
        return int(np.argmax(logits))
    with np.errstate(all="ignore"):  # a tiny temperature overflows to what it means, the likeliest
        weights = np.exp((logits - np.max(logits)) / temperature)
    return int(rng.choice(len(weights), p=weights / np.sum(weights)))
