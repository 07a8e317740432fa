"""`python -m antiphon` and the `antiphon` command."""

import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    from antiphon.engine.cli import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
