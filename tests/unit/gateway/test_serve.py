"""The meter alone: `runner gateway serve`, as a user types it, with the real SDK in front of it."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
from support.recordings import Exchange, answer, question, record

from runner.cli.main import main
from runner.errors import ConfigError
from runner.evidence.archive import write_archive
from runner.evidence.layout import RunLayout
from runner.gateway.serve import free_socket, require_private

pytestmark = pytest.mark.processes

RUNNER = Path(sys.executable).with_name("runner")
MESSAGES: Any = [{"role": "user", "content": "x"}]
ANSWERS = "version: 1\nsteps: {any: [{content: one}, {content: two}, {content: three}]}"
ENDED = 60.0


@dataclass(kw_only=True)
class Serving:
    """Holds a running `runner gateway serve`."""

    process: subprocess.Popen[str]
    exports: dict[str, str]
    lines: list[str] = field(default_factory=list)

    def client(self) -> openai.OpenAI:
        """Return the real SDK's client, led here by the printed variables alone."""
        return openai.OpenAI(
            api_key=self.exports["OPENAI_API_KEY"], base_url=self.exports["OPENAI_BASE_URL"], max_retries=0, timeout=60
        )

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Stop it as a terminal does and return the exit code and what it said on stderr."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=ENDED)
        return self.process.returncode, err


Serve = Callable[..., Serving]


@pytest.fixture
def environment(tmp_path: Path, sentinel: str) -> dict[str, str]:
    """Return an environment with the sentinel key."""
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OPENAI_API_KEY": sentinel}


@pytest.fixture
def serve(tmp_path: Path, environment: Mapping[str, str]) -> Iterator[Serve]:
    """Return what starts it and waits for its variables."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str, **more: str) -> Serving:
        process = subprocess.Popen(
            [str(RUNNER), "gateway", "serve", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**environment, **more},
        )
        started.append(process)
        assert process.stdout is not None
        exports: dict[str, str] = {}
        timer = threading.Timer(120, process.kill)
        timer.start()
        while ("RUNNER_MODEL" if "--model" in options else "ANTHROPIC_BASE_URL") not in exports:
            line = process.stdout.readline()
            if not line:
                pytest.fail(f"it ended: {process.communicate()[1]}")
            found = re.fullmatch(r"export (\w+)=(.*)\n", line)
            exports |= {found[1]: shlex.split(found[2])[0]} if found else {}
        timer.cancel()
        return Serving(process=process, exports=exports)

    yield start
    for process in started:
        # Killed at once, it would leave its folder of temporary files.
        process.terminate()
        try:
            process.communicate(timeout=ENDED)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@pytest.fixture
def answers(tmp_path: Path) -> str:
    """Return a file of scripted answers."""
    path = tmp_path / "answers.yaml"
    path.write_text(ANSWERS)
    return str(path)


def _refused(environment: Mapping[str, str], folder: Path, *options: str) -> str:
    out, err = io.StringIO(), io.StringIO()
    code = main(["gateway", "serve", "-C", str(folder), *options], environment=environment, out=out, err=err)
    assert (code, out.getvalue()) == (2, "")
    return err.getvalue()


def test_scripted_model_through_the_sdk(serve: Serve, answers: str, tmp_path: Path) -> None:
    """The printed variables are all the SDK needs; whole and streamed calls are told, recorded, and summed up at the end."""
    serving = serve("--provider", "scripted", "--answers", answers, "--port", "0", "--calls", "calls.jsonl")
    with serving.client() as client:
        whole = client.chat.completions.create(model="any-model", messages=MESSAGES)
        stream = client.chat.completions.create(model="any-model", messages=MESSAGES, stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    code, err = serving.end()
    calls = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert (whole.choices[0].message.content, text) == ("one", "two")
    assert whole.usage is not None
    assert code == 0
    assert [call["tokens_in"] for call in calls] == [whole.usage.prompt_tokens] * 2
    told = [line for line in err.splitlines() if "  200  " in line]
    assert len(told) == 2
    assert f"{whole.usage.prompt_tokens} in, {whole.usage.completion_tokens} out" in told[0]
    assert re.search(r"^2 calls: \d+ tokens in, \d+ out", err, re.MULTILINE)


def test_recorded_run_answers_again(serve: Serve, environment: Mapping[str, str], tmp_path: Path) -> None:
    """The calls of a run's first step are answered, each time it is served anew; another step has to be one of its."""
    record(tmp_path / "run", [Exchange(request=question("a"), answer=answer("A"))])
    options = ("--provider", "replay", "--recording", "run", "--calls", "calls.jsonl", "--port", "0")
    for _ in range(2):
        serving = serve(*options)
        with serving.client() as client:
            body = question("a")
            replied = client.chat.completions.create(model=body["model"], messages=body["messages"])
        assert replied.choices[0].message.content == "A"
        assert serving.end()[0] == 0
    write_archive(RunLayout(tmp_path / "run"), "gzip")
    (tmp_path / "run" / "run.tar.gz").rename(tmp_path / "alone.tar.gz")
    serving = serve("--provider", "replay", "--recording", "alone.tar.gz", "--port", "0")
    with serving.client() as client:
        replied = client.chat.completions.create(model=body["model"], messages=body["messages"])
    assert replied.choices[0].message.content == "A"
    assert serving.end()[0] == 0
    options = ("--provider", "replay", "--recording", str(tmp_path / "run"), "--port", "0", "--step", "stranger")
    assert "choices: begin" in _refused(environment, tmp_path, *options)


