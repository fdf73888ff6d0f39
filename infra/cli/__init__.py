"""The command line, `nightshift`: one file for each noun. It decides nothing that a room should decide."""

from infra.cli.app import main

__all__ = ["main"]
