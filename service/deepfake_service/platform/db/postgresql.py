"""Connections to a PostgreSQL server on another machine, which can be cut at any moment.

A cut connection looks open to both ends. A worker would wait for it for a quarter of an hour, and
the server would keep its transaction, with the locks that others wait for, for two hours. So both
ends find out within half a minute.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import URL, make_url, text
from sqlalchemy.orm import Session

from deepfake_service.platform.clock import ticks, utc_now

_CLIENT = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""Parameters of libpq (PostgreSQL documentation, 34.1.2), in seconds, the last in milliseconds."""
_SERVER = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "idle_in_transaction_session_timeout": "60000",
}
"""Settings of the server for these connections. No transaction of ours idles for a minute."""
ADJUSTED_EVERY_S = 30.0


def patient_url(url: str) -> str:
    """Return ``url``, with the parameters above where it names a PostgreSQL server. What the URL
    says itself has precedence."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "postgresql":
        return url
    own = " ".join(_all(parsed, "options"))
    options = " ".join([f"-c {name}={value}" for name, value in _SERVER.items()] + [own]).strip()
    client = {name: value for name, value in _CLIENT.items() if not _all(parsed, name)}
    return parsed.update_query_dict({**client, "options": options}).render_as_string(
        hide_password=False
    )


def _all(url: URL, name: str) -> tuple[str, ...]:
    value = url.query.get(name, ())
    return (value,) if isinstance(value, str) else value


class ServerClock:
    """The clock of the database server, by which all processes of an installation go.

    Machines whose own clocks differ would send a webhook twice, or delete what others still keep.
    Between two looks at the server's clock, this machine's ticks count on.
    """

    def __init__(self) -> None:
        self._shown: tuple[datetime, float] | None = None

    def __call__(self) -> datetime:
        """Return the server's time in UTC; the system's before the server was asked."""
        if self._shown is None:
            return utc_now()
        at, then = self._shown
        return at + timedelta(seconds=ticks() - then)

    def adjust(self, session: Session) -> None:
        """Ask the server for its time, if the last answer is older than ``ADJUSTED_EVERY_S``."""
        before = ticks()
        if self._shown is not None and before - self._shown[1] < ADJUSTED_EVERY_S:
            return
        at: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
        # The answer is from about half-way between the question and its arrival.
        self._shown = at.astimezone(UTC), (before + ticks()) / 2
