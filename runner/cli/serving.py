"""What `runner gateway serve` is told on its command line: who answers, where it listens, within which limits."""

from __future__ import annotations

import contextlib
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from runner.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from runner.gateway.session import Listen, SessionSpec
    from runner.gateway.settings import GatewaySettings
    from runner.spec.model import Model

    Kind = TypeVar("Kind", bound=BaseModel)

TOKEN = "RUNNER_GATEWAY_TOKEN"  # noqa: S105  the name of a variable
_SHORTEST_TOKEN = 16
_HIGHEST_PORT = 65535
_PROVIDERS = ("openai", "anthropic", "azure", "scripted", "replay")
_BUDGETS = {
    "tokens": (int, "tokens in and out together; a call beyond is refused"),
    "calls": (int, "calls"),
    "dollars": (float, "cost, by the table of prices"),
    "call_time": (str, "time in calls together, like 90s, 10m, 2h"),
}
_TRAFFIC = {
    "concurrency": "calls under way at once",
    "requests_per_minute": "calls begun in any minute",
    "tokens_per_minute": "tokens used in any minute",
    "retries": "further tries of a call that met 429, 5xx or no connection",
}


def add_model(parser: ArgumentParser) -> None:
    """Add who answers."""
    group = parser.add_argument_group("who answers")
    group.add_argument("--provider", choices=_PROVIDERS, required=True, metavar="NAME", help=", ".join(_PROVIDERS))
    group.add_argument("--model", metavar="NAME", help="model for every call; by default the one that is asked for")
    group.add_argument("--base-url", metavar="URL", help="endpoint; by default the environment's or the public one")
    group.add_argument("--api-version", metavar="DATE", help="azure: version of a deployment's API")
    group.add_argument("--key-env", metavar="NAME", help="variable with the key; by default the provider's usual one")
    group.add_argument("--key-file", metavar="FILE", help="file with the key instead, readable by you only")
    group.add_argument("--answers", metavar="FILE", help="scripted: file of answers")
    group.add_argument("--recording", metavar="RUN|DIR", help="replay: run, its directory or its archive")
    group.add_argument(
        "--step", metavar="NAME", help="scripted, replay: step whose answers are given; by default the first"
    )
    group.add_argument("--prices", metavar="FILE", help="table of prices; by default that of the project, if in one")


def add_place(parser: ArgumentParser) -> None:
    """Add where it listens."""
    group = parser.add_argument_group("where")
    place = group.add_mutually_exclusive_group(required=True)
    place.add_argument("--socket", metavar="PATH", help="listen on a unix socket that only you may use")
    place.add_argument("--port", type=int, metavar="N", help="listen on a TCP port; 0: any that is free")
    group.add_argument("--host", default="127.0.0.1", metavar="HOST", help="address of the port; by default loopback")
    group.add_argument("--expose", action="store_true", help="allow an address that other machines reach")
    group.add_argument("--allow", action="append", default=[], metavar="HOST", help="be a proxy to this host as well")


def add_limits(parser: ArgumentParser) -> None:
    """Add budgets and manners, and what is kept."""
    kept = parser.add_argument_group("what is kept")
    kept.add_argument("--calls", metavar="FILE", help="append a line per call; bodies/ is kept beside it")
    kept.add_argument(
        "--bodies", choices=("full", "digest", "off"), default="full", help="requests and answers: full, digest or off"
    )
    limits = parser.add_argument_group("limits")
    for name, (kind, text) in _BUDGETS.items():
        limits.add_argument(f"--budget-{_dashed(name)}", type=kind, metavar="TIME" if kind is str else "N", help=text)
    for name, text in _TRAFFIC.items():
        limits.add_argument(f"--{_dashed(name)}", type=int, metavar="N", help=text)


def listen_of(args: Namespace) -> Listen:
    """Return where to listen.

    Raises:
        ConfigError: if the place is taken, would be open to others, or the token of the environment is too short.
    """
    from runner.gateway.serve import free_socket, require_private
    from runner.gateway.session import Listen

    if args.port is not None and not 0 <= args.port <= _HIGHEST_PORT:
        raise ConfigError(
            f"--port {args.port} is no port", hint=f"give one up to {_HIGHEST_PORT}, or 0 for any that is free"
        )
    path = Path(args.socket).absolute() if args.socket else None
    if path is not None:
        free_socket(path)
    elif not args.expose:
        require_private(args.host)
    token = args.environment.get(TOKEN) or None
    if token is not None and len(token) < _SHORTEST_TOKEN:
        raise ConfigError(
            f"{TOKEN} has {len(token)} characters; that is too short for a secret",
            hint=f"give it {_SHORTEST_TOKEN} or more, or unset it: then there is a random one",
        )
    return Listen(path=path, host=args.host, port=args.port or 0, token=token)