def test_what_is_missing_is_named_as_an_option(environment: Mapping[str, str], tmp_path: Path) -> None:
    """Answers, a recording, a key and an endpoint that are missing are asked for by the options there are."""
    assert "-> name their file: --answers FILE" in _refused(
        environment, tmp_path, "--provider", "scripted", "--port", "0"
    )
    assert "-> name it: --recording RUN|ARCHIVE|DIR" in _refused(
        environment, tmp_path, "--provider", "replay", "--port", "0"
    )
    error = _refused({}, tmp_path, "--provider", "openai", "--port", "0")
    assert ("--key-file FILE" in error, "model.key_file" in error) == (True, False)
    error = _refused({"AZURE_OPENAI_API_KEY": "k"}, tmp_path, "--provider", "azure", "--port", "0")
    assert ("--base-url https://..." in error, "model.base_url" in error) == (True, False)


def test_a_recording_is_a_run_of_the_project_too(environment: Mapping[str, str], tmp_path: Path) -> None:
    """A run's id is looked up in the project around; outside one, an error says what may be named."""
    options = ("--provider", "replay", "--port", "0", "--recording", "crud-r1")
    assert "an id is looked up in a project only" in _refused(environment, tmp_path, *options)
    for name in ("config/experiments", "config/scenarios", "images"):
        (tmp_path / name).mkdir(parents=True)
    assert "there is no run crud-r1" in _refused(environment, tmp_path, *options)


def test_model_is_the_one_that_is_asked_for(
    serve: Serve, upstream: Any, environment: Mapping[str, str], sentinel: str
) -> None:
    """Without --model the name is passed on as asked; the endpoint gets the real key, the client never sees it."""
    serving = serve("--provider", "openai", "--base-url", f"{upstream.url}/ok/v1", "--port", "0")
    before = len(upstream.asked)
    with serving.client() as client:
        answer = client.chat.completions.create(model="some-model", messages=MESSAGES)
    code, err = serving.end(signal.SIGTERM)
    assert upstream.asked[before]["model"] == "some-model"
    assert upstream.headers[before]["Authorization"] == f"Bearer {sentinel}"
    assert answer.choices[0].message.content == "real answer"
    assert "RUNNER_MODEL" not in serving.exports
    assert sentinel not in err + str(serving.exports)
    assert "1 call: 11 tokens in, 5 out" in err
    assert code == 0


