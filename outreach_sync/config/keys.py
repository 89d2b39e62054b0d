"""Which keys there are: read from the models, with the `_file` variants of the secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from outreach_sync.config.document import SECRETS, Where
from outreach_sync.config.models import Config

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


def keys_at(where: Where) -> list[str]:
    """List the keys of a section in their order; none where keys are free, or nothing can stand."""
    model = model_at(where)
    if model is None:
        return []
    keys = []
    for name, field in model.model_fields.items():
        key = field.alias or name
        keys += [key, f"{key}_file"] if (*where, key) in SECRETS else [key]
    return keys


def model_at(where: Where) -> type[BaseModel] | None:
    """Find the model of a section."""
    model: type[BaseModel] | None = Config
    for step in where:
        field = model.model_fields.get(str(step)) if model else None
        model = section_of(field) if field else None
    return model


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """Find the model that a field holds, optional or not."""
    kinds = (field.annotation, *getattr(field.annotation, "__args__", ()))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
