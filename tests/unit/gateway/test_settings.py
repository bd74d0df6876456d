"""Where the key, the endpoint and the sockets come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.gateway.settings import find_prices, gateway_settings, resolve_base_url, resolve_key, runtime_folder
from runner.spec.model import Budget, Model, ProviderName

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


@pytest.mark.parametrize(
    ("provider", "endpoint", "public", "variable"),
    [
        ("openai", "OPENAI_BASE_URL", "https://api.openai.com/v1", "OPENAI_API_KEY"),
        ("anthropic", "ANTHROPIC_BASE_URL", "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
        ("azure", "AZURE_OPENAI_ENDPOINT", None, "AZURE_OPENAI_API_KEY"),
    ],
)
def test_each_provider_has_its_variables(
    provider: ProviderName, endpoint: str, public: str | None, variable: str
) -> None:
    """Endpoint and key come from the variables of the provider's own SDK, and from no other provider's."""
    model = Model(provider=provider, name="m")
    everything = {
        f"{one}_{what}": f"http://{one}.lab/{what}/"
        for one in ("OPENAI", "ANTHROPIC")
        for what in ("BASE_URL", "API_KEY")
    } | {"AZURE_OPENAI_ENDPOINT": "http://azure.lab/", "AZURE_OPENAI_API_KEY": "k-azure"}
    key = resolve_key(model, everything)
    assert resolve_base_url(model, everything) == everything[endpoint].rstrip("/")
    assert key is not None
    assert key.get_secret_value() == everything[variable]
    if public is not None:
        assert resolve_base_url(model, {}) == public


def test_azure_has_no_public_endpoint() -> None:
    """Without an endpoint there is nobody to ask, and the message says what to type."""
    with pytest.raises(ConfigError) as error:
        resolve_base_url(Model(provider="azure", name="deployed"), {})
    assert error.value.what == "no endpoint for azure/deployed: AZURE_OPENAI_ENDPOINT is not set"
    assert "export AZURE_OPENAI_ENDPOINT=" in error.value.hint


@pytest.mark.parametrize("provider", ["scripted", "replay"])
def test_prepared_answers_need_neither_key_nor_endpoint(provider: ProviderName) -> None:
    """Scripted and replayed models ask nobody."""
    settings = gateway_settings(Model(provider=provider), {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://x"})
    assert (settings.key, settings.base_url) == (None, "")


def test_without_a_model_there_is_no_key() -> None:
    """An experiment whose steps only reach hosts and packages needs no key, whatever the environment holds."""
    settings = gateway_settings(None, {"OPENAI_API_KEY": "k"}, budget=Budget(calls=3))
    assert (settings.key, settings.base_url, settings.prices) == (None, "", None)
    assert settings.budget == Budget(calls=3)


def test_key_never_shows(tmp_path: Path) -> None:
    """Settings can be printed without giving the key away."""
    assert "k-secret" not in repr(gateway_settings(MODEL, {"OPENAI_API_KEY": "k-secret"}, project=tmp_path))


def test_table_of_prices_is_the_models_or_the_projects(tmp_path: Path) -> None:
    """The file that the model names counts, else the project's; that one may be absent, a named one may not."""
    own = MODEL.model_copy(update={"prices": "lab.yaml"})
    assert find_prices(MODEL, tmp_path) is None
    with pytest.raises(ConfigError, match=r"model\.prices: there is no file"):
        find_prices(own, tmp_path)
    for name in ("lab.yaml", "config/prices.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_prices(own, tmp_path) == tmp_path / "lab.yaml"
    assert find_prices(MODEL, tmp_path) == tmp_path / "config" / "prices.yaml"


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
