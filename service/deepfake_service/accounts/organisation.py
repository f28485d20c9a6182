"""The organisation that issues evidence and sends notices, as documents and forms show it.

Forms of notices begin with the statements that it keeps for them. It never fills a signature or an
affirmation, which only a person can give.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from deepfake_service.accounts.accounts import Caller
from deepfake_service.audit.log import Action, append_entry
from deepfake_service.platform.db import Contact, Database, current_time
from deepfake_service.platform.errors import InvalidRequest
from deepfake_service.platform.storage import context_of, installation_secret
from deepfake_service.platform.storage.envelope import KeyWrapper, seal, unseal
from deepfake_service.platform.texts.fields import Email, Phone, Statement, Text, field_error_of

ORGANISATION = "organisation"
"""Id of its row."""
STATEMENTS = "statements."
_CONTEXT = context_of("contact", ORGANISATION)
_SECRET = "contacts"  # noqa: S105 - the name of a secret


@dataclass(frozen=True, slots=True)
class Organisation:
    """The organisation, as reports, notices and their forms show it. Unknown fields are null."""

    __pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name_ko: Text | None = None
    """Name in Korean."""
    name_en: Text | None = None
    """Name in English."""
    address: Text | None = None
    """Postal address."""
    address_en: Text | None = None
    """Postal address in English."""
    phone: Phone | None = None
    """Telephone number."""
    email: Email | None = None
    """E-mail address."""
    contact: Text | None = None
    """Person or department that answers."""
    contact_en: Text | None = None
    """Person or department that answers, in English."""
    statements: Annotated[
        Mapping[Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}\.[a-z_]{1,40}$")], Statement],
        Field(max_length=100),
    ] = field(default_factory=dict)
    """The statements with which forms of notices begin, by kind and field, as in
    `kr-tba-22-5.statement`."""

    def name(self, language: str) -> str | None:
        """Return the name in a language, or else in the other one."""
        first, second = self.name_ko, self.name_en
        return (first or second) if language == "ko" else (second or first)

    def reached_at(self, language: str) -> list[str]:
        """Return how the organisation is reached: contact, telephone, e-mail and address."""
        contact, address = self.contact, self.address
        if language == "en":
            contact, address = self.contact_en or contact, self.address_en or address
        return [v for v in (contact, self.phone, self.email, address) if v]

    def known(self) -> dict[str, str]:
        """Return the fields that are known, without the statements, as JSON."""
        return {n: value for n, value in asdict(self).items() if value and n != "statements"}


_ORGANISATION = TypeAdapter(Organisation)


class Sender:
    """Who issues evidence and sends notices: stores the organisation, and fills forms with it."""

    def __init__(self, database: Database, keys: KeyWrapper, issuer: str) -> None:
        """Open the organisation in ``database``; ``issuer`` is the name in the certificates that
        sign evidence and notices."""
        self._database = database
        self._key = installation_secret(database, keys, _SECRET)
        self.issuer = issuer

    def organisation(self) -> Organisation:
        """Return the organisation; nothing of it is known until an administrator stores it."""
        with self._database.read() as session:
            row = session.get(Contact, ORGANISATION)
        if row is None:
            return Organisation()
        return Organisation(**json.loads(unseal(self._key, row.sealed, _CONTEXT)))

    def lines(self, language: str) -> list[str]:
        """Return the name of who sends a notice, and how the organisation is reached."""
        organisation = self.organisation()
        return [organisation.name(language) or self.issuer, *organisation.reached_at(language)]

    def change_organisation(self, caller: Caller, organisation: Organisation) -> None:
        """Store the organisation. The audit log names the fields that were changed."""
        before, after = asdict(self.organisation()), asdict(organisation)
        changed = sorted(name for name, value in after.items() if value != before[name])
        with self._database.write() as session:
            row = session.get(Contact, ORGANISATION) or Contact(id=ORGANISATION)
            row.sealed = seal(self._key, json.dumps(after).encode(), _CONTEXT)
            row.changed_at = current_time(session)
            session.add(row)
            detail = ",".join(changed) or None
            action = Action.ORGANISATION_CHANGED
            append_entry(session, caller.actor, action, ORGANISATION, detail)


def organisation_of_form(values: dict[str, str]) -> Organisation:
    """Return the organisation that a form has; empty fields are left out. The name of a field with
    a statement is ``statements.`` and its key. ``InvalidRequest``, naming every field that is
    invalid."""
    given = {name: value for name, value in values.items() if value}
    kept = {n: given.pop(n) for n in list(given) if n.startswith(STATEMENTS)}
    statements = {name.removeprefix(STATEMENTS): value for name, value in kept.items()}
    try:
        return _ORGANISATION.validate_python({**given, "statements": statements})
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        errors = [field_error_of(".".join(map(str, e["loc"])), e) for e in found]
        names = ", ".join(e.field for e in errors)
        raise InvalidRequest(f"Invalid fields: {names}.", errors=errors) from error
