"""The command line: a command parses, makes one library call, and prints."""

from vlx.cli.program import main

__all__ = ["main"]
