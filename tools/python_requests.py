#!/usr/bin/env python3
"""Writes what the programs of examples/python send. Run by hand when one of them changes; no test needs Python.

    pip install kubernetes
    python3 tools/python_requests.py

Each program is run with a kubeconfig that leads to a server of this script: it keeps every request and answers as an
API server that has nothing yet. The result is examples/python/requests.json: method, path and body of each request.
"""

import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading

PROGRAMS = pathlib.Path(__file__).parent.parent / "examples" / "python"
ARGUMENTS = {"aws_auth": ["arn:aws:iam::012345678901:role/nodes"]}
NOT_FOUND = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}


class Keeper(http.server.BaseHTTPRequestHandler):
    """Keeps requests in the server's `kept`."""

    def keep(self):
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        self.server.kept.append({"method": self.command, "path": self.path, "body": body})
        created = self.command == "POST"
        answer = json.dumps(body if created else NOT_FOUND).encode()
        self.send_response(201 if created else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_DELETE = do_GET = do_PUT = do_PATCH = keep

    def log_message(self, *_):
        pass


def kubeconfig(port):
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {"token": "t"}}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "contexts": [context],
        "users": [user],
        "current-context": "c",
    }


def requests(program, folder):
    server = http.server.HTTPServer(("127.0.0.1", 0), Keeper)
    server.kept = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = pathlib.Path(folder) / "config"
    config.write_text(json.dumps(kubeconfig(server.server_port)))
    arguments = [sys.executable, str(program), *ARGUMENTS.get(program.stem, [])]
    subprocess.run(arguments, env={**os.environ, "KUBECONFIG": str(config)}, check=True)
    server.shutdown()
    return server.kept


def main():
    with tempfile.TemporaryDirectory() as folder:
        sent = {program.stem: requests(program, folder) for program in sorted(PROGRAMS.glob("*.py"))}
    (PROGRAMS / "requests.json").write_text(json.dumps(sent, indent=1) + "\n")


if __name__ == "__main__":
    main()
