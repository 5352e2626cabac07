"""`python -m boneviz` is the command `boneviz`."""

from boneviz.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    raise SystemExit(main())
