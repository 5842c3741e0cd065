"""The learning curve of a run as a picture."""

from __future__ import annotations

from math import log
from pathlib import Path

from rnnbp.errors import UserError
from rnnbp.runs import read_checkpoint, read_rows


def draw_curve(folder: Path) -> Path:
    """Draw RUN/curve.png from RUN/metrics.csv: training and validation loss over steps, in bits where it is text."""
    try:
        from matplotlib.figure import Figure  # no pyplot: nothing global is touched, no display is needed
    except ImportError:
        raise UserError("curve.png needs matplotlib: pip install 'rnnbp[plot]'") from None
    rows, meta = read_rows(folder), read_checkpoint(folder / "last.safetensors").meta
    text = meta["data"]["vocabulary"] is not None
    scale, unit = (1 / log(2), "bits per character") if text else (1.0, f"loss ({meta['data']['loss']})")
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    styles = (("train_loss", "training, mean since the last row", "o--"), ("valid_loss", "validation", "s-"))
    for column, label, style in styles:
        points = [(row["step"], row[column] * scale) for row in rows if row[column] is not None]
        axes.plot(*zip(*points, strict=True) if points else ([], []), style, label=label, markersize=3.5, linewidth=1.4)
    config = meta["config"]
    layers = f"{config['layers']} × " if config["layers"] > 1 else ""
    axes.set_title(f"{config['cell']}, {layers}{config['hidden']} units, {config['task'] or 'text'}", fontsize=11)
    axes.set_xlabel("training steps")
    axes.set_ylabel(unit)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    path = folder / "curve.png"
    figure.savefig(path, dpi=150)
    return path
