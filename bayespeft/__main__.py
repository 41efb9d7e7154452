"""`python -m bayespeft`: the command line."""

from bayespeft.cli.app import app

if __name__ == "__main__":
    app()
