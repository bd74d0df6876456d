"""Ask the model through a real SDK, in all the ways frameworks do, and print what the SDK saw, one JSON object a line."""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

PICTURE = base64.b64encode(bytes(range(256)) * 400).decode()
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "weather", "description": "Weather of a city", "parameters": PARAMETERS}
TOOLS = [{"type": "function", "function": FUNCTION}]


def seen(way: str, text: str, usage: Iterable[int] = (), tools: Any = ()) -> None:
    """Print what a call gave: its text, its tool's arguments, and tokens in, out, cached and of reasoning, if seen."""
    sys.stdout.write(json.dumps({"way": way, "text": text, "usage": usage, "tools": tools}) + "\n")
    sys.stdout.flush()


def say(text: Any) -> Any:
    """Return a conversation of one message."""
    return [{"role": "user", "content": text}]


def show() -> Any:
    """Return a conversation with a picture of about 100 kB."""
    url = {"url": f"data:image/png;base64,{PICTURE}"}
    return say([{"type": "text", "text": "look"}, {"type": "image_url", "image_url": url}])


def chat_usage(usage: Any) -> tuple[int, ...]:
    """Return the tokens of a chat completion."""
    cached, reasoning = usage.prompt_tokens_details.cached_tokens, usage.completion_tokens_details.reasoning_tokens
    return usage.prompt_tokens, usage.completion_tokens, cached, reasoning


def response_usage(usage: Any) -> tuple[int, ...]:
    """Return the tokens of a response."""
    cached, reasoning = usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens
    return usage.input_tokens, usage.output_tokens, cached, reasoning


def message_usage(usage: Any) -> tuple[int, ...]:
    """Return the tokens of a message; those in are the sum of three."""
    cached = usage.cache_read_input_tokens
    return usage.input_tokens + cached + usage.cache_creation_input_tokens, usage.output_tokens, cached


def see_chat(way: str, whole: Any) -> None:
    """Print a chat completion."""
    message = whole.choices[0].message
    tools = [json.loads(call.function.arguments) for call in message.tool_calls or ()]
    seen(way, message.content, chat_usage(whole.usage), tools)


def see_chunks(way: str, chunks: Iterable[Any]) -> None:
    """Print a streamed chat completion."""
    chunks = list(chunks)
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    text = "".join(delta.content or "" for delta in deltas)
    calls = [call.function.arguments or "" for delta in deltas for call in delta.tool_calls or ()]
    usage = [chat_usage(chunk.usage) for chunk in chunks if getattr(chunk, "usage", None)]
    seen(way, text, usage[-1] if usage else (), [json.loads("".join(calls))] if calls else [])


def ask_openai() -> None:
    """Use the SDK of OpenAI."""
    import openai

    client = openai.OpenAI()
    _ask_chat("openai", client.chat.completions.create)
    for name in ("429:2", "500:1", "reset:1"):
        words = f"once more fault={name}:openai_{name.partition(':')[0]}"
        see_chat(f"openai after {name}", client.chat.completions.create(model="any", messages=say(words)))
    old = client.completions.create(model="any", prompt="say")
    seen("openai completion", old.choices[0].text, chat_usage(old.usage))
    parts = client.completions.create(model="any", prompt="say", stream=True)
    seen("openai completion stream", "".join(part.choices[0].text for part in parts))
    vectors = client.embeddings.create(model="embed", input=["one", "two"])
    seen("openai embeddings", f"answer {vectors.data[1].embedding[2]:.0f}", (vectors.usage.prompt_tokens, 0))
    seen("openai models", client.models.list().data[0].id)
    _ask_responses(client)
    try:
        stream = client.chat.completions.create(model="any", messages=say("fault=cut:1:openai_cut"), stream=True)
        text = "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)
    except openai.APIError as error:
        text = f"broken: {error.message}"
    seen("openai cut", text)
    asyncio.run(_ask_async(openai.AsyncOpenAI()))


def _ask_chat(who: str, create: Callable[..., Any]) -> None:
    see_chat(f"{who} whole", create(model="any", messages=say("hello"), temperature=0.5))
    see_chat(f"{who} tools", create(model="any", messages=say("weather?"), tools=TOOLS))
    see_chat(f"{who} picture", create(model="any", messages=show()))
    see_chunks(f"{who} stream", create(model="any", messages=say("hello"), stream=True))
    told = {"include_usage": True}
    see_chunks(f"{who} stream told", create(model="any", messages=say("hello"), stream=True, stream_options=told))
    see_chunks(f"{who} stream tools", create(model="any", messages=say("weather?"), stream=True, tools=TOOLS))


def _ask_responses(client: Any) -> None:
    whole = client.responses.create(model="any", input="hello")
    seen("responses whole", whole.output_text, response_usage(whole.usage))
    tools = [{"type": "function", **FUNCTION, "strict": False}]
    called = client.responses.create(model="any", input="weather?", tools=tools)
    arguments = json.loads(called.output[0].arguments)
    seen("responses tools", f"answer {called.id.removeprefix('resp_')}", response_usage(called.usage), [arguments])
    picture = {"type": "input_image", "image_url": f"data:image/png;base64,{PICTURE}", "detail": "auto"}
    looked = client.responses.create(model="any", input=say([{"type": "input_text", "text": "look"}, picture]))
    seen("responses picture", looked.output_text, response_usage(looked.usage))
    with client.responses.stream(model="any", input="hello") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        seen("responses stream", text, response_usage(stream.get_final_response().usage))


