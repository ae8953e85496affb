"""A local server for tests of downloads, as good or bad as a test needs it."""

import contextlib
import http.server
import threading


class Server:
    """What `serving` gives.

    Attributes
    ----------
    url : str
        Its address, without a slash at the end.
    requests : list of (str, str)
        Methods and paths of all requests so far.
    stalled : threading.Event
        Set when a download has begun and stalls.
    """

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"
        self.requests = []
        self.stalled = threading.Event()


@contextlib.contextmanager
def serving(pages):
    """Serve pages on a port of this machine while a block runs.

    Parameters
    ----------
    pages : dict
        From a path to what is there: the bytes and how they are served. `good` serves them, `stall` stops half-way,
        `short` ends half-way, `endless` does not end, `silent` says nothing, `slow` goes on saying next to nothing,
        `moved` sends to the path that the bytes name. What is in no page is answered with 404.

    Yields
    ------
    Server
    """
    release = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.head()

        def head(self):
            shown.requests.append((self.command, self.path))
            body, how = pages.get(self.path, (b"", "missing"))
            if how == "silent":
                release.wait(30)
            while how == "slow" and not release.wait(0.1):
                self.wfile.write(b"HTTP/1.0 200 OK\r\n"[:1])
            self.send_response({"missing": 404, "moved": 302}.get(how, 200))
            if how == "moved":
                self.send_header("Location", body.decode())
            if how not in ("endless", "moved"):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return body, how

        def do_GET(self):
            body, how = self.head()
            if how == "moved":
                return
            half = len(body) // 2
            self.wfile.write(body[:half])
            if how == "stall":
                self.wfile.flush()
                shown.stalled.set()
                release.wait(30)
            if how == "endless":
                with contextlib.suppress(OSError):
                    while not release.is_set():
                        self.wfile.write(bytes(100_000))
            if how != "short":
                with contextlib.suppress(OSError):  # the reader may be gone
                    self.wfile.write(body[half:])

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    shown = Server(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield shown
    finally:
        release.set()
        server.shutdown()
        thread.join()
        server.server_close()
