"""`python -m docindex`, and the command `docindex`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, if what it needs is installed."""
    try:
        from .cli import main as run
    except ModuleNotFoundError as error:
        sys.exit(f"docindex: the command line needs {error.name}: pip install 'docindex-hnsw[cli]'")
    except KeyboardInterrupt:  # so early that there is nothing to say
        sys.exit(130)
    run()


if __name__ == '__main__':
    main()
