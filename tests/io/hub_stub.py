"""A server that speaks as much of the hub's protocol as pushing and fetching a posterior takes; files stay in memory."""

from __future__ import annotations

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Hub(ThreadingHTTPServer):
    """The server.

    Attributes:
        files: of each repository: path -> contents.
        private: of each repository, as it was asked for.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"
    COMMIT = "0" * 39 + "1"

    def log_message(self, *_: Any) -> None:
        pass

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _reply(self, content: Any, code: int = 200, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_POST(self) -> None:
        path, body = unquote(urlsplit(self.path).path), self._body()
        if path == "/api/validate-yaml":
            self._reply({"errors": [], "warnings": []})
            return
        if path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
            self.server.files.setdefault(repo, {})
            self.server.private[repo] = asked.get("private", asked.get("visibility"))
            self._reply({"url": f"{self.server.url}/{repo}", "name": repo})
            return
        repo, _, action = path.removeprefix("/api/models/").partition("/preupload/") if "/preupload/" in path else (
            path.removeprefix("/api/models/").partition("/commit/")
        )  # fmt: skip
        if repo not in self.server.files:
            self._reply({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            self._reply({"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]})
        elif "/commit/" in path:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    value = entry["value"]
                    self.server.files[repo][value["path"]] = base64.b64decode(value["content"])
            url = f"{self.server.url}/{repo}/commit/{self.COMMIT}"
            self._reply({"success": True, "commitOid": self.COMMIT, "commitUrl": url, "hookOutput": ""})
        else:
            self._reply({"error": f"no such call: {path}, {action}"}, 404)

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/models/"):
            call = "/tree/" if "/tree/" in path else "/revision/"
            repo = path.removeprefix("/api/models/").partition(call)[0]
            if repo not in self.server.files:
                self._reply({"error": "Repository not found"}, 401, X_Error_Code="RepoNotFound")
                return
            if call == "/tree/":
                files = self.server.files[repo].items()
                entries = [(name, len(content), hashlib.sha1(content).hexdigest()) for name, content in files]
                self._reply([{"type": "file", "path": p, "size": size, "oid": oid} for p, size, oid in entries])
                return
            siblings = [{"rfilename": name} for name in self.server.files[repo]]
            self._reply({"id": repo, "sha": self.COMMIT, "siblings": siblings, "tags": [], "private": False})
            return
        repo, _, rest = path.strip("/").partition("/resolve/")
        content = self.server.files.get(repo, {}).get(rest.partition("/")[2])
        if content is None:
            self._reply({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")
            return
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        self._reply(content, X_Repo_Commit=self.COMMIT, ETag=etag, Content_Type="application/octet-stream")

    do_HEAD = do_GET
