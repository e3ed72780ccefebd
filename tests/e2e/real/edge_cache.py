"""What an edge node has between its kubelet and the API server: a proxy that answers reads from its cache while the API server cannot be reached.

It behaves as SuperEdge's lite-apiserver does: caches by User-Agent and path without the query, keeps cached lists up to date from the watches that pass through it,
and offline answers a watch with an empty stream, an unknown read with a plain 404, a write with 503, and a token request with a token.
"""

import http.client
import http.server
import json
import ssl
import threading
import urllib.parse

from . import certificates
from . import layout as at

LITE_API_SERVER_PORT = 51003
TIMEOUT_S = 3
WATCH_TIMEOUT_S = 900
DROPPED = ("host", "connection", "accept-encoding", "content-length", "transfer-encoding")


class EdgeCache:
    """Serves until closed. With a `user` of the cluster: that user's kubeconfig leads here meanwhile, and the API server sees that user's certificate. Without:
    HTTPS on lite-apiserver's port, and callers show tokens of their own.
    """

    def __init__(self, folders, user=None):
        self._folders = folders
        self._user = user
        self._tls = ssl.create_default_context(cafile=str(folders.pki / "ca.crt"))
        self._lock = threading.Lock()
        self._cached = {}  # key: object or list
        self._tokens = {}  # path: (content type, body)
        self.online_answers = 0
        self.offline_answers = 0
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0 if user else LITE_API_SERVER_PORT), self._handler())
        self._server.daemon_threads = True
        if user:
            self._tls.load_cert_chain(str(folders.pki / f"{user}.crt"), str(folders.pki / f"{user}.key"))
        else:
            served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            served.load_cert_chain(str(folders.pki / "apiserver.crt"), str(folders.pki / "apiserver.key"))
            self._server.socket = served.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self):
        self._thread.start()
        if self._user:
            certificates.write_kubeconfig(self._folders, self._user, f"http://127.0.0.1:{self._server.server_address[1]}")
        return self

    def __exit__(self, *_):
        if self._user:
            certificates.write_kubeconfig(self._folders, self._user)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self):
        cache = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else None
                cache._serve(self, body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def answer(self, status, kind, body):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass
        return Handler

    def _serve(self, handler, body):
        url = urllib.parse.urlsplit(handler.path)
        watch = handler.command == "GET" and urllib.parse.parse_qs(url.query).get("watch", ["false"])[0] in ("true", "1")
        key = (handler.headers.get("User-Agent", "").split(" ")[0], url.path)
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in DROPPED}
        if handler.command == "GET":
            headers["Accept"] = "application/json"
        connection = http.client.HTTPSConnection(at.NODE_IP, 6443, timeout=TIMEOUT_S, context=self._tls)
        try:
            try:
                connection.connect()
                connection.sock.settimeout(WATCH_TIMEOUT_S if watch else 10 * TIMEOUT_S)
                connection.request(handler.command, handler.path, body, headers)
                answer = connection.getresponse()
                data = None if watch and answer.status == 200 else answer.read()
            except (OSError, http.client.HTTPException):
                self._serve_offline(handler, key, watch)
                return
            if data is None:
                self._pass_watch(handler, key, answer)
                return
            kind = answer.getheader("Content-Type", "")
            with self._lock:
                self.online_answers += 1
                if handler.command == "GET" and answer.status == 200 and kind.startswith("application/json"):
                    self._cached[key] = json.loads(data)
                elif handler.command == "POST" and url.path.endswith("/token") and answer.status == 201:
                    self._tokens[url.path] = (kind, data)
            handler.answer(answer.status, kind, data)
        except OSError:
            handler.close_connection = True  # the client has gone
        finally:
            connection.close()

    def _pass_watch(self, handler, key, answer):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        while True:
            try:
                line = answer.readline()
            except (OSError, http.client.HTTPException):
                line = b""
            if not line.endswith(b"\n"):
                break
            self._apply(key, json.loads(line))
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            handler.wfile.flush()
        handler.wfile.write(b"0\r\n\r\n")

    def _apply(self, key, event):
        """One event of a watch to the list that was cached before."""
        with self._lock:
            items = self._cached.get(key, {}).get("items")
            if items is None or event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
                return
            uid = event["object"]["metadata"]["uid"]
            items[:] = [one for one in items if one["metadata"]["uid"] != uid]
            if event["type"] != "DELETED":
                items.append(event["object"])

    def _serve_offline(self, handler, key, watch):
        with self._lock:
            self.offline_answers += 1
            known, token = self._cached.get(key), self._tokens.get(key[1])
        if handler.command == "POST" and token:
            handler.answer(201, *token)
        elif handler.command != "GET":
            handler.answer(503, "text/plain", b"no connection to the API server\n")
        elif watch:
            handler.answer(200, "application/json", b"")
        elif known is None:
            handler.answer(404, "text/plain", b"not in the cache\n")
        else:
            handler.answer(200, "application/json", json.dumps(known).encode())
