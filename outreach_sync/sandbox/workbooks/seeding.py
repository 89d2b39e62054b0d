"""What an account holds before anybody has added a record: queues, picklists, and the fields of the sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.sandbox.workbooks import schema

if TYPE_CHECKING:
    from outreach_sync.sandbox.workbooks.store import WorkbooksStore


def furnish(store: WorkbooksStore) -> None:
    """Add the queues of the key's user and the built-in picklists."""
    store.add(schema.PERSON_QUEUE, name="Integration User")
    store.add(schema.ACTIVITY_QUEUE, name="Integration User")
    for picklist in schema.PICKLISTS:
        add_picklist(store, picklist)


def prepare_for_sync(store: WorkbooksStore) -> None:
    """Add the picklist and the custom fields that the sync writes, as an administrator would have."""
    add_picklist(store, schema.SEQUENCE_PICKLIST)
    for title, data_type, picklist_id in schema.SYNC_FIELDS:
        store.add_custom_field(title, data_type, picklist_id=picklist_id)


def install_plugin(store: WorkbooksStore) -> None:
    """Add the fields of the vendor's own Outreach integration, whose titles are public and whose names are not."""
    add_picklist(store, schema.SEQUENCE_PICKLIST)
    store.add_custom_field("Outreach Id", "string")
    store.add_custom_field("Sequence State", "picklist", picklist_id=schema.SEQUENCE_STATES)
    store.add_custom_field("State Updated at", "date")


def add_picklist(store: WorkbooksStore, picklist: schema.Picklist) -> None:
    """Add a picklist under its id, with its entries."""
    kind = {"unrestricted": picklist.unrestricted, "auto_create": picklist.auto_create}
    store.add(schema.PICKLIST, id=picklist.id, name=picklist.name, **kind)
    for value in picklist.values:
        store.add(schema.PICKLIST_ENTRY, picklist_id=picklist.id, value=value)
