"""`python -m hls_handler`: the same as the console script `hls`."""

from hls_handler.cli import main

if __name__ == "__main__":
    main()
