"""Anything that may happen between two cycles, in any order, as a Hypothesis state machine.

Both services change, users edit, faults strike, the process dies at any statement and is started again, the config
changes, the state is lost. At the end the faults go away, at most three clean cycles follow, and the oracle judges.
"""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from outreach_sync.errors import OutreachSyncError
from outreach_sync.sandbox.workbooks.schema import SEQUENCE_STATES
from tests.harness import PERSON, TASK
from tests.torture.reaper import KilledError, Reaper
from tests.torture.world import ALL_FIELDS, CROWDED, DAY, HOUR, USUAL, World, populate

STATES = ("active", "paused", "opted_out", "finished", "pending", "disabled", "failed", "bounced")
ENDINGS = frozenset({0, 1, 3, 4, 6})
MINUTE = 60_000
_LATEST_MOMENT = 260
EDITS: tuple[dict[str, Any], ...] = (
    *({ALL_FIELDS["sequence_state"]: "Finished"}, {ALL_FIELDS["no_email"]: False}),
    *({ALL_FIELDS["sequences"]: None}, {"person_job_title": "Chief"}),
)
_PICK = st.integers(0, 1000)


def _plain(names: str) -> dict[str, dict[str, Any]]:
    return {name: {} for name in names.split()}


OUTREACH_FAULTS: dict[str, dict[str, Any]] = {
    **_plain(
        "server_error_500 gateway_timeout_504 html_with_200 broken_json body_cut_short reset_before_answer"
        " reset_during_answer token_expired_mid_walk refresh_rotates_hard refresh_refused_once out_of_order"
        " duplicate_across_pages changes_while_paged empty_page_with_next cursor_loops cursor_refused"
        " cursor_bound_to_size next_link_null next_link_other_host rate_headers_missing date_missing"
        " unauthorized_without_body included_missing to_one_links_only ids_as_strings unknown_attributes_added"
    ),
    "rate_limited": {"form": "seconds", "wait": 0},
    "maintenance_503": {"wait": 60},
    "short_pages": {"rows": 3},
    "reset_in_form": {"form": "http_date"},
}
WORKBOOKS_FAULTS: dict[str, dict[str, Any]] = {
    **_plain(
        "answer_lost_after_commit reset_before_answer body_cut_short broken_json rate_limited_429"
        " unavailable_503 redirect_302 created_rows_appear_late filter_ignored refuse_one not_taken"
        " refuse_all top_level_success_true_on_partial top_level_success_false_on_success_info_missing"
        " results_longer results_shorter results_reordered information_missing stale_some stale_all"
        " stale_again_and_again stale_without_text deleted_id_fails_batch_404 deleted_id_shortens_results"
    ),
    "error_500": {"kind": "write"},
    "error_500 done": {"kind": "write", "committed": True},
    "html_with_200": {"committed": True},
    "redirect_302 done": {"kind": "write", "committed": True},
    "refuse_value": {"field": ALL_FIELDS["sequence_state"]},
    "column_missing": {"field": "lock_version"},
}


