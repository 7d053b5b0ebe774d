"""What is wrong with a Prefect server is told in the words of what to do, before any work."""

from __future__ import annotations

import base64
import json
import sqlite3
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import prefect
import pytest
from distributed import Security
from prefect.context import refresh_global_settings_context
from typer.testing import CliRunner

from sweepflow.flows.cli import app
from sweepflow.flows.runs.record import get_run, now, write_run
from sweepflow.flows.server.embedded import is_embedded, prefect_server
from sweepflow.flows.server.faults import Fault, find_fault
from sweepflow.storage.store import Store
from tests.flows.runs.test_record import record
from tests.prefect_server import isolated

VERSION, FLOWS, TOKEN = "/api/admin/version", "/api/flows/filter", "/api/csrf-token"
HERE = json.dumps(prefect.__version__)


class Answer(NamedTuple):
    code: int
    body: str = ""
    kind: str = "application/json"
    where: str = ""


Answers = Callable[[str, str], Answer]
"""Of a path and of the Authorization header that comes with it."""

UNPROTECTED = Answer(422, '"CSRF protection is disabled."')
SOUND = {VERSION: Answer(200, HERE), FLOWS: Answer(200, "[]"), TOKEN: UNPROTECTED}
PLAIN_TO_TLS = Answer(400, "The plain HTTP request was sent to HTTPS port", "text/html")
MOVED = Answer(307, where="https://prefect.example.org/api/admin/version")
NOTHING = Answer(404, '{"detail": "Not Found"}')
BROKEN = Answer(500, '{"exception_message": "Internal Server Error"}')
PAGE = Answer(200, "<!doctype html><title>A router</title>", "text/html")
REFUSED = Answer(401, '{"exception_message": "Unauthorized"}')


@contextmanager
def serving(answers: Answers) -> Iterator[int]:
    """A web server of this process's, that gives some answers; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            code, body, kind, where = answers(
                self.path.partition("?")[0], self.headers.get("Authorization", "")
            )
            self.send_response(code)
            if where:
                self.send_header("Location", where)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def fault_of(answers: Answers, url: str = "http://127.0.0.1:{}/api") -> Fault | None:
    with serving(answers) as port:
        return find_fault(url.format(port))


def instead(path: str, answer: Answer) -> Answers:
    return lambda asked, _: answer if asked == path else SOUND.get(asked, NOTHING)


def secured(secret: str) -> Answers:
    right = f"Basic {base64.b64encode(secret.encode()).decode()}"
    return lambda path, header: SOUND[path] if header == right else REFUSED


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Prefect's settings as in a new environment; sets some."""
    for name in isolated(tmp_path):
        if name.startswith("PREFECT_"):
            monkeypatch.setenv(name, isolated(tmp_path)[name])
    monkeypatch.delenv("PREFECT_API_URL", raising=False)

    def put(**environment: str) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        refresh_global_settings_context()

    put()
    yield put
    monkeypatch.undo()
    refresh_global_settings_context()


def test_a_server_that_answers_all_has_no_fault() -> None:
    assert fault_of(lambda path, _: SOUND[path]) is None


@pytest.mark.parametrize(
    ("answers", "what", "passes"),
    [
        (instead(FLOWS, BROKEN), "cannot use its database", True),
        (instead(VERSION, BROKEN), "Prefect's server fails", True),
        (instead(FLOWS, Answer(503)), "cannot answer at the moment", True),
        (instead(VERSION, Answer(502, "bad gateway", "text/html")), "cannot answer at the moment", True),
        (lambda path, _: PAGE, "there is no Prefect API at this address", False),
        (lambda path, _: Answer(200, '{"status": "ok"}'), "there is no Prefect API at this address", False),
        (lambda path, _: NOTHING, "there is no Prefect API", False),
        (lambda path, _: PLAIN_TO_TLS, "no Prefect API", False),
        (instead(VERSION, Answer(200, '"2.20.3"')), "another major version", False),
        (lambda path, _: MOVED, "points to another", False),
        (lambda path, _: REFUSED, "wants to know who asks", False),
        (lambda path, _: Answer(403, "{}"), "does not let this user in", False),
    ],
)
def test_every_wrong_answer_says_what_to_do(answers: Answers, what: str, passes: bool) -> None:
    fault = fault_of(answers)
    assert fault is not None and what in fault.what and fault.passes is passes
    assert fault.do and "http://127.0.0.1:" in fault.got
    assert fault.error.exit_code == 2 and len(str(fault.error).splitlines()) <= 4


