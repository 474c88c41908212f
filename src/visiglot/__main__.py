"""`python -m visiglot`: the command line."""

from visiglot.cli import main

if __name__ == "__main__":
    main()
