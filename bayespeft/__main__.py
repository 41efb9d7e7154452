"""`python -m bayespeft`: the command line."""

from bayespeft.cli import app

if __name__ == "__main__":
    app()
