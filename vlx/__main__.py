"""``python -m vlx`` is ``vlx``."""

from vlx.cli.program import main

if __name__ == "__main__":
    main(prog_name="vlx")
