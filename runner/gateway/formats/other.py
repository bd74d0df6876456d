"""Every other path: passed on as it came, recorded, and counted only if its answer states usage in a way known here.

Most of these calls take no tokens of a model: files, moderations, stored responses. They are recorded with no usage, as
an error reply is, and do not make the sums of a run unknown; `format` tells them apart. What is read with GET has been
counted when it was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runner.gateway.formats import openai_chat, openai_responses
from runner.gateway.formats.protocol import Format
from runner.gateway.metering import Seen, error_message, text
from runner.gateway.wire import anthropic_body, anthropic_broken, openai_body, openai_broken


def see(seen: Seen, content: Mapping[str, Any]) -> Seen:
    """Add what an answer of an unknown kind says."""
    usage = content.get("usage")
    return replace(
        seen,
        model=text(content.get("model")) or seen.model,
        usage=openai_chat.read_usage(usage) or openai_responses.read_usage(usage) or seen.usage,
        error=error_message(content) or seen.error,
    )


def see_again(seen: Seen, content: Mapping[str, Any]) -> Seen:
    """Add the same without its usage: what is not posted takes none, or has been counted."""
    return replace(see(seen, content), usage=seen.usage)


OPENAI = Format(
    name="other",
    family="openai",
    reads=False,
    takes_model=False,
    ends=False,
    see=see,
    error=openai_body,
    broken=openai_broken,
)
ANTHROPIC = replace(OPENAI, family="anthropic", error=anthropic_body, broken=anthropic_broken)
