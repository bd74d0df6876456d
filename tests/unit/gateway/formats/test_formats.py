"""Which format a request is in, what is pinned in it, and the formats with little to them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.gateway.formats import api_path, find, models
from runner.gateway.metering import NOTHING, Seen, Usage
from runner.gateway.providers.protocol import Refused
from runner.spec.model import Sampling

ALL = Sampling(temperature=0.5, top_p=0.9, seed=7, max_tokens=100)


@pytest.mark.parametrize(
    ("method", "path", "name", "family"),
    [
        ("POST", "/v1/chat/completions", "openai-chat", "openai"),
        ("POST", "/chat/completions", "openai-chat", "openai"),
        ("POST", "/v1/chat/completions/", "openai-chat", "openai"),
        ("POST", "/openai/deployments/gpt-4o/chat/completions", "openai-chat", "openai"),
        ("POST", "/openai/v1/responses", "openai-responses", "openai"),
        ("POST", "/v1/responses", "openai-responses", "openai"),
        ("POST", "/v1/completions", "openai-completions", "openai"),
        ("POST", "/v1/embeddings", "openai-embeddings", "openai"),
        ("POST", "/v1/messages", "anthropic-messages", "anthropic"),
        ("POST", "/v1/messages/count_tokens", "anthropic-count-tokens", "anthropic"),
        ("GET", "/v1/models", "models", "openai"),
        ("GET", "/v1/models/org/name", "models", "openai"),
        ("POST", "/v1/models", "other", "openai"),
        ("GET", "/v1/chat/completions", "other", "openai"),
        ("GET", "/v1/responses/resp_1", "other", "openai"),
        ("POST", "/v1/messages/batches", "other", "openai"),
        ("DELETE", "/v1/files/x", "other", "openai"),
        ("OPTIONS", "*", "other", "openai"),
    ],
)
def test_format_is_found_by_method_and_path(method: str, path: str, name: str, family: str) -> None:
    """Known calls are known under every path they come by; all others are passed on."""
    found = find(method, path)
    assert (found.name, found.family) == (name, family)


def test_header_tells_the_family_where_the_path_does_not() -> None:
    """A client of Anthropic gets models and errors as it knows them."""
    assert find("GET", "/v1/models", anthropic=True).family == "anthropic"
    assert find("POST", "/v1/messages/batches", anthropic=True).family == "anthropic"


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("/v1/embeddings", "/v1/embeddings"),
        ("/embeddings", "/v1/embeddings"),
        ("/openai/deployments/a%20b/embeddings", "/v1/embeddings"),
        ("/v1/files", "/v1/files"),
        ("/files/", "/files/"),
        ("/openai/files", "/openai/files"),
    ],
)
def test_only_known_paths_are_straightened(path: str, plain: str) -> None:
    """A path that is passed on unread stays as it came."""
    assert api_path(path) == plain


@pytest.mark.parametrize(
    ("path", "body", "pinned"),
    [
        (
            "/v1/chat/completions",
            {"temperature": 1, "max_tokens": 5},
            {"temperature": 0.5, "top_p": 0.9, "seed": 7, "max_tokens": 100},
        ),
        (
            "/v1/chat/completions",
            {"temperature": 0.5},
            {"top_p": 0.9, "seed": 7, "max_completion_tokens": 100},
        ),
        (
            "/v1/chat/completions",
            {"max_tokens": 5, "max_completion_tokens": 6, "top_p": 0.9, "seed": 7, "temperature": None},
            {"temperature": 0.5, "max_tokens": 100, "max_completion_tokens": 100},
        ),
        ("/v1/responses", {}, {"temperature": 0.5, "top_p": 0.9, "max_output_tokens": 100}),
        ("/v1/completions", {}, {"temperature": 0.5, "top_p": 0.9, "seed": 7, "max_tokens": 100}),
        ("/v1/messages", {"max_tokens": 100}, {"temperature": 0.5, "top_p": 0.9}),
        ("/v1/messages/count_tokens", {}, {}),
        ("/v1/embeddings", {}, {}),
        ("/v1/moderations", {}, {}),
    ],
)
def test_sampling_is_pinned_under_each_formats_names(path: str, body: dict[str, Any], pinned: dict[str, Any]) -> None:
    """What differs is replaced, what is missing added, what the format has no name for left out."""
    assert find("POST", path).pins(body, ALL, 3) == pinned


def test_seed_may_be_the_repetitions() -> None:
    """`repetition` pins each repetition's own seed, 0 included; nothing configured pins nothing."""
    chat = find("POST", "/v1/chat/completions")
    assert chat.pins({}, Sampling(seed="repetition"), 0) == {"seed": 0}
    assert chat.pins({"temperature": 1}, Sampling(), 3) == {}
    assert chat.pins({"temperature": 1}, Sampling(temperature=0), 3) == {"temperature": 0}


def test_embeddings_state_the_requests_tokens() -> None:
    """An embedding's usage has no answer's tokens, because there are none."""
    stated = {"object": "list", "data": [], "model": "e-3", "usage": {"prompt_tokens": 8, "total_tokens": 8}}
    seen = find("POST", "/v1/embeddings").see(Seen(), stated)
    assert seen.usage == Usage(tokens_in=8, tokens_out=0, tokens_cached=0, tokens_cache_written=0, tokens_reasoning=0)
    assert seen.model == "e-3"
    assert find("POST", "/v1/embeddings").see(Seen(), {"data": []}).usage is None
    assert NOTHING.tokens_in == 0


def test_other_answers_count_if_posted_and_stated() -> None:
    """What another path states in a known way counts, unless it is only read again."""
    stated = {"usage": {"input_tokens": 4, "output_tokens": 5}, "model": "m"}
    assert find("POST", "/v1/images/generations").see(Seen(), stated).usage == Usage(tokens_in=4, tokens_out=5)
    assert find("GET", "/v1/responses/resp_1").see(Seen(), stated).usage is None
    assert find("POST", "/v1/moderations").see(Seen(), {"results": []}).usage is None


def test_models_are_listed_in_each_familys_shape() -> None:
    """The list of models is what the family's SDK reads."""
    ours = models.listed(["a", "b"], anthropic=False)
    assert [one["id"] for one in ours["data"]] == ["a", "b"]
    assert (ours["object"], ours["data"][0]["object"]) == ("list", "model")
    theirs = models.listed(["a", "b"], anthropic=True)
    assert (theirs["first_id"], theirs["last_id"], theirs["has_more"]) == ("a", "b", False)
    assert theirs["data"][0]["type"] == "model"


def test_errors_of_openais_family_have_its_shape() -> None:
    """The message, type and code of a refusal stand where SDKs of OpenAI look for them."""
    refused = Refused(404, "no such model", kind="invalid_request_error", code="model_not_found", fault="framework")
    error = json.loads(find("POST", "/v1/chat/completions").error(refused))["error"]
    assert error == {
        "message": "no such model",
        "type": "invalid_request_error",
        "param": None,
        "code": "model_not_found",
    }
