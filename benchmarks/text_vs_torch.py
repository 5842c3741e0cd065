"""The same character model trained by `rnnbp train` and by PyTorch: do the validation curves agree?

One LSTM of 128 units, float64, the same initial weights, batches and optimizer. torch.nn.LSTM has two biases: the
second is frozen at zero, for two trained biases would move their sum twice as far.

    python benchmarks/text_vs_torch.py TEXT [--steps 1000]

writes benchmarks/results/text_vs_torch.{csv,json,png}.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from rnnbp.benching.machine import machine
from rnnbp.runs import read_rows
from rnnbp.training.config import Config
from rnnbp.training.setup import Setup, initial_params, set_up

RESULTS = Path(__file__).parent / "results"


def rnnbp_curve(config: Config, folder: Path) -> dict[int, float]:
    """Validation loss by step, from the command line's own metrics.csv."""
    options = {"--steps": config.steps, "--hidden": config.hidden, "--dtype": config.dtype}
    words = [str(word) for pair in options.items() for word in pair]
    command = [sys.executable, "-m", "rnnbp_cli", "train", *config.files, *words, "--out", str(folder)]
    subprocess.run(command, check=True)
    return {row["step"]: row["valid_loss"] for row in read_rows(folder)}


class TorchModel(torch.nn.Module):
    """nn.LSTM and a dense readout with the weights of an rnnbp run."""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        p = {name: torch.from_numpy(np.ascontiguousarray(w)) for name, w in initial_params(setup).items()}
        self.symbols = setup.source.input_size
        self.lstm = torch.nn.LSTM(self.symbols, setup.config.hidden).double()
        self.readout = torch.nn.Linear(setup.config.hidden, setup.source.output_size).double()
        with torch.no_grad():
            self.lstm.weight_ih_l0.copy_(p["0.W"].T)
            self.lstm.weight_hh_l0.copy_(p["0.U"].T)
            self.lstm.bias_ih_l0.copy_(p["0.b"])
            self.lstm.bias_hh_l0.zero_()
            self.readout.weight.copy_(p["readout.W"].T)
            self.readout.bias.copy_(p["readout.b"])
        self.lstm.bias_hh_l0.requires_grad_(False)

    def loss(self, batch, state):
        ids, targets = torch.from_numpy(batch.xs), torch.from_numpy(batch.targets)
        h, state = self.lstm(torch.nn.functional.one_hot(ids, self.symbols).double(), None if batch.fresh else state)
        logits = self.readout(h)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()), tuple(
            z.detach() for z in state
        )


def torch_curve(setup: Setup) -> dict[int, float]:
    """Validation loss by step, the training written out in PyTorch."""
    model, config = TorchModel(setup), setup.config
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.lr, weight_decay=0.0)

    @torch.no_grad()
    def validate() -> float:
        total, weight, state = 0.0, 0, None
        for batch in setup.source.validation(setup.batch, setup.time_steps):
            loss, state = model.loss(batch, state)
            total, weight = total + float(loss) * batch.xs.size, weight + batch.xs.size
        return total / weight

    curve, cursor, state = {0: validate()}, setup.source.start(config.seed), None
    for step in range(1, config.steps + 1):
        batch, cursor = setup.source.batch(cursor, setup.batch, setup.time_steps)
        loss, state = model.loss(batch, state)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % config.save_every == 0:
            curve[step] = validate()
            print(f"torch, step {step}: {curve[step]:.6f} nats", file=sys.stderr)
    return curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    given = parser.parse_args()
    config = Config(files=(str(given.text),), steps=given.steps, dtype="float64")
    with tempfile.TemporaryDirectory() as folder:
        ours = rnnbp_curve(config, Path(folder) / "run")
    theirs = torch_curve(set_up(config))
    worst = max(abs(ours[step] - theirs[step]) for step in theirs)

    RESULTS.mkdir(exist_ok=True)
    lines = [f"{step},{ours[step]!r},{theirs[step]!r}" for step in theirs]
    (RESULTS / "text_vs_torch.csv").write_text("\n".join(["step,rnnbp_nats,torch_nats", *lines]) + "\n")
    summary = {
        "what": "validation loss in nats per character, LSTM of 128 units, float64, AdamW, same weights and batches",
        "text": f"{given.text.name}, {given.text.stat().st_size} bytes",
        "steps": config.steps,
        "largest_difference_nats": worst,
        "date": date.today().isoformat(),
        "machine": machine(),
    }
    (RESULTS / "text_vs_torch.json").write_text(json.dumps(summary, indent=2) + "\n")
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(list(ours), list(ours.values()), "s-", label="rnnbp train", markersize=7, markerfacecolor="none")
    axes.plot(list(theirs), list(theirs.values()), "x--", label="PyTorch", markersize=6)
    axes.set(xlabel="training steps", ylabel="validation loss, nats per character")
    axes.set_title(f"the same LSTM, 128 units, float64: largest difference {worst:.1e} nats", fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(RESULTS / "text_vs_torch.png", dpi=150)
    print(f"largest difference {worst:.3e} nats over {len(theirs)} evaluations")


if __name__ == "__main__":
    main()
