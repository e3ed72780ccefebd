"""The extender's Service: forwards each call to a replica that says it is ready, and lets a test act at the moment of a call."""

import http.client
import http.server
import socket
import threading

from .control_plane import answers

CALL_TIMEOUT_S = 10


class Front:
    """Serves until closed. `hook(verb, forward)` is called for each call; it may act before, after or around forward(), which returns (status, body);
    when it returns None the caller sees its connection break. Calls come on several threads.
    """

    def __init__(self, *replicas, hook=None):
        self._replicas = replicas  # HOST:PORT
        self._hook = hook or (lambda verb, forward: forward())
        front = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):  # pylint: disable=invalid-name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = front._hook(self.path.rsplit("/", 1)[-1], lambda: front._forward(self.path, body))
                if answer is None:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(answer[0])
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer[1])))
                self.end_headers()
                self.wfile.write(answer[1])

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/scheduler"

    def _forward(self, path, body):
        """None when no replica is ready or the one that was breaks the connection."""
        ready = next((one for one in self._replicas if answers(f"http://{one}/readyz")), None)
        if ready is None:
            return 503, b"no replica is ready"
        connection = http.client.HTTPConnection(ready, timeout=CALL_TIMEOUT_S)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
