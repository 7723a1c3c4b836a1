"""``python -m trashkit`` is ``trashkit``, also where the environment's scripts were moved."""

from __future__ import annotations

from trashkit.cli.app import main

if __name__ == "__main__":
    main()
