"""`make links`: an address that is gone, one that can't be asked, and a machine without a network are three things."""

from __future__ import annotations

import io
import socket
import urllib.error
import urllib.request

import pytest

from paper_repro import links

UNKNOWN = urllib.error.URLError(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
LATER = urllib.error.URLError(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"))


class Response(io.BytesIO):
    status = 200


def status(code):
    return urllib.error.HTTPError("https://a.org", code, "", None, None)


@pytest.fixture
def answers(monkeypatch):
    """Have addresses answer as a dictionary says."""

    def set_to(by_address):
        def ask(request, timeout):
            given = by_address[request.full_url]
            if isinstance(given, Exception):
                raise given
            return given

        monkeypatch.setattr(urllib.request, "urlopen", ask)
        monkeypatch.setattr(links, "named", lambda: {address: ["README.md"] for address in by_address})

    return set_to


def test_a_host_that_is_not_known_is_gone_where_others_answer(answers, capsys):
    answers(
        {"https://a.org": status(403), "https://b.org": UNKNOWN, "https://c.org": LATER, "https://d.org": Response()}
    )
    with pytest.raises(SystemExit, match="1"):
        links.main()
    said = capsys.readouterr().out
    assert "GONE [Errno" in said
    assert "unsure 403: https://a.org (README.md)" in said
    assert [line[:6] for line in said.splitlines() if "c.org" in line] == ["unsure"]
    assert "d.org" not in said
    assert "4 addresses, 1 gone" in said


@pytest.mark.parametrize("code", [404, 410])
def test_a_page_that_is_no_more_is_gone(answers, capsys, code):
    answers({"https://a.org": status(code)})
    with pytest.raises(SystemExit, match="1"):
        links.main()
    assert f"GONE {code}: https://a.org" in capsys.readouterr().out


@pytest.mark.parametrize(
    "why", [UNKNOWN, LATER, urllib.error.URLError(OSError(101, "Network is unreachable")), TimeoutError("x")]
)
def test_no_network_says_nothing_of_addresses(answers, capsys, why):
    answers({"https://a.org": why, "https://b.org": why})
    with pytest.raises(SystemExit, match="2"):
        links.main()
    said = capsys.readouterr()
    assert said.out == ""
    assert "No network: none of 2 addresses answered" in said.err


def test_all_there(answers, capsys):
    answers({"https://a.org": Response()})
    links.main()
    assert capsys.readouterr().out == "1 addresses, 0 gone\n"
