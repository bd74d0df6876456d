"""Completions of the OpenAI API, the older ones without messages: `POST /v1/completions`.

Source: the API reference of OpenAI, object text completion. Usage, the reason a choice ended, and streams are stated as
in chat completions; the answer's text stands in `choices[].text`.
"""

from __future__ import annotations

from dataclasses import replace

from runner.gateway.formats import openai_chat, openai_completions_script
from runner.gateway.formats.sampling import pinner

FORMAT = replace(
    openai_chat.FORMAT,
    name="openai-completions",
    wants="a JSON object with a prompt",
    fits=lambda body: "prompt" in body,
    pins=pinner(longest=("max_tokens",), seed=True),
    scripted=openai_completions_script.SCRIPTED,
)
