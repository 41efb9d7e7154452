"""The command line, as a user runs it."""

from __future__ import annotations

from typer.testing import CliRunner

from bayespeft.cli.app import app

QUICK = ["--steps", "2", "--batch-size", "8"]


def bp(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def ok(*arguments):
    result = bp(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments):
    """Run what must fail; return its one line on standard error."""
    result = bp(*arguments)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    return result.stderr