class Torture(RuleBasedStateMachine):
    """One life of an installation."""

    @initialize(
        sync=st.sampled_from(({}, {"start": "90d"}, {"multiple_sequences": "precedence"})),
        guard=st.booleans(),
        lanes=st.sampled_from((USUAL, CROWDED, (1, 1))),
    )
    def begin(self, sync: dict[str, Any], guard: bool, lanes: tuple[int, int]) -> None:
        self.world = World(**sync, **({"guard": {"share": 0.2, "count": 1}} if guard else {}))
        self.world.send_in(lanes)
        populate(self.world)
        self.compare_at_the_end = False

    @invariant()
    def everything_is_noted(self) -> None:
        self.world.note()

    # -- Outreach

    @rule(pick=_PICK, state=st.sampled_from(STATES))
    def a_state_changes(self, pick: int, state: str) -> None:
        chosen = self._pick("sequenceState", pick)
        if chosen is not None:
            self.world.outreach.update("sequenceState", chosen, state=state, stateChangedAt=self.world.now())

    @rule(pick=_PICK, state=st.sampled_from((*STATES, "hibernating")), sequence=st.integers(1, 3))
    def somebody_enters_a_sequence(self, pick: int, state: str, sequence: int) -> None:
        prospect = self._pick("prospect", pick)
        self.world.outreach.add_state(prospect, sequence, state, stateChangedAt=self.world.now())

    @rule(pick=_PICK, how=st.sampled_from(("optedOut", "emailOptedOut", "dated", "resumed", "trashed", "restored")))
    def somebody_opts_out_or_in_or_is_trashed_or_restored(self, pick: int, how: str) -> None:
        self.compare_at_the_end |= how == "trashed"  # from then on no list shows it
        changes: dict[str, dict[str, Any]] = {
            "trashed": {"trashedAt": self.world.now()},
            "restored": {"trashedAt": None},
            "dated": {"optedOut": True, "optedOutAt": self.world.now()},
            "resumed": {"optedOut": False, "emailOptedOut": False, "optedOutAt": None},
        }
        self.world.outreach.update("prospect", self._pick("prospect", pick), **changes.get(how, {how: True}))

    @rule(number=st.integers(1, 8), emails=st.lists(st.integers(1, 6), max_size=2))
    def a_prospect_appears(self, number: int, emails: list[int]) -> None:
        addresses = [f"new{one}@example.com" for one in emails]
        self.world.outreach.add_prospect(firstName=f"New{number}", lastName="Example", emails=addresses)

    @rule(pick=_PICK, skipped=st.sampled_from(("skipped", "complete", "incomplete")))
    def a_task_changes(self, pick: int, skipped: str) -> None:
        self.world.outreach.update("task", self._pick("task", pick), state=skipped)

    @rule(pick=_PICK)
    def a_task_is_skipped(self, pick: int) -> None:
        kind = {"taskType": "sequence_step_call", "action": "call", "state": "skipped"}
        self.world.outreach.add_task(self._pick("prospect", pick), **kind)

    @rule(pick=_PICK)
    def a_state_vanishes(self, pick: int) -> None:
        chosen = self._pick("sequenceState", pick)
        if chosen is not None:
            self.world.outreach.delete("sequenceState", chosen)
            self.compare_at_the_end = True

    @rule(pick=_PICK, hours=st.integers(1, 20))
    def a_state_is_seen_late(self, pick: int, hours: int) -> None:
        values = {"prospect": self._pick("prospect", pick), "sequence": 1, "state": "finished"}
        self.world.outreach.add("sequenceState", values, visible_after_ms=hours * HOUR)

    @rule(milliseconds=st.sampled_from((1000, 11 * MINUTE, 3 * HOUR, 25 * HOUR)))
    def time_passes(self, milliseconds: int) -> None:
        self.world.pass_time(milliseconds)

    # -- Workbooks

    @rule(pick=_PICK, change=st.sampled_from(EDITS))
    def a_user_edits_a_person(self, pick: int, change: dict[str, Any]) -> None:
        person = self._pick_row(PERSON, pick)
        if person is not None:
            self.world.edit_person(person, **change)

    @rule(pick=_PICK)
    def a_user_deletes_a_person(self, pick: int) -> None:
        person = self._pick_row(PERSON, pick)
        if person is not None:
            self.world.workbooks.delete(PERSON, person)

    @rule(winner=_PICK, loser=_PICK)
    def a_user_merges_people(self, winner: int, loser: int) -> None:
        """Merge two. Where the losing id would stand for the winner's, it counts as hidden, which people settle."""
        kept, lost = self._pick_row(PERSON, winner), self._pick_row(PERSON, loser)
        if kept is not None and lost is not None and kept != lost:
            self.world.workbooks.merge_people(kept, lost)
            self.world.history.merge(self.world, kept, lost)

    @rule(pick=_PICK)
    def a_user_deletes_a_task(self, pick: int) -> None:
        task = self._pick_row(TASK, pick)
        if task is not None:
            self.world.workbooks.delete(TASK, task)

    # -- trouble

    @rule(name=st.sampled_from(sorted(OUTREACH_FAULTS)), times=st.integers(1, 4), after=st.integers(0, 4))
    def outreach_fails(self, name: str, times: int, after: int) -> None:
        self.world.sandbox.outreach.faults.on(name, times=times, after=after, **OUTREACH_FAULTS[name])
        # a sequence whose name an answer left out is asked for by a comparison
        self.compare_at_the_end |= name == "included_missing"

    @rule(name=st.sampled_from(sorted(WORKBOOKS_FAULTS)), times=st.integers(1, 4), after=st.integers(0, 4))
    def workbooks_fails(self, name: str, times: int, after: int) -> None:
        self.world.sandbox.workbooks.faults.on(
            name.partition(" ")[0], times=times, after=after, **WORKBOOKS_FAULTS[name]
        )
        # an ignored filter hides what was deleted: a comparison refuses it as hidden, and takes that back the next time
        self.compare_at_the_end |= name == "filter_ignored"

    @rule()
    def the_faults_go_away(self) -> None:
        self.world.heal()

    @rule(kind=st.sampled_from(("run", "reconcile")), bulk=st.booleans())
    def a_cycle_runs(self, kind: str, bulk: bool) -> None:
        ended = self.world.run(kind, allow_bulk=bulk)
        assert ended.exit_status in ENDINGS, f"{kind} ended with {ended.exit_status}: {ended.error}"

    @rule(options=st.sampled_from(({"full": True}, {"streams": ("tasks",)}, {"streams": ("prospects",)})))
    def a_part_is_run(self, options: dict[str, Any]) -> None:
        assert self.world.run(**options).exit_status in ENDINGS

    @rule(moment=st.integers(1, _LATEST_MOMENT), kind=st.sampled_from(("run", "run", "reconcile")))
    def a_cycle_is_killed(self, moment: int, kind: str) -> None:
        with contextlib.suppress(KilledError), Reaper(moment).watching():
            self.world.run(kind, allow_bulk=True)

    @rule()
    @precondition(lambda self: self.world.state_path.exists())
    def a_dry_run_changes_nothing(self) -> None:
        before, writes = self._contents(), len(self.world.workbooks.writes)
        with contextlib.suppress(OutreachSyncError):
            self.world.run(dry_run=True)
        assert self._contents() == before, "a dry run changed the state"
        assert len(self.world.workbooks.writes) == writes, "a dry run wrote to Workbooks"

    @rule(label=st.sampled_from(("Pending", "Paused by us")))
    def a_label_changes(self, label: str) -> None:
        if label not in self.world.workbooks.picklist_values(SEQUENCE_STATES):
            self.world.workbooks.add("admin/picklist_entries", picklist_id=SEQUENCE_STATES, value=label)
        self.world.change("sync", labels={"paused": label})

    @rule(mode=st.sampled_from(("latest", "precedence")))
    def another_state_is_shown(self, mode: str) -> None:
        self.world.change("sync", multiple_sequences=mode)

    @rule()
    def the_state_is_lost(self) -> None:
        """By the time somebody has lost it, what was created can be found by everybody."""
        for kind in (PERSON, TASK):
            for record in self.world.workbooks.table(kind).records.values():
                record.hidden_reads = 0
        self.world.lose_the_state()

    # -- the end

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self.world.pass_time(DAY + HOUR)  # whatever is visible late is visible now, and no refusal pauses any more
            found = self.world.left_wrong(reconcile_first=self.compare_at_the_end)
            assert not found, "\n".join(found)
        finally:
            self.world.close()

    # -- choosing

    def _pick(self, kind: str, number: int) -> Any:
        """Choose a record of Outreach; None where there is none, which only sequence states can come to."""
        records = self.world.outreach.all(kind)
        return records[number % len(records)].id if records else None

    def _pick_row(self, kind: str, number: int) -> int | None:
        rows = self.world.workbooks.all(kind)
        return rows[number % len(rows)]["id"] if rows else None

    def _contents(self) -> dict[str, list[tuple[Any, ...]]]:
        tables = [name for (name,) in self.world.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: self.world.rows(f'SELECT * FROM "{name}"') for name in tables}  # noqa: S608 - names of tables