def test_named_model_replaces_the_one_that_is_asked_for(serve: Serve, upstream: Any) -> None:
    """With --model every call goes to that model."""
    serving = serve("--provider", "openai", "--model", "mine", "--base-url", f"{upstream.url}/ok/v1", "--port", "0")
    before = len(upstream.asked)
    with serving.client() as client:
        client.chat.completions.create(model="some-model", messages=MESSAGES)
    assert upstream.asked[before]["model"] == "mine"
    assert serving.exports["RUNNER_MODEL"] == "mine"


def test_budget_ends_calls_and_counts_earlier_ones(serve: Serve, answers: str) -> None:
    """A call beyond the budget is refused, the exit code says so, and the calls file is remembered the next time."""
    options = ("--provider", "scripted", "--answers", answers, "--port", "0", "--calls", "calls.jsonl")
    first = serve(*options, "--budget-calls", "2")
    with first.client() as client:
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert first.end()[0] == 0
    second = serve(*options, "--budget-calls", "2")
    with second.client() as client:
        client.chat.completions.create(model="m", messages=MESSAGES)
        with pytest.raises(openai.PermissionDeniedError, match="budget"):
            client.chat.completions.create(model="m", messages=MESSAGES)
    code, err = second.end()
    assert code == 1
    assert "budget" in err.splitlines()[-1]


def test_socket_of_a_chosen_name(serve: Serve, answers: str, tmp_path: Path) -> None:
    """It serves at the socket that was named, for its owner only, and takes it away at the end."""
    import httpx2

    path = tmp_path / "meter.sock"
    serving = serve("--provider", "scripted", "--answers", answers, "--socket", str(path))
    mode = path.stat().st_mode
    http = httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path)), timeout=60)
    key, url = serving.exports["OPENAI_API_KEY"], serving.exports["OPENAI_BASE_URL"]
    with openai.OpenAI(api_key=key, base_url=url, http_client=http, max_retries=0) as client:
        answer = client.chat.completions.create(model="m", messages=MESSAGES)
    assert serving.end()[0] == 0
    assert answer.choices[0].message.content == "one"
    assert stat.S_IMODE(mode) == 0o600
    assert not path.exists()


def test_killed_gateway_comes_back_on_the_same_port(serve: Serve, answers: str) -> None:
    """If its inner process is killed, the next call is answered at the same address with the same token."""
    serving = serve("--provider", "scripted", "--answers", answers, "--port", "0")
    children = Path(f"/proc/{serving.process.pid}/task/{serving.process.pid}/children")
    with serving.client() as client:
        client.chat.completions.create(model="m", messages=MESSAGES)
        os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
        end = time.monotonic() + 60
        while True:
            try:
                answer = client.chat.completions.create(model="m", messages=MESSAGES)
                break
            except openai.APIConnectionError:
                assert time.monotonic() < end
                time.sleep(0.05)
    assert answer.choices[0].message.content == "two"
    assert "2 calls:" in serving.end()[1]


