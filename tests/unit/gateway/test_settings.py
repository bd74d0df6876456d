"""Where the key, the endpoint and the sockets come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.gateway.settings import gateway_settings, resolve_base_url, resolve_key, runtime_folder
from runner.spec.models import Model

MODEL = Model(provider="openai", name="gpt-4o-mini")


def test_scripted_model_needs_no_key() -> None:
    """Whatever the environment holds, the scripted model gets no key."""
    assert resolve_key(Model(), {"OPENAI_API_KEY": "k"}) is None


def test_key_comes_from_the_named_variable() -> None:
    """`key_env` names the variable."""
    key = resolve_key(MODEL.model_copy(update={"key_env": "LAB_KEY"}), {"LAB_KEY": " k-1\n", "OPENAI_API_KEY": "k-2"})
    assert key is not None
    assert key.get_secret_value() == "k-1"
    assert "k-1" not in repr(key)


@pytest.mark.parametrize("environment", [{}, {"OPENAI_API_KEY": " "}])
def test_missing_key_says_what_to_type(environment: dict[str, str]) -> None:
    """A missing or empty key names the variable and the command."""
    with pytest.raises(ConfigError) as error:
        resolve_key(MODEL, environment)
    assert error.value.what == "no key for openai/gpt-4o-mini: OPENAI_API_KEY is not set"
    assert "export OPENAI_API_KEY=" in error.value.hint


def test_key_file_is_read(tmp_path: Path) -> None:
    """A private key file is found relative to the project and stripped."""
    file = tmp_path / "key"
    file.write_text("k-3\n")
    file.chmod(0o600)
    key = resolve_key(MODEL.model_copy(update={"key_file": "key"}), {}, project=tmp_path)
    assert key is not None
    assert key.get_secret_value() == "k-3"


@pytest.mark.parametrize(
    ("content", "mode", "what"),
    [
        (b"k", 0o640, "the key file can be read by others (mode 0640)"),
        (b"k", 0o604, "the key file can be read by others (mode 0604)"),
        (b"\n", 0o600, "the key file must hold one word, the key"),
        (b"a b", 0o600, "the key file must hold one word, the key"),
        (b"\xff", 0o600, "the key file is no UTF-8 text"),
        (None, 0, "the key file cannot be read: No such file or directory"),
    ],
)
def test_unfit_key_file_is_refused(tmp_path: Path, content: bytes | None, mode: int, what: str) -> None:
    """A key file that others can read, or that holds no key, is refused without showing its content."""
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    with pytest.raises(ConfigError) as error:
        resolve_key(MODEL.model_copy(update={"key_file": str(file)}), {})
    assert (error.value.what, error.value.where) == (what, str(file))


def test_endpoint_is_the_models_then_the_environments() -> None:
    """The model's own base URL wins over OPENAI_BASE_URL, which wins over the public one."""
    environment = {"OPENAI_BASE_URL": "http://lab:8000/v1/"}
    own = MODEL.model_copy(update={"base_url": "http://own/v1"})
    assert resolve_base_url(own, environment) == "http://own/v1"
    assert resolve_base_url(MODEL, environment) == "http://lab:8000/v1"
    assert resolve_base_url(MODEL, {}) == "https://api.openai.com/v1"


def test_process_gets_proxies_and_certificates_only() -> None:
    """Of the caller's environment the process gets the way out and the certificates, and no secret."""
    environment = {
        "HTTPS_PROXY": "http://proxy:3128",
        "NO_PROXY": "lab",
        "REQUESTS_CA_BUNDLE": "/etc/lab.pem",
        "OPENAI_API_KEY": "k",
        "AWS_SECRET": "s",
    }
    settings = gateway_settings(MODEL, environment)
    assert settings.environment == {
        "HTTPS_PROXY": "http://proxy:3128",
        "NO_PROXY": "lab",
        "SSL_CERT_FILE": "/etc/lab.pem",
    }


def test_sockets_lie_where_a_path_is_short_enough(tmp_path: Path) -> None:
    """A runtime folder with a long name is passed over for one in which a socket fits."""
    long = tmp_path / ("x" * 80)
    long.mkdir()
    assert runtime_folder({"XDG_RUNTIME_DIR": str(long)}) != long
    assert len(str(runtime_folder({"XDG_RUNTIME_DIR": str(long)}))) <= 64


def test_runtime_folder_is_preferred(tmp_path_factory: pytest.TempPathFactory) -> None:
    """XDG_RUNTIME_DIR comes first, TMPDIR before /tmp, and what is not there is passed over."""
    short = tmp_path_factory.mktemp("r")
    assert runtime_folder({"XDG_RUNTIME_DIR": str(short), "TMPDIR": "/tmp"}) == short
    assert runtime_folder({"XDG_RUNTIME_DIR": "/nonexistent"}).is_dir()
