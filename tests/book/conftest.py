"""A built site, a server on 127.0.0.1, headless Chromium; what is missing skips."""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from book.chromium import Browser, start

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "build" / "book"


class Handler(SimpleHTTPRequestHandler):
    """A static server; `server.instead` maps a path to other bytes, or to None (not found)."""

    def do_GET(self):
        if self.path not in self.server.instead:
            return super().do_GET()
        content = self.server.instead[self.path]
        if content is None:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def site() -> Path:
    parts = (SITE / "index.html", SITE / "playground" / "models" / "schedule.json")
    if not all(part.is_file() for part in parts):
        pytest.skip("The book is not built: make book (it needs npm), or make test-book for both.")
    return SITE


@pytest.fixture(scope="session")
def server(site):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site))) as server:
        server.instead = {}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def instead(server):
    """What the server says in the place of some files, in this test alone."""
    yield server.instead
    server.instead.clear()


@pytest.fixture(scope="session")
def url(server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """Starts browsers: chromium(width, height, *flags). All end with the tests."""
    pytest.importorskip("selenium", reason='Selenium is not installed: pip install -e ".[docs]"')
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    programs = [browser, shutil.which("chromedriver")]
    if not all(programs):
        how = "Debian: apt-get install chromium chromium-driver"
        pytest.skip(f"Chromium and its driver are not installed ({how}).")
    browsers = []

    def open_browser(width: int = 1280, height: int = 1000, *flags: str) -> Browser:
        profile = tmp_path_factory.mktemp("profile")
        browsers.append(start(*programs, profile, (width, height), flags))
        return browsers[-1]

    yield open_browser
    for browser in browsers:
        browser.driver.quit()


@pytest.fixture(scope="session")
def desk(chromium) -> Browser:
    """A window of a desk's width, shared."""
    return chromium()
