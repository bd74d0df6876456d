"""Provider `scripted`: prepared answers, in order, for machines without a model and for tests that must repeat.

Usage that an answer does not state is an estimate by rule: one token per four bytes, rounded up; of the request's
messages and tools (or what the format has in their place) as compact JSON for tokens_in, of the answer's text and of its
tool calls' names and arguments for tokens_out; nothing is ever cached.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runner.gateway.answers import ScriptedAnswer
from runner.gateway.formats import find
from runner.gateway.formats.protocol import Scripted
from runner.gateway.formats.script import said
from runner.gateway.jsontext import encode
from runner.gateway.metering import NOTHING, Usage
from runner.gateway.providers.protocol import Ask, Refused, Reply

_BYTES_PER_TOKEN = 4
_SHOWN = 200
_SHOWN_PARTS = 4
"""images/<framework>/answers/<scenario>.yaml."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """Answers to one attempt's calls, and how to name them in a message."""

    file: Path
    step: str
    answers: Sequence[ScriptedAnswer]

    def where(self, n: int) -> str:
        return f"{self.shown}, step {self.step}, answer {n}"

    @property
    def shown(self) -> str:
        """Return the file's name for messages, which frameworks and records of other machines see."""
        return Path(*self.file.parts[-_SHOWN_PARTS:]).as_posix()


@dataclass(frozen=True, kw_only=True)
class ScriptedProvider:
    """Answers the n-th call with the script's n-th answer, in the format it was asked in."""

    script: Script
    model: str
    name: str = "scripted"

    async def answer(self, ask: Ask) -> Reply:
        """Answer one call. Raises Refused."""
        wire = find(ask.method, urlsplit(ask.path).path)
        if wire.scripted is None:
            raise _unspoken(ask)
        answer = pick_answer(self.script, ask, wire.scripted)
        identity = hashlib.sha256(f"{self.script.step}/{ask.n}".encode()).hexdigest()[:24]
        parts = (identity, self.model, answer, count_usage(answer, ask.original, wire.scripted))
        pieces = wire.scripted.events(*parts) if ask.stream else [encode(wire.scripted.whole(*parts))]
        return Reply(
            status=200,
            headers={"content-type": "text/event-stream" if ask.stream else "application/json"},
            body=_each(pieces),
            stream=ask.stream,
            counted_by_rule=True,
        )


async def _each(pieces: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        yield piece


def pick_answer(script: Script, ask: Ask, scripted: Scripted) -> ScriptedAnswer:
    """Return the answer to this call.

    Raises:
        Refused: if there is none left, or it does not fit the request: the script and the framework drifted apart.
    """
    if ask.n > len(script.answers):
        raise _drift(
            f"scripted answers exhausted: call {ask.n} of step {script.step}, but {script.shown} has {len(script.answers)}"
        )
    answer = script.answers[ask.n - 1]
    text = scripted.last(ask.original)
    if answer.expect is not None and not re.search(answer.expect, text, re.MULTILINE):
        raise _drift(
            f"scripted answer does not fit ({script.where(ask.n)}): "
            f"{answer.expect!r} is not in the request's last message, which ends {text[-_SHOWN:]!r}"
        )
    offered = scripted.tools(ask.original)
    unknown = [call.name for call in answer.tool_calls if call.name not in offered]
    if unknown:
        raise _drift(
            f"scripted answer does not fit ({script.where(ask.n)}): it uses the tool {unknown[0]!r}, "
            f"but the request offers {', '.join(offered) or 'none'}"
        )
    return answer


def count_usage(answer: ScriptedAnswer, body: Mapping[str, Any], scripted: Scripted) -> Usage:
    """Return the usage an answer states, or an estimate by the rule above."""
    if answer.usage is not None:
        stated = answer.usage
        return replace(
            NOTHING, tokens_in=stated.tokens_in, tokens_out=stated.tokens_out, tokens_cached=stated.tokens_cached
        )
    tokens_in = _tokens(encode([body.get(name) for name in scripted.counted]))
    return replace(NOTHING, tokens_in=tokens_in, tokens_out=_tokens(said(answer).encode("utf-8", "replace")))


def _tokens(data: bytes) -> int:
    return -(-len(data) // _BYTES_PER_TOKEN)


def _drift(message: str) -> Refused:
    code = "scripted_answers"
    return Refused(400, message, kind="invalid_request_error", code=code, fault="runner", retry=False)


def _unspoken(ask: Ask) -> Refused:
    message = (
        f"the scripted model does not answer {ask.method} {urlsplit(ask.path).path}; it answers chat completions, "
        "responses, completions and messages; choose a real model with --model for anything else"
    )
    code = "scripted_answers"
    return Refused(404, message, kind="invalid_request_error", code=code, fault="runner", retry=False)
