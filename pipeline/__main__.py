"""`python -m pipeline`, the same as `ettin-data`."""

from pipeline.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
