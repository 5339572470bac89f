"""``python -m hwq`` is the `hwq` program."""

from hwq.cli import main

if __name__ == "__main__":
    main()
