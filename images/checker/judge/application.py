"""Judge an application: find how it starts, start it, call it, start it again, end it."""

from __future__ import annotations

import statistics
from pathlib import Path

from judge import crud, refusals, relations
from judge.answers import Record
from judge.asked import Check, Entity
from judge.detect import Launch, declared, detect
from judge.expected import DEEDS, announce
from judge.finding import description, place_of
from judge.job import Job
from judge.missing import is_foreign, named
from judge.openapi import Route
from judge.report import Report
from judge.service import Gone, NotStarted, Service
from judge.subject import Kept, Subject
from judge.values import Values

_PATIENCE = 10.0
"""Seconds that one request may take; a thirtieth of the check's time if that is less, but no less than one second."""
_MOST_NAMED = 5
_Seen = list[tuple[Subject, Kept, Record]]


def judge(job: Job) -> None:
    """Fill a report with what is found of an application.

    Raises:
        OutOfTime: if the check's time is up; what was found until then is in the report.
    """
    check, workspace, report = job.check, job.workspace, job.report
    announce(check, report)
    report.figures.update(entities_declared=len(check.entities), entities_found=None)
    launch = _launch(check, workspace, report)
    if launch is None:
        _unreachable(check, report, "application.start", "no rule of detection finds an application in the workspace")
        return
    service = Service(
        launch=launch,
        workspace=workspace,
        start=check.start,
        environment=job.environment,
        report=report,
        clock=job.clock,
        seconds=max(1.0, min(_PATIENCE, check.timeout / 30)),
    )
    with service:
        try:
            _call(check, workspace, service, report)
        finally:
            _count(service, report)


def _launch(check: Check, workspace: Path, report: Report) -> Launch | None:
    """Choose how to start; what else could have been started is remarked on."""
    if (told := declared(check.start)) is not None:
        return told
    found = detect(workspace / check.start.folder)
    for other in found[1 : 1 + _MOST_NAMED]:
        report.find("judge", "another-application", f"not started: rule {other.rule}", file=other.source)
    if not found:
        return None
    first = found[0]
    return Launch(**{**vars(first), "folder": check.start.folder / first.folder})


def _call(check: Check, workspace: Path, service: Service, report: Report) -> None:
    if not _started(check, workspace, service, report):
        return
    if service.launch.kind == "streamlit" and check.entities:
        report.find(
            "judge", "no-interface", "a Streamlit page has no HTTP interface to call", file=service.launch.source
        )
        reason = "a Streamlit page has no HTTP interface, so that only its start can be judged"
        for one in report.open():
            if one.entity:
                report.unjudged(one.id, reason)
    try:
        subjects = {} if service.launch.kind == "streamlit" else _subjects(check, service, report)
        for subject in subjects.values():
            crud.exercise(subject)
            refusals.exercise(subject)
        for subject in subjects.values():
            for relation in subject.entity.relations:
                relations.exercise(subject, relation)
        if check.persistence:
            _persistence(list(subjects.values()), service, report)
        service.stop()
    except Gone as error:
        report.close(str(error))


def _started(check: Check, workspace: Path, service: Service, report: Report) -> bool:
    """Start the application and wait for its health; tell whether it can be called."""
    launch = service.launch
    report.application = {"kind": launch.kind, "command": list(launch.argv), "rule": launch.rule, "port": None}
    try:
        seconds = service.start()
    except NotStarted as error:
        _not_started(check, workspace, service, report, str(error))
        return False
    port = service.client.at.port
    report.application.update(command=list(launch.command(service.port)), port=port, started_seconds=round(seconds, 3))
    report.figures["started_seconds"] = round(seconds, 3)
    report.passed("application.start", log_tail=service.tail())
    if port == service.port:
        report.passed("application.port")
    else:
        report.failed("application.port", f"it listens on port {port}, not on {service.port}")
        what = f"it listens on port {port}, whatever PORT says; it was judged there"
        report.find("judge", "port", what, file=launch.source)
    answer = service.answers(check.health)
    if answer.ok or (not check.health and answer.status is not None):
        report.passed("application.health", **answer.evidence())
        return True
    if answer.status is not None:
        # It answers, so that the rest can be judged, though its health is not where the check looked.
        report.failed("application.health", answer.said, **answer.evidence(), log_tail=service.tail())
        return True
    reason = f"it was started and listens, but answers nothing: {answer.error}"
    _unreachable(check, report, "application.health", reason, tail=service.tail())
    return False


