"""The Typer app: one module per command."""

from __future__ import annotations

import typer

from rnnbp_cli.backends import backends
from rnnbp_cli.bench import bench
from rnnbp_cli.cells import cells
from rnnbp_cli.convert import convert
from rnnbp_cli.explain import explain
from rnnbp_cli.flow import flow
from rnnbp_cli.gradcheck import gradcheck
from rnnbp_cli.lower import lower
from rnnbp_cli.parity import parity
from rnnbp_cli.plugins import plugins
from rnnbp_cli.sample import sample
from rnnbp_cli.train import train
from rnnbp_cli.truncation import truncation

app = typer.Typer(
    help="Recurrent cells whose backward passes are derived by hand: check, train and time them on any array backend.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # or [default: 1] in a help text is taken for markup
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (backends, bench, cells, convert, explain, flow, gradcheck, lower, parity, sample, train, truncation):
    app.command()(command)
app.add_typer(plugins, name="plugins")
