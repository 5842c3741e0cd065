"""`python -m rnnbp_cli`: the same as the console script."""

from rnnbp_cli import main

main()