async def _ask_async(client: Any) -> None:
    async def one(number: int) -> None:
        if number % 2:
            see_chat("openai async", await client.chat.completions.create(model="any", messages=say(f"hello {number}")))
        else:
            stream = await client.chat.completions.create(model="any", messages=say(f"hello {number}"), stream=True)
            see_chunks("openai async stream", [chunk async for chunk in stream])

    await asyncio.gather(*map(one, range(16)))


def ask_anthropic() -> None:
    """Use the SDK of Anthropic."""
    import anthropic

    client = anthropic.Anthropic()
    asked = {"model": "any", "max_tokens": 50}
    whole = client.messages.create(messages=say("hello"), **asked)
    seen("messages whole", whole.content[0].text, message_usage(whole.usage))
    tools = [{"name": "weather", "description": "Weather of a city", "input_schema": PARAMETERS}]
    called = client.messages.create(messages=say("weather?"), tools=tools, **asked)
    seen("messages tools", called.content[0].text, message_usage(called.usage), [called.content[1].input])
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}
    looked = client.messages.create(messages=say([picture, {"type": "text", "text": "look"}]), **asked)
    seen("messages picture", looked.content[0].text, message_usage(looked.usage))
    for way, more in (("messages stream", {}), ("messages stream tools", {"tools": tools})):
        with client.messages.stream(messages=say("hello"), **asked, **more) as stream:
            text = "".join(stream.text_stream)
            last = stream.get_final_message()
        seen(way, text, message_usage(last.usage), [block.input for block in last.content[1:]])
    again = client.messages.create(messages=say("once more fault=429:2:anthropic"), **asked)
    seen("messages after 429", again.content[0].text, message_usage(again.usage))
    counted = client.messages.count_tokens(model="any", messages=say("hello"))
    seen("messages counted", str(counted.input_tokens))
    try:
        with client.messages.stream(messages=say("fault=cut:1:anthropic_cut"), **asked) as stream:
            text = "".join(stream.text_stream)
    except anthropic.APIError as error:
        text = f"broken: {error.message}"
    seen("messages cut", text)
    asyncio.run(_ask_anthropic_async(anthropic.AsyncAnthropic(), asked))


async def _ask_anthropic_async(client: Any, asked: dict[str, Any]) -> None:
    async def one(number: int) -> None:
        whole = await client.messages.create(messages=say(f"hello {number}"), **asked)
        seen("messages async", whole.content[0].text, message_usage(whole.usage))

    await asyncio.gather(*map(one, range(8)))


def ask_litellm() -> None:
    """Use litellm, in the formats of both vendors."""
    import litellm

    for model in ("openai/any", "anthropic/any"):

        def create(named: str = model, **asked: Any) -> Any:
            return litellm.completion(**{**asked, "model": named})

        _ask_chat(f"litellm {model}", create)
        whole = asyncio.run(litellm.acompletion(model=model, messages=say("hello")))
        see_chat(f"litellm {model} async", whole)
    vectors = litellm.embedding(model="openai/embed", input=["one"])
    seen("litellm embeddings", f"answer {vectors.data[0]['embedding'][2]:.0f}", (vectors.usage.prompt_tokens, 0))


def ask_langchain() -> None:
    """Use langchain-openai: chat completions and responses."""
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

    models = {"chat": ChatOpenAI(model="any"), "responses": ChatOpenAI(model="any", use_responses_api=True)}
    for way, model in models.items():
        for kind, told in (("whole", model.invoke("hello")), ("tools", model.bind_tools(TOOLS).invoke("weather?"))):
            _see_told(f"langchain {way} {kind}", told)
        chunks = list(model.stream("hello"))
        _see_told(f"langchain {way} stream", sum(chunks[1:], chunks[0]))
    asyncio.run(_ask_langchain_async(models))
    vectors = OpenAIEmbeddings(model="embed", check_embedding_ctx_length=False).embed_documents(["one"])
    seen("langchain embeddings", f"answer {vectors[0][2]:.0f}")


async def _ask_langchain_async(models: dict[str, Any]) -> None:
    for way, model in models.items():
        _see_told(f"langchain {way} async", await model.ainvoke("hello"))


def _see_told(way: str, told: Any) -> None:
    text = told.text() if callable(told.text) else told.text
    usage = told.usage_metadata or {}
    tokens = ()
    if usage:
        cached = usage["input_token_details"].get("cache_read")
        tokens = (usage["input_tokens"], usage["output_tokens"], cached, usage["output_token_details"].get("reasoning"))
    number = str(told.response_metadata.get("id", told.id)).rpartition("_")[2]
    seen(way, text or f"answer {number}", tokens, [call["args"] for call in told.tool_calls])


def ask_azure() -> None:
    """Use OpenAI's SDK as one does with Azure."""
    import openai

    root = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")
    client = openai.AzureOpenAI(azure_endpoint=root, api_key=os.environ["OPENAI_API_KEY"], api_version="2024-10-21")
    _ask_chat("azure", client.chat.completions.create)


def main(who: str) -> None:
    """Ask through one SDK; with --check see that all of them are there."""
    if who == "--check":
        for name in ("openai", "anthropic", "litellm", "langchain_openai"):
            importlib.import_module(name)
        return
    globals()[f"ask_{who}"]()


if __name__ == "__main__":
    main(sys.argv[1])
