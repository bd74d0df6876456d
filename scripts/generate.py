#!/usr/bin/env python3
"""Write what is derived from the code: schemas, reference pages, golden help texts; with --check, only name stale ones."""

from __future__ import annotations

import sys
from pathlib import Path

from model_pages import event_section, model_section

from runner import events
from runner.cli.reference import cli_reference, exit_code_table, help_texts
from runner.evidence import records, verdicts
from runner.execution.approvals import Answer
from runner.gateway.calls import Call
from runner.gateway.egress.connections import Connection
from runner.plan import models as plan
from runner.spec.reference import configuration_reference
from runner.spec.schema import schema_texts

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Written by `make generate` from the code. -->\n\n"


def main(arguments: list[str]) -> int:
    """Write every generated file that differs, or only name them.

    Returns:
        1 if `--check` found stale files, else 0.
    """
    stale = {path: text for path, text in generated().items() if _current(path) != text}
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(ROOT)} is stale: type `make generate`\n")
        return int(bool(stale))
    for path, text in stale.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
    return 0


def _current(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def generated() -> dict[Path, str]:
    """Return the text of every generated file by its path."""
    pages = {
        "configuration.md": configuration_reference(),
        "cli.md": cli_reference(),
        "exit-codes.md": exit_codes_page(),
        "records.md": records_page(),
        "events.md": events_page(),
    }
    return {
        **{ROOT / "config" / "schema" / name: text for name, text in schema_texts().items()},
        **{ROOT / "docs" / "reference" / name: NOTE + text for name, text in pages.items()},
        **{ROOT / "tests" / "golden" / "help" / f"{name}.txt": text for name, text in help_texts().items()},
    }


def exit_codes_page() -> str:
    """Return the page on exit codes."""
    return (
        "# Exit codes\n\n"
        "What a shell script sees of `runner`. If several things happened, `runner go` says the most serious: interrupted "
        "before waiting, waiting before broken, broken before failed.\n\n"
        f"{exit_code_table()}\n"
    )


def records_page() -> str:
    """Return the page on the records and the planned values they contain."""
    models = (
        records.RunRecord,
        records.StepRecord,
        records.AttemptRecord,
        records.Phase,
        records.ValueRecord,
        records.AnswerUse,
        records.DecisionRecord,
        records.Suspension,
        Answer,
        records.Host,
        records.MetricAbout,
        plan.Run,
        plan.Ancestry,
        plan.PlannedStep,
        plan.PlannedInput,
        plan.PlannedOutput,
        plan.PlannedItem,
        plan.PlannedCall,
        plan.PlannedApproval,
        plan.PlannedAnswer,
        plan.PlannedRetry,
        plan.PlannedCheck,
        plan.JudgedAfter,
        plan.Checker,
        plan.ImageRef,
        Call,
        Connection,
        verdicts.CheckVerdict,
        verdicts.Assertion,
        verdicts.Evidence,
        verdicts.Application,
        verdicts.Judge,
        verdicts.Finding,
    )
    return (
        "# Records\n\n"
        "The JSON of `metadata.json` in a run's directory and in its steps' folders. `run` in a run's record is the planned "
        "run, complete; its `framework`, `limits` and `model` have the keys of [the configuration](configuration.md). "
        "`about` in `metrics.json` maps names to MetricAbout. Answer is `approvals/step_NNN.json`, Suspension also "
        "`approvals/step_NNN.asked.json`. Call is a line of `llm/calls.jsonl`, Connection one of "
        "`llm/connections.jsonl`. `checks.json` is an object with `version` 1 and `checks`, a list of CheckVerdict.\n\n"
        + "\n".join(model_section(model) for model in models)
    )


def events_page() -> str:
    """Return the page on the events of a run's log."""
    kinds = [value for value in vars(events).values() if isinstance(value, type) and issubclass(value, events.Event)]
    return (
        "# Events\n\n"
        "What goes up while runs are carried out, to the live view and to `logs/run.log` of each run. Every event has the "
        "fields of Event as well.\n\n" + "\n".join(event_section(kind) for kind in kinds)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