def test_an_address_without_api_and_one_that_moved_name_the_right_one() -> None:
    pages: Answers = lambda path, _: SOUND.get(path, PAGE)  # noqa: E731
    fault = fault_of(pages, "http://127.0.0.1:{}")
    assert fault is not None and "A router" in fault.got and "http://HOST:4200/api" in fault.allowed
    moved = fault_of(lambda path, _: Answer(301, where=f"https://prefect.example.org{path}"))
    assert moved is not None and moved.allowed == "https://prefect.example.org/api"


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_the_wrong_scheme_is_told(scheme: str, tmp_path: Path) -> None:
    """A server without TLS that is asked for it, and one whose certificate nobody here trusts."""
    if scheme == "https":
        fault = fault_of(lambda path, _: SOUND[path], "https://127.0.0.1:{}/api")
        assert fault is not None and "does not speak TLS" in fault.what and "http://" in fault.do
        return
    made = Security.temporary()
    (tmp_path / "pem").write_text(f"{made.tls_scheduler_key}\n{made.tls_scheduler_cert}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        plain = find_fault(f"http://127.0.0.1:{server.server_port}/api")
        foreign = find_fault(f"https://127.0.0.1:{server.server_port}/api")
        server.shutdown()
    assert plain is not None and "ends the connection" in plain.what and "https://" in plain.do
    assert foreign is not None and "is not trusted here" in foreign.what
    assert "PREFECT_API_SSL_CERT_FILE" in foreign.do


@pytest.mark.parametrize(
    "url", ["localhost:4200/api", "http://", "http://[::1", "ftp://host/api", "http://host:port/api"]
)
def test_what_is_no_address_is_told(url: str) -> None:
    fault = find_fault(url)
    assert fault is not None and fault.what == "PREFECT_API_URL is no address" and not fault.passes


def test_a_certificate_that_is_not_there_is_told(settings: Callable[..., None], tmp_path: Path) -> None:
    settings(PREFECT_API_SSL_CERT_FILE=str(tmp_path / "none.pem"))
    fault = find_fault("https://127.0.0.1:9/api")
    assert fault is not None and "PREFECT_API_SSL_CERT_FILE" in fault.do


def test_nothing_secret_is_shown(settings: Callable[..., None]) -> None:
    settings(PREFECT_API_AUTH_STRING="me:guessed")
    fault = fault_of(secured("me:right"), "http://user:word@127.0.0.1:{}/api")
    assert fault is not None and "does not take this PREFECT_API_AUTH_STRING" in fault.what
    silent = find_fault("http://user:word@127.0.0.1:9/api")
    assert silent is not None
    for text in (str(fault.error), str(silent.error)):
        assert "guessed" not in text and "word@" not in text
    settings(PREFECT_API_AUTH_STRING="me:right")
    assert fault_of(secured("me:right")) is None
    settings(PREFECT_API_AUTH_STRING="", PREFECT_API_KEY="pnu_123")
    fault = fault_of(secured("me:right"))
    assert (
        fault is not None
        and "does not take this PREFECT_API_KEY" in fault.what
        and "pnu_123" not in fault.got
    )


@pytest.mark.parametrize(
    "command",
    [
        ["llc", "model=small", "target.steps=20"],
        ["sweep", "workload=landscape", "x=0.1,0.2", "steps=5"],
        ["verify", "--quick"],
        ["doctor"],
        ["doctor", "runner=dask"],
    ],
    ids=" ".join,
)
def test_a_command_ends_with_2_before_any_work(
    command: list[str], settings: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPFLOW_STORE", str(tmp_path / "store"))
    with serving(secured("me:right")) as port:
        settings(PREFECT_API_URL=f"http://127.0.0.1:{port}/api", PREFECT_API_AUTH_STRING="me:wrong")
        result = CliRunner().invoke(app, command)
    assert result.exit_code == 2, result.output
    assert "does not take this PREFECT_API_AUTH_STRING" in result.output and "Traceback" not in result.output
    assert not list((tmp_path / "store").rglob("*.json"))


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["resume"], 2, "error: Prefect's server does not take this PREFECT_API_AUTH_STRING"),
        (["cancel", "a sweep"], 0, "Prefect was not told: Prefect's server does not take this"),
        (["cleanup", "--yes"], 1, "Prefect was not told of 1 dead runs: Prefect's server does not take this"),
        (["runs"], 0, "a sweep"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_commands_about_runs_say_it_too(
    command: list[str], code: int, said: str, settings: Callable[..., None], store: Store
) -> None:
    """A run can be looked at and ended without a server."""
    died = now() - timedelta(hours=1)
    run = record(beat=died, started=died, attempt_started=died, api_url="http://127.0.0.1:9/api")
    write_run(store, run)
    with serving(secured("me:right")) as port:
        settings(PREFECT_API_URL=f"http://127.0.0.1:{port}/api", PREFECT_API_AUTH_STRING="me:wrong")
        result = CliRunner().invoke(app, [*command, "--store", str(store.root)])
    assert result.exit_code == code, result.output
    assert said in " ".join(result.output.split()) and "Traceback" not in result.output
    after = get_run(store, run.flow_run_id)
    assert after is not None
    assert after.state == {"resume": "running", "runs": "running", "cancel": "cancelled"}.get(
        command[0], "crashed"
    )


@pytest.mark.server
@pytest.mark.slow
def test_an_embedded_server_lets_its_own_client_in(
    settings: Callable[..., None], tmp_path: Path, new_home: Callable[[Path], Path]
) -> None:
    home = new_home(tmp_path / "home")
    settings(
        PREFECT_HOME=str(home),
        PREFECT_SERVER_API_AUTH_STRING="me:of this server",
        PREFECT_API_AUTH_STRING="me:of another",
    )
    with prefect_server():
        url = str(prefect.settings.get_current_settings().api.url)
        assert is_embedded(url) and find_fault(url) is None
        with sqlite3.connect(home / "prefect.db") as database:
            database.execute("ALTER TABLE flow RENAME TO gone")
        broken = find_fault(url)
        assert broken is not None and "cannot use its database" in broken.what
        settings(PREFECT_API_AUTH_STRING="me:wrong")
        refused = find_fault(url)
        assert refused is not None and "does not take this PREFECT_API_AUTH_STRING" in refused.what
