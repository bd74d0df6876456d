"""Commands, one module each: `EXAMPLES`, `add_arguments(parser)` and `run(args, console) -> int`."""

from __future__ import annotations

COMMANDS = {
    "go": "carry out an experiment: what is unfinished runs, what is done is not repeated",
    "plan": "show what `go` would run, and where each value comes from",
    "replay": "carry out one run again with its recorded answers, and compare what came of it",
    "images": "lock, fetch, build, list or check the images of frameworks",
    "runs": "list runs and their outcomes",
    "show": "show one run: its steps, numbers, attempts, and where its evidence is",
    "approve": "approve what a run waits for; `go` takes it from there",
    "reject": "reject what a run waits for: that step fails",
    "attach": "watch the `go` that is at work, or see what the last one came to",
    "cancel": "stop one run, or all, from another terminal",
    "queue": "show who runs what on this machine, and who waits for what",
    "pause": "let nothing new begin until `resume`; what is under way ends",
    "resume": "end a pause",
    "logs": "print what a run's step wrote, while it runs too",
    "steps": "list a run's steps with outcome, time, tokens, what each changed and what keeping it costs",
    "diff": "compare the workspaces of two steps, of one run or of two",
    "open": "give back the workspace as it was after a step, in a new folder",
    "shell": "look around in a step's workspace, in a container of its framework, on a copy",
    "fork": "go on from a step with another framework, model or prompt, as a new run",
    "export": "make images of a run's steps, or a bundle of runs for another machine",
    "import": "take in a bundle of runs, with what they were made from and their images",
    "archive": "write the archive of a finished run, or write it again",
    "verify": "check every digest of a run: records, values, calls, history and archive; or an archive alone",
    "reproduce": "carry out the same inputs again, and say whether it came to the same, step by step",
    "doctor": "check the engine, the machine and the settings, and say what to do",
    "clean": "show what can go, and remove it with --yes; only ever ours",
    "keep": "mark runs that no rule of `clean` may remove",
    "du": "say what uses the disk: runs by their parts, superseded runs, ledger, cache, images",
    "new": "write a commented experiment that runs as it is",
    "ledger": "check the ledger against the run directories, or rebuild it",
    "gateway": "serve the gateway alone: keys, metering, budgets and records for any client",
}
"""Name -> summary, in the order of the help. Kept apart from the modules so that `--help` imports none of them."""
