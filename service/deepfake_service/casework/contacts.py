"""Contacts that fill the forms of notices: the organisation's, and those of one's own account.

They never fill a statement or a signature, which only a person can give.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy.orm import Session

from deepfake_service.db import Contact, Database, current_time
from deepfake_service.documents.organisation import Organisation
from deepfake_service.errors import InvalidRequest
from deepfake_service.notices.fields import Email, Phone, Text, field_error_of
from deepfake_service.security.accounts import Caller
from deepfake_service.security.audit_log import Action, append_entry
from deepfake_service.storage import context_of, installation_secret
from deepfake_service.storage.envelope import KeyWrapper, seal, unseal

ORGANISATION = "organisation"
"""Id of the row of the organisation. Ids of accounts are longer."""
_SECRET = "contacts"  # noqa: S105 - the name of a secret


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationRecord:
    """The organisation as an administrator enters it."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name_ko: Annotated[Text | None, Field(description="Name in Korean.")] = None
    name_en: Annotated[Text | None, Field(description="Name in English.")] = None
    address: Annotated[Text | None, Field(description="Postal address.")] = None
    phone: Annotated[Phone | None, Field(description="Telephone number.")] = None
    email: Annotated[Email | None, Field(description="E-mail address.")] = None
    contact: Annotated[Text | None, Field(description="Person or department that answers.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnContact:
    """The contact of the owner of an account, which comes before the organisation's."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: Text | None = None
    phone: Phone | None = None
    email: Email | None = None


_Record = TypeVar("_Record", OrganisationRecord, OwnContact)
_ORGANISATION_RECORD = TypeAdapter(OrganisationRecord)
_OWN_CONTACT = TypeAdapter(OwnContact)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who issues evidence and sends notices."""

    issuer: str
    """The name in the certificates that sign them."""
    organisation: Callable[[], Organisation]


class Contacts:
    """Stores contacts, and says what they fill forms with."""

    def __init__(self, database: Database, keys: KeyWrapper) -> None:
        self._database = database
        self._keys = keys

    def organisation(self) -> Organisation:
        """Return the organisation: without any fields until an administrator has stored one."""
        return Organisation(**(self._stored(ORGANISATION) or {}))

    def own(self, caller: Caller) -> OwnContact:
        """Return the contact of the caller's account."""
        return OwnContact(**(self._stored(caller.account_id) or {}))

    def change_organisation(self, caller: Caller, record: OrganisationRecord) -> None:
        """Store the organisation. The audit log names the fields that were changed."""
        before, key = asdict(self.organisation()), self._key()
        with self._database.write() as session:
            _store(session, key, ORGANISATION, asdict(record))
            changed = sorted(name for name, v in asdict(record).items() if v != before[name])
            append_entry(
                session,
                caller.actor,
                Action.ORGANISATION_CHANGED,
                ORGANISATION,
                ",".join(changed) or None,
            )

    def change_own(self, caller: Caller, contact: OwnContact) -> None:
        """Store the contact of the caller's account."""
        key = self._key()
        with self._database.write() as session:
            _store(session, key, caller.account_id, asdict(contact))
            append_entry(session, caller.actor, Action.CONTACT_CHANGED, caller.account_id)

    def form_values(self, caller: Caller, language: str) -> dict[str, str]:
        """Return the name, telephone and e-mail that fill a form: one's own come first."""
        organisation, own = self.organisation(), self.own(caller)
        values = {
            "name": own.name or organisation.name(language),
            "phone": own.phone or organisation.phone,
            "email": own.email or organisation.email,
        }
        return {name: value for name, value in values.items() if value}

    def _stored(self, row_id: str) -> dict[str, Any] | None:
        with self._database.read() as session:
            row = session.get(Contact, row_id)
        if row is None:
            return None
        content: dict[str, Any] = json.loads(unseal(self._key(), row.sealed, _context(row_id)))
        return content

    def _key(self) -> bytes:
        """Return the key of contacts. The first call writes it: not in a transaction."""
        return installation_secret(self._database, self._keys, _SECRET)


def _store(session: Session, key: bytes, row_id: str, content: dict[str, Any]) -> None:
    row = session.get(Contact, row_id) or Contact(id=row_id)
    row.sealed = seal(key, json.dumps(content).encode(), _context(row_id))
    row.changed_at = current_time(session)
    session.add(row)


def organisation_of_form(values: dict[str, str]) -> OrganisationRecord:
    """Return the organisation that a form has; empty fields are left out.

    Raises:
        InvalidRequest: naming every field that is invalid.
    """
    return _parsed(_ORGANISATION_RECORD, values)


def own_contact_of_form(values: dict[str, str]) -> OwnContact:
    """Return one's own contact that a form has. See ``organisation_of_form``."""
    return _parsed(_OWN_CONTACT, values)


def _parsed(adapter: TypeAdapter[_Record], values: dict[str, str]) -> _Record:
    try:
        return adapter.validate_python({name: v for name, v in values.items() if v})
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        errors = [field_error_of(str(e["loc"][0]), e) for e in found]
        names = ", ".join(e.field for e in errors)
        raise InvalidRequest(f"Invalid fields: {names}.", errors=errors) from error


def _context(row_id: str) -> bytes:
    return context_of("contact", row_id)
