"""Downloads: only over https, limited in size, with a checksum."""

import hashlib
import re
from pathlib import Path

import pytest

from accel._files import download
from accel.datasets import gas, mnist

requests = pytest.importorskip("requests")
pytest.importorskip("pooch")

CONTENT = b"the data" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Response(requests.Response):
    """A made-up response to a request."""

    def __init__(self, request, status, content=b"", **headers):
        super().__init__()
        self.status_code, self.request, self.url = status, request, request.url
        self.headers.update(headers)
        self._content, self._content_consumed = content, True

    def iter_content(self, size):
        self.pieces = [self._content[i : i + size] for i in range(0, len(self._content), size)]
        while self.pieces:
            yield self.pieces.pop(0)


@pytest.fixture
def web(monkeypatch):
    """A made-up network: by address, status, content and headers; and a list of the requests."""
    pages, asked = {}, []

    def send(adapter, request, **how):
        asked.append((request.url, how["timeout"]))
        status, content, headers = pages[request.url]
        return Response(request, status, content, **headers)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    monkeypatch.setenv("NO_PROXY", "*")
    return pages, asked


def fetch(folder, url="https://there/data", sha256=SHA256, most=10**6):
    return download.fetch(url, sha256, "data", folder, most)


def test_a_download_with_the_right_checksum_is_kept(web, tmp_path):
    pages, asked = web
    pages["https://there/data"] = 302, b"", {"location": "https://elsewhere/data"}
    pages["https://elsewhere/data"] = 200, CONTENT, {}
    for _ in range(2):  # the second time from the cache
        assert fetch(tmp_path).read_bytes() == CONTENT
    assert [url for url, _ in asked] == ["https://there/data", "https://elsewhere/data"]
    assert all(timeout == 30 for _, timeout in asked)


@pytest.mark.parametrize(
    ("page", "arguments", "match"),
    [
        ((200, CONTENT, {}), {"sha256": "0" * 64}, "hash"),
        ((200, CONTENT, {}), {"most": len(CONTENT) - 1}, "has more than 7999 bytes"),
        ((404, b"", {}), {}, "404"),
        ((302, b"", {"location": "http://there/data"}), {}, "http://there/data is not https"),
        ((302, b"", {"location": "https://there/data"}), {}, "redirects"),
        ((302, b"", {"location": "file:///etc/passwd"}), {}, "file:///etc/passwd|schema|adapters"),
    ],
    ids=["hash", "size", "status", "to http", "loop", "to a file"],
)
def test_other_downloads_are_not_kept(web, tmp_path, page, arguments, match):
    pages, asked = web
    pages["https://there/data"] = page
    with pytest.raises((OSError, ValueError), match=match):
        fetch(tmp_path, **arguments)
    assert not (tmp_path / "data").exists()
    assert not any(url.startswith("http:") for url, _ in asked)


def test_a_plain_address_is_refused(web, tmp_path):
    web[0]["http://there/data"] = 200, CONTENT, {}
    with pytest.raises(OSError, match="is not https"):
        fetch(tmp_path, "http://there/data")


def test_every_download_has_its_checksum():
    assert gas._UCI_URL.startswith("https://")
    assert mnist._MIRROR.startswith("https://")
    for sha256 in (gas._UCI_SHA256, *mnist._SHA256.values()):
        assert re.fullmatch("[0-9a-f]{64}", sha256)


def test_nothing_else_speaks_to_the_network():
    """One module of the package asks for pages, by one call; no address in it is plain http."""
    package = Path(download.__file__).parents[1]
    sources = {path: path.read_text() for path in package.rglob("*.py")}
    word = re.compile(r"requests\.(get|post|request)|urlopen|urlretrieve|pooch\.(retrieve|create)")
    assert [path.name for path, text in sources.items() if word.search(text)] == ["download.py"]
    assert [path for path, text in sources.items() if re.search(r"http://\w", text)] == []
    unsafe = re.compile(r"extractall|\.extract\(|allow_pickle=True|\beval\(|\bexec\(|yaml\.load\(")
    assert [path for path, text in sources.items() if unsafe.search(text)] == []
