"""Skipped tasks: find the Workbooks Tasks that were deleted, and open tasks that vanished from Outreach.

Whether Outreach removes a task that is skipped is not documented; `sync.tasks.vanished_is_skipped` says to think so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.http import check
from outreach_sync.match import until_shown
from outreach_sync.records import Stream

if TYPE_CHECKING:
    from outreach_sync.pipeline.run import Run
    from outreach_sync.state.survey import Survey

_TOGETHER = 400


def find_deleted_tasks(run: Run, survey: Survey) -> int:
    """Find the Tasks that were sent and have been deleted in Workbooks, where they are to be created again.

    They are looked up by reference once more before that, as every task is. Returns how many were looked at.

    Raises:
        ServiceError: Workbooks could not be read to the end.
        InterruptedByError: asked to stop.
    """
    after = looked_at = 0
    while run.config.sync.when_deleted == "recreate" and (sent := survey.sent_tasks(after, _TOGETHER)):
        check(run.stop)
        after = sent[-1].id
        looked_at += len(sent)
        rows = until_shown(
            run,
            run.target.tasks_by_ids([task.workbooks_id for task in sent]),
            {task.workbooks_id: task.sent_at for task in sent},
            run.target.tasks_by_ids,
        )
        live = {row.id for row in rows.values() if not row.is_deleted}
        gone = [(task.id, task.prospect_id) for task in sent if task.workbooks_id not in live]
        with run.state.transaction():
            survey.note_tasks(gone, vanished=False)
    return looked_at


def find_vanished_tasks(run: Run, survey: Survey) -> int:
    """Find open tasks that are gone although their state is at another step, where that counts as skipped.

    Returns how many were asked for.

    Raises:
        ServiceError: Outreach could not be asked to the end.
        InterruptedByError: asked to stop.
    """
    after = asked_for = 0
    while run.config.sync.tasks.vanished_is_skipped and (overtaken := survey.overtaken_tasks(after, _TOGETHER)):
        check(run.stop)
        after = overtaken[-1].id
        asked_for += len(overtaken)
        there = {
            task_id
            for page in run.source.by_id(Stream.TASKS, [task.id for task in overtaken])
            for task_id in (*(task.id for task in page.tasks), *(one.id for one in page.refused))
        }
        with run.state.transaction():
            survey.note_tasks(
                ((task.id, task.prospect_id) for task in overtaken if task.id not in there), vanished=True
            )
    return asked_for
