"""`manage.py data`: list, fetch over HTTP, check."""

import hashlib
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tasks import datasets
from tasks.datasets import DATA_SETS, FetchFailed, File, convert_a9a, fetch, state


@pytest.fixture
def server():
    """`server.files[path] = bytes` are served on loopback; other paths are 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = self.server.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *words):
            pass

    one = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one.files = {}
    one.url = f"http://127.0.0.1:{one.server_port}"
    threading.Thread(target=one.serve_forever, daemon=True).start()
    yield one
    one.shutdown()
    one.server_close()


def file_of(server, content, **changes):
    path = f"/{len(server.files)}"
    server.files[path] = content
    kept = changes.pop("kept", content)
    return File("file", server.url + path, hashlib.sha256(kept).hexdigest(), len(kept), **changes)


def test_fetch_converts_verifies_and_names(server, tmp_path):
    file = file_of(server, b"abc", kept=b"ABC", convert=bytes.upper)
    assert state(file, tmp_path) == "missing"
    assert fetch(file, tmp_path / "new").read_bytes() == b"ABC"
    assert state(file, tmp_path / "new") == "ok"
    (tmp_path / "new" / "file").write_bytes(b"other")
    assert state(file, tmp_path / "new") == "wrong checksum"


def test_a_wrong_file_is_not_kept(server, tmp_path):
    (tmp_path / "file").write_bytes(b"what was here")
    for file, message in [
        (file_of(server, b"abc", kept=b"abd"), "checksum .* is not the expected"),
        (replace(file_of(server, b"abc"), url=f"{server.url}/none"), "404|Not Found"),
        (file_of(server, b"a" * (3 << 20), kept=b"a"), "larger than"),
        (replace(file_of(server, b"abc"), url="http://127.0.0.1:9/file"), "check the network, or copy the file to"),
    ]:
        with pytest.raises(FetchFailed, match=message):
            fetch(file, tmp_path, timeout=5)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"what was here"


def test_the_a9a_converter_makes_the_file_that_is_kept(data_root, tmp_path):
    """From the kept file back to LIBSVM's form (labels -1 and +1, the row with feature 123 put back), and again."""
    kept = (data_root / "a9a" / "a9a").read_bytes()
    rows = [(b"+1 " if row.startswith(b"1 ") else b"-1 ") + row.partition(b" ")[2] for row in kept.splitlines()]
    rows.insert(datasets.A9A_DROPPED_ROW, b"-1 2:1 6:1 14:1 20:1 37:1 42:1 54:1 65:1 67:1 72:1 74:1 77:1 80:1 123:1 ")
    original = b"\n".join(rows) + b"\n"
    assert len(original) == 2_329_875
    assert convert_a9a(original) == kept
    assert hashlib.sha256(kept).hexdigest() == DATA_SETS["a9a"].files[0].sha256
    with pytest.raises(ValueError, match="32,561 rows"):
        convert_a9a(kept)


def test_the_command_fetches_lists_and_checks(server, tmp_path, settings, monkeypatch):
    settings.DATA_ROOT = tmp_path
    file = file_of(server, b"text")
    shelf = {"small": datasets.DataSet("small", "Small", "public domain", server.url, (file,))}
    monkeypatch.setattr(datasets, "DATA_SETS", shelf)
    with pytest.raises(CommandError, match=r"small/file: missing \(run `python manage.py data fetch NAME`\)"):
        call_command("data", "check", stdout=StringIO())
    out = StringIO()
    call_command("data", "fetch", "small", "--json", stdout=out, stderr=StringIO())
    assert json.loads(out.getvalue())[0]["state"] == "ok"
    assert (tmp_path / "small" / "file").read_bytes() == b"text"
    call_command("data", "check", stdout=StringIO())
    with pytest.raises(CommandError, match="unknown data set 'none'; known: small"):
        call_command("data", "fetch", "none")


def test_the_real_files_have_the_registered_checksums(data_root):
    for data in DATA_SETS.values():
        for file in data.files:
            assert state(file, data_root / data.name) == "ok"
            assert (data_root / data.name / file.name).stat().st_size == file.size
