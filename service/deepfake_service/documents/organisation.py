"""The organisation that issues reports and sends notices, as documents and forms show it."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Organisation:
    """The name of an organisation in both languages, and how it is reached."""

    name_ko: str | None = None
    name_en: str | None = None
    address: str | None = None
    phone: str | None = None
    email: str | None = None
    contact: str | None = None
    """The person or department that answers."""

    def name(self, language: str) -> str | None:
        """Return the name in a language, or else in the other one."""
        first, second = self.name_ko, self.name_en
        return (first or second) if language == "ko" else (second or first)

    def reached_at(self) -> list[str]:
        """Return how the organisation is reached: contact, telephone, e-mail and address."""
        return [v for v in (self.contact, self.phone, self.email, self.address) if v]

    def known(self) -> dict[str, str]:
        """Return the fields that are known, as JSON."""
        return {name: value for name, value in asdict(self).items() if value}
