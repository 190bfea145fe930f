"""``accel show``: what its server answers, what it exports, and how it ends."""

import signal
import socket
import threading
import webbrowser
from http.client import HTTPConnection, HTTPException

import pytest

from accel._live.exporting import SINGLE, export_page
from accel._live.files import content_type, page_files, single_file
from accel._live.serving import PageServer, _Handler
from accel.cli import show

from ..accel.shell import run, spawn
from ..children import python
from .node import PAGE

FILES = {path.relative_to(PAGE).as_posix(): path for path in PAGE.rglob("*") if path.is_file()}
SUFFIXES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


@pytest.fixture
def server():
    with PageServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def answer(server, path, method="GET"):
    connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
    connection.request(method, path)
    response = connection.getresponse()
    told = response.status, response.getheader("Content-Type"), response.read(), response.headers
    connection.close()
    return told


def test_the_page_has_what_it_needs():
    assert {"index.html", "style.css", "main.js", "engine.js"} <= FILES.keys()
    assert {"vendor/uplot/uPlot.esm.js", "vendor/uplot/LICENSE"} <= FILES.keys()
    assert page_files() == {name: path.read_bytes() for name, path in FILES.items()}


def test_every_file_is_served_with_its_type(server):
    for name, path in FILES.items():
        status, kind, body, headers = answer(server, f"/{name}")
        assert status == 200
        assert kind == f"{SUFFIXES.get(path.suffix, 'text/plain')}; charset=utf-8"
        assert body == path.read_bytes()
        assert headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/", "/?from=a-lecture", "/%69ndex.html"):
        assert answer(server, path)[:3] == answer(server, "/index.html")[:3]
    status, kind, body, headers = answer(server, "/engine.js", "HEAD")
    assert (status, kind, body) == (200, "text/javascript; charset=utf-8", b"")
    assert int(headers["Content-Length"]) == len(FILES["engine.js"].read_bytes())


@pytest.mark.parametrize("path", [
    "/nothing.js", "/../files.py", "/..%2ffiles.py", "//etc/passwd", "/vendor", "/vendor/",
])  # fmt: skip
def test_nothing_else_is_served(server, path):
    assert answer(server, path)[0] == 404


@pytest.mark.parametrize(("error", "told"), [(ConnectionResetError, False), (KeyError, True)])
def test_a_browser_may_close_the_page_at_any_time(monkeypatch, capsys, server, error, told):
    def fail(*_):
        raise error("in the midst of an answer")

    monkeypatch.setattr(_Handler, "do_GET", fail)
    with pytest.raises((HTTPException, ConnectionError)):
        answer(server, "/")
    assert ("in the midst" in capsys.readouterr().err) == told
    monkeypatch.undo()
    assert answer(server, "/")[0] == 200


def test_types_do_not_hang_on_the_machine():
    assert content_type("vendor/uplot/LICENSE") == "text/plain; charset=utf-8"
    assert content_type("a/b.min.css") == "text/css; charset=utf-8"


def test_a_zip_archive_will_do(tmp_path):
    """The page is read as a resource, which need not be a file."""
    code = """if True:
        import sys, zipfile
        from pathlib import Path
        import accel
        folder = Path(accel.__file__).parent
        with zipfile.ZipFile("all.zip", "w") as archive:
            for name in ["__init__.py", "files.py", *sys.argv[1:]]:
                archive.write(folder / "_live" / name, f"accel/_live/{name}")
            archive.writestr("accel/__init__.py", "")
        for name in [name for name in sys.modules if name.partition(".")[0] == "accel"]:
            del sys.modules[name]
        sys.path.insert(0, "all.zip")
        from accel._live import files
        assert "all.zip" in files.__file__
        print(*sorted(files.page_files()))
    """
    names = [f"page/{name}" for name in FILES]
    assert python("-c", code, *names, cwd=tmp_path).stdout.split() == sorted(FILES)


def test_an_export_is_complete(tmp_path):
    folder = tmp_path / "new" / "page"
    written = export_page(folder, force=False)
    assert {path.relative_to(folder).as_posix() for path in written} == {*FILES, SINGLE}
    for name, path in FILES.items():
        assert (folder / name).read_bytes() == path.read_bytes()
    text = (folder / SINGLE).read_text(encoding="utf-8")
    assert text.encode() == single_file(page_files())
    assert "<style>" in text
    assert 'href="style.css"' not in text
    assert 'src="main.js"' not in text


def test_an_export_replaces_only_by_force(tmp_path):
    (tmp_path / "style.css").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    ended = run("show", "--export", tmp_path)
    assert ended.exit_code == 2
    assert "style.css is there already: --force replaces it" in ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "style.css"]
    ended = run("show", "--export", tmp_path, "--force")
    assert ended.exit_code == 0
    assert SINGLE in ended.stdout
    assert (tmp_path / "style.css").read_bytes() == FILES["style.css"].read_bytes()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_where_no_export_can_be(tmp_path):
    (tmp_path / "file").write_text("")
    ended = run("show", "--export", tmp_path / "file")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "--export must be a folder" in ended.stderr
    (tmp_path / "folder" / "main.js").mkdir(parents=True)
    ended = run("show", "--export", tmp_path / "folder", "--force")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "main.js cannot be written: a folder" in ended.stderr
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "vendor").write_text("mine")
    ended = run("show", "--export", tmp_path / "other", "--force")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "vendor is there already, and is no folder" in ended.stderr
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["vendor"]


def test_a_port_that_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run("show", "--no-browser", "--port", port)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert f"port {port} cannot be used" in ended.stderr


def test_the_browser_is_opened(monkeypatch):
    opened, called = [], threading.Event()

    def open_browser(url):
        opened.append(url)
        called.set()
        return True

    def interrupted(server):
        called.wait(30)
        raise KeyboardInterrupt

    monkeypatch.setattr(webbrowser, "open", open_browser)
    monkeypatch.setattr(PageServer, "serve_forever", interrupted)
    ended = run("show")
    assert (ended.exit_code, ended.stderr) == (0, "")
    (url,) = opened
    assert f"the page is at {url} until Ctrl-C" in ended.stdout
    assert run("show", "--no-browser").exit_code == 0
    assert len(opened) == 1


def test_where_there_is_no_browser(monkeypatch, capsys):
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    show._open("http://127.0.0.1:1/")
    assert "no browser was found" in capsys.readouterr().err


def test_ctrl_c_ends_it_quietly():
    with spawn("show", "--no-browser") as child:
        line = child.stdout.line()
        port = int(line.split(":")[2].partition("/")[0])
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/")
        assert b"Depth as an accelerator" in connection.getresponse().read()
        child.send_signal(signal.SIGINT)
        assert child.wait() == 0
        connection.close()
        assert child.stdout.rest().strip() == ""
        assert child.stderr.rest() == ""
