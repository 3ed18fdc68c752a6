"""`python -m mien`: the command `mien`."""

from mien.cli import main

if __name__ == "__main__":
    main()
