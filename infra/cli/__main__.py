"""`python -m infra.cli` is `nightshift`."""

from infra.cli.app import main

main()