def model_of(args: Namespace) -> Model:
    """Return who answers.

    Raises:
        ConfigError: if an option's value is none it may have.
    """
    from runner.spec.model import Model

    names = ("base_url", "api_version", "key_env", "key_file")
    values = {
        "provider": args.provider,
        "name": args.model or args.provider,
        "mismatch": "replace" if args.model else "keep",
        "bodies": args.bodies if args.calls else "off",
        "traffic": _given(args, _TRAFFIC),
    }
    return _validated(Model, values | _given(args, dict.fromkeys(names)))


def settings_of(args: Namespace, model: Model) -> GatewaySettings:
    """Return what the gateway process is started with.

    Raises:
        ConfigError: if there is no key, no endpoint, or no place for sockets.
    """
    from runner.gateway.settings import gateway_settings

    place = Path(args.project).absolute()
    prices = Path(args.prices).absolute() if args.prices else _project_prices(place)
    return replace(gateway_settings(model, args.environment, project=place, options=True), prices=prices)


def require_answers(args: Namespace) -> None:
    """See that there is something to answer with.

    Raises:
        ConfigError: if answers were prepared or recorded, and nothing says where.
    """
    if args.provider == "scripted" and not args.answers:
        raise ConfigError("--provider scripted needs prepared answers", hint="name their file: --answers FILE")
    if args.provider == "replay" and not args.recording:
        raise ConfigError("--provider replay needs a recorded run", hint="name it: --recording RUN|ARCHIVE|DIR")


@contextlib.contextmanager
def recording_of(args: Namespace) -> Iterator[Path | None]:
    """Find the recorded run whose calls are answered again, if any; an archive stays unpacked as long as the block lasts.

    Raises:
        ConfigError: if no run is meant, or several are.
        StorageError: if an archive is damaged, or a record cannot be read.
    """
    if not args.recording:
        yield None
        return
    from runner.cli.replaying import only_run
    from runner.execution.replay import recorded_runs

    with recorded_runs(_recorded_place(args)) as found:
        yield only_run(args.recording, found).folder


def _recorded_place(args: Namespace) -> Path:
    """Return the path that is named, else the run of that id in the project around, if there is one."""
    from runner.cli.planning import recorded_place
    from runner.cli.workplace import output_folder
    from runner.spec.project import find_project

    path = Path(args.recording).expanduser()
    if path.exists():
        return path.absolute()
    try:
        find_project(Path(args.project).absolute())
    except ConfigError as error:
        hint = "name a run's directory, its archive, or a folder with one run; an id is looked up in a project only"
        raise ConfigError(f"--recording {args.recording}: there is no such file or folder", hint=hint) from error
    return recorded_place(args.recording, output_folder(Namespace(**{**vars(args), "output": None})))


def spec_of(args: Namespace, model: Model, folder: Path, recording: Path | None) -> SessionSpec:
    """Return the session to serve; its calls file is in `folder` if none is named.

    Args:
        args: of the command.
        model: who answers.
        folder: a private folder.
        recording: run directory whose calls are answered again.

    Raises:
        ConfigError: if an option's value is none it may have, or the answers cannot be used.
    """
    from runner.gateway.serve import served
    from runner.spec.model import Budget, Budgets

    return served(
        model,
        Path(args.calls).absolute() if args.calls else folder / "calls.jsonl",
        budgets=Budgets(run=_validated(Budget, _given(args, _BUDGETS, "budget_"), "budget-")),
        allow=_hosts(args.allow),
        answers=Path(args.answers).absolute() if args.answers else None,
        recording=recording,
        step=args.step,
    )


def _project_prices(place: Path) -> Path | None:
    from runner.spec.project import find_project

    with contextlib.suppress(ConfigError):
        path = find_project(place).config / "prices.yaml"
        return path if path.is_file() else None
    return None


def _hosts(names: list[str]) -> tuple[str, ...]:
    from pydantic import TypeAdapter, ValidationError

    from runner.spec.egress import HostPattern

    try:
        return TypeAdapter(tuple[HostPattern, ...]).validate_python(names)
    except ValidationError as error:
        wrong = error.errors()[0]["input"]
        raise ConfigError(
            f"--allow {wrong} is no host", hint="write a name like example.org, example.org:8443 or *.example.org"
        ) from None


def _given(args: Namespace, names: Mapping[str, object], prefix: str = "") -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(args, prefix + name)) is not None}


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _validated(kind: type[Kind], values: dict[str, Any], prefix: str = "") -> Kind:
    from runner.spec.located import KeyPath, Located
    from runner.spec.validate import validate

    origins: dict[KeyPath, str] = {("traffic", name): f"flag --{_dashed(name)}" for name in _TRAFFIC}
    origins |= {(name,): f"flag --{prefix}{_dashed(name)}" for name in values}
    return validate(Located(value=values, path=Path(), shown="command line", lines={}, texts={}, origins=origins), kind)
