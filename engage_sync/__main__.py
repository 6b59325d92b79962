"""`python -m engage_sync` is `engage-sync`."""

from __future__ import annotations

from engage_sync.cli import main

if __name__ == "__main__":
    main()
