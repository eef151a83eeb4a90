"""An OpenAI-compatible endpoint in a thread, that answers as a test wants."""

import base64
import contextlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image


class Endpoint:
    """What was asked, and how it is answered: `answer(request, number)` gives (status, JSON value or bytes).

    A request is {"path", "key", "body", "image"}; `image` is the picture that was sent. Requests to /models are
    answered with one model, "tiny", and are not counted.
    """

    def __init__(self, answer: Callable[[dict, int], tuple[int, object]]):
        self.answer = answer
        self.requests: list[dict] = []
        self.headers: dict[str, str] = {}  # sent along
        self.lock = threading.Lock()
        self.url = ""


def completion(text: str | None, finish_reason: str = "stop", tokens: int = 7) -> tuple[int, dict]:
    """A good answer."""
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    return 200, {"choices": [choice], "usage": {"completion_tokens": tokens}}


@contextlib.contextmanager
def serve(answer: Callable[[dict, int], tuple[int, object]]) -> Iterator[Endpoint]:
    """Serve on a free port while the block runs."""
    endpoint = Endpoint(answer)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            self.reply(200, {"data": [{"id": "tiny"}, {"id": "other"}]})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            uri = body["messages"][0]["content"][0]["image_url"]["url"]
            picture = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))
            request = {
                "path": self.path,
                "key": self.headers["Authorization"],
                "body": body,
                "image": picture,
            }
            with endpoint.lock:
                endpoint.requests.append(request)
                number = len(endpoint.requests)
            self.reply(*endpoint.answer(request, number))

        def reply(self, status, value):
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            with contextlib.suppress(OSError):  # whoever asked may be gone
                self.send_response(status)
                for name, text in endpoint.headers.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield endpoint
        server.shutdown()
