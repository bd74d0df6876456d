"""Find where an application keeps an entity's records, asking it where its own description does not say."""

from __future__ import annotations

from collections.abc import Sequence

from judge.answers import records
from judge.asked import Entity
from judge.client import Exchange
from judge.openapi import PLACES, Route, routes
from judge.routes import Place, candidates, described, names
from judge.service import Service


def description(service: Service) -> tuple[Route, ...]:
    """Return the routes that an application describes; none if it describes none."""
    for path in PLACES:
        found = routes(service.ask("GET", path).json)
        if found:
            return found
    return ()


def place_of(service: Service, entity: Entity, known: Sequence[Route]) -> tuple[Place | None, Exchange | None]:
    """Find an entity.

    A path that the check names is the only one. Otherwise it is the described route of that name, and then the first
    path of that name that answers: with a list; with anything that shows that there is a route; at last, to an empty
    POST.

    Args:
        service: the application.
        entity: what to look for.
        known: its described routes.

    Returns:
        where it is, or None; and the last answer that decided it.
    """
    if found := described(entity.name, known, entity.path):
        return found, None
    rule = "the path that the check names" if entity.path else "the entity's name"
    paths = (entity.path,) if entity.path else candidates(entity.name)
    answers = [service.ask("GET", path) for path in paths]
    for path, answer in zip(paths, answers, strict=True):
        if answer.ok and records(answer.json, names(entity.name)) is not None:
            return Place(collection=_followed(path, answer), rule=rule), answer
    for path, answer in zip(paths, answers, strict=True):
        # A page for every path, as a single-page application gives, is no sign of a route; neither is silence.
        if not answer.no_route and answer.status is not None and not (answer.ok and answer.json is None):
            return Place(collection=_followed(path, answer), rule=rule), answer
    answer = answers[-1]
    for path, looked in zip(paths, answers, strict=True):
        answer = service.ask("POST", path, {})
        if not answer.no_route and answer.status is not None and not (answer.ok and answer.json is None):
            return Place(collection=_followed(path, answer), rule=rule), answer
        if looked.status is None:
            # The route is there as far as we know: somebody took the request and gave no answer.
            return Place(collection=path, rule=rule), looked
    return None, answer


def _followed(path: str, answer: Exchange) -> str:
    """Return a path as a redirection of it corrected it, by a slash at the end."""
    found = answer.path.partition("?")[0]
    return found if found.rstrip("/") == path.rstrip("/") else path
