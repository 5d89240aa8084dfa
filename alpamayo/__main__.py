"""``alpamayo`` and ``python -m alpamayo``."""

from alpamayo.cli import main

if __name__ == "__main__":
    main()