def test_token_from_the_environment(serve: Serve, answers: str) -> None:
    """RUNNER_GATEWAY_TOKEN is the token; another is refused."""
    token = "a-token-of-my-own-choice"
    serving = serve("--provider", "scripted", "--answers", answers, "--port", "0", RUNNER_GATEWAY_TOKEN=token)
    assert serving.exports["OPENAI_API_KEY"] == token
    with (
        openai.OpenAI(api_key="another", base_url=serving.exports["OPENAI_BASE_URL"], max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.chat.completions.create(model="m", messages=MESSAGES)


def test_nothing_is_left_behind(serve: Serve, answers: str, tmp_path: Path) -> None:
    """Without --calls nothing is kept, and no folder of sockets stays."""
    # Not below the test's own folder: paths of sockets have to be short.
    with tempfile.TemporaryDirectory() as folder:
        runtime = Path(folder)
        serving = serve("--provider", "scripted", "--answers", answers, "--port", "0", XDG_RUNTIME_DIR=folder)
        assert len(list(runtime.iterdir())) == 1
        with serving.client() as client:
            client.chat.completions.create(model="m", messages=MESSAGES)
        serving.end()
        assert list(runtime.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["answers.yaml"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--provider", "openai"], "one of the arguments --socket --port is required"),
        (["--provider", "openia", "--port", "0"], "did you mean openai?"),
        (["--provider", "openai", "--port", "0", "--host", "0.0.0.0"], "--expose"),
        (["--provider", "openai", "--port", "0", "--host", "example.org"], "may be reached from other machines"),
        (["--provider", "azure", "--port", "0"], "AZURE_OPENAI"),
        (["--provider", "openai", "--port", "0", "--budget-tokens", "0"], "flag --budget-tokens"),
        (["--provider", "openai", "--port", "0", "--budget-call-time", "soon"], "flag --budget-call-time"),
        (["--provider", "openai", "--port", "0", "--concurrency", "0"], "flag --concurrency"),
        (["--provider", "openai", "--port", "0", "--allow", "no host"], "--allow no host is no host"),
        (["--provider", "scripted", "--port", "0"], "needs prepared answers"),
        (["--provider", "openai", "--socket", "/nowhere/s"], "there is no folder /nowhere"),
        (["--provider", "openai", "--port", "0", "--prices", "none.yaml"], "none.yaml"),
    ],
)
def test_wrong_options_are_said(environment: Mapping[str, str], tmp_path: Path, options: list[str], error: str) -> None:
    """What cannot be served ends with 2, says which option is wrong, and prints nothing to stdout."""
    assert error in _refused(environment, tmp_path, *options)


def test_short_token_is_refused(environment: Mapping[str, str], tmp_path: Path) -> None:
    """A token that could be guessed is not used."""
    said = _refused({**environment, "RUNNER_GATEWAY_TOKEN": "short"}, tmp_path, "--provider", "openai", "--port", "0")
    assert "too short" in said


def test_taken_port_is_said(environment: Mapping[str, str], tmp_path: Path, answers: str) -> None:
    """A port that somebody else has is named."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        said = _refused(environment, tmp_path, "--provider", "scripted", "--answers", answers, "--port", port)
    assert f"127.0.0.1:{port}: Address already in use" in said
    assert "choose another --port" in said


def test_stale_socket_makes_room_and_others_do_not(tmp_path: Path) -> None:
    """A socket nobody listens on is replaced; one in use, or a file, is left alone and named."""
    path, file = tmp_path / "s", tmp_path / "f"
    file.touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        with pytest.raises(ConfigError, match="somebody serves at"):
            free_socket(path)
    assert path.exists()
    free_socket(path)
    free_socket(path)
    assert not path.exists()
    with pytest.raises(ConfigError, match="is no socket"):
        free_socket(file)
    assert file.exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_no_exposure(host: str) -> None:
    """Addresses that only this machine reaches are fine as they are."""
    require_private(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "192.168.1.2", "example.org", "localhost.example.org"])
def test_other_addresses_need_exposure(host: str) -> None:
    """Every other address is refused."""
    with pytest.raises(ConfigError, match="other machines"):
        require_private(host)


@pytest.mark.parametrize("port", ["65536", "-1"])
def test_port_that_is_none_is_said(answers: str, tmp_path: Path, port: str) -> None:
    """A number that is no port is refused before anything is started."""
    said = _refused({}, tmp_path, "--provider", "scripted", "--answers", answers, "--port", port)
    assert f"--port {port} is no port" in said


def test_unknown_host_is_said(answers: str, tmp_path: Path) -> None:
    """A name that leads to no address is named, with the system's reason."""
    where = ("--port", "0", "--host", "no.such.host.invalid", "--expose")
    said = _refused({}, tmp_path, "--provider", "scripted", "--answers", answers, *where)
    assert "cannot listen on no.such.host.invalid:0: " in said
    assert "Unknown error" not in said