def _not_started(check: Check, workspace: Path, service: Service, report: Report, why: str) -> None:
    said = f"{why}\n{service.tail()}"
    module = named(said)
    if module is not None and is_foreign(workspace, module):
        report.find("judge", "missing-library", f"{module} is not in this image", file=service.launch.source)
        reason = f"it needs {module}, which it declares, but which this image does not have"
        report.unjudged("application.start", reason, log_tail=service.tail())
        report.close(reason)
        return
    _unreachable(check, report, "application.start", why, tail=service.tail())


def _unreachable(check: Check, report: Report, name: str, why: str, *, tail: str = "") -> None:
    """Say of what cannot be reached that it does nothing of what is done with entities, and that nothing else was seen."""
    report.failed(name, why, log_tail=tail)
    for entity in check.entities:
        for deed in DEEDS:
            report.failed(f"{entity.name}.{deed}.valid", f"the application cannot be called: {why}")
    report.close(f"the application cannot be called: {why}")


def _subjects(check: Check, service: Service, report: Report) -> dict[str, Subject]:
    """Find each entity; one without a route does nothing of what is done with entities."""
    known = description(service)
    found = {one.name: subject for one in check.entities if (subject := _subject(check, one, known, service, report))}
    for subject in found.values():
        subject.others = found
    report.figures["entities_found"] = len(found)
    return found


def _subject(
    check: Check, entity: Entity, known: tuple[Route, ...], service: Service, report: Report
) -> Subject | None:
    place, answer = place_of(service, entity, known)
    if place is not None:
        return Subject(entity=entity, place=place, service=service, report=report, values=Values(entity, check.seed))
    looked = f"at {entity.path}" if entity.path else "by its description or by the names of paths"
    reason = f"there is no route for {entity.name}, {looked}"
    for deed in DEEDS:
        report.failed(f"{entity.name}.{deed}.valid", reason, **(answer.evidence() if answer else {}))
    for one in report.open():
        if one.entity == entity.name:
            report.unjudged(one.id, reason)
    return None


def _persistence(subjects: list[Subject], service: Service, report: Report) -> None:
    """Look at one record of each entity, end the application, start it again, and look again."""
    before: _Seen = []
    for subject in subjects:
        one = subject.keep()
        seen = subject.see(one)[0] if one is not None else None
        if one is not None and seen is not None:
            before.append((subject, one, seen))
        else:
            subject.unjudged("persist", "there is no record to look at before the restart")
    try:
        seconds = service.again()
    except Gone as error:
        report.failed("application.restart", str(error), log_tail=service.tail())
        raise
    report.passed("application.restart", log_tail=service.tail())
    report.figures["restart_seconds"] = round(seconds, 3)
    for subject, one, seen in before:
        now, answer = subject.see(one)
        changed = (
            []
            if now is None
            else [each.name for each in subject.entity.fields if seen.get(each.name) != now.get(each.name)]
        )
        if now is None:
            reason = f"the {subject.entity.name} {one.id} was there before the restart and is not after it"
            subject.failed("persist", reason, answer)
        elif changed:
            subject.failed("persist", f"after the restart {', '.join(changed)} of {one.id} had other values", answer)
        else:
            subject.passed("persist", answer)


def _count(service: Service, report: Report) -> None:
    sent, times = service.client.sent, service.client.latencies
    report.figures.update(
        requests=sent["all"],
        requests_answered=sent["all"] - sent["unanswered"],
        requests_unanswered=sent["unanswered"],
        requests_server_error=sent["server_error"],
        crashes=service.crashes,
        latency_median_seconds=round(statistics.median(times), 6) if times else None,
    )
