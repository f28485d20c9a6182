"""Estimate how many workers serve a number of videos a day: a queue with several servers (M/G/c).

Jobs arrive at random (Poisson) at the rate of the busiest hour, each worker examines one at a time,
and the times of jobs vary. Waiting times are the Erlang C formula of M/M/c, scaled for other
distributions by Allen and Cunneen's factor (Allen 1990, "Probability, Statistics, and Queueing
Theory", 2nd ed., section 5.4), as is their exponential tail.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Work:
    """What arrives, and what each job takes.

    ``per_day`` videos arrive, the busiest hour has ``peak`` times the mean rate. A job takes a
    worker ``service_s`` seconds on average, with a coefficient of variation of ``variation``
    (standard deviation over mean; 1.0 as in the exponential distribution).
    """

    per_day: float
    service_s: float
    variation: float = 1.0
    peak: float = 3.0

    @property
    def rate(self) -> float:
        """Return the jobs a second that arrive in the busiest hour."""
        return self.per_day * self.peak / DAY_S

    @property
    def offered(self) -> float:
        """Return the mean number of busy workers in the busiest hour (erlangs)."""
        return self.rate * self.service_s


@dataclass(frozen=True, slots=True)
class Queue:
    """A number of workers and the work that they get."""

    work: Work
    workers: int

    @property
    def utilisation(self) -> float:
        """Return the share of time in which a worker is busy in the busiest hour; 1 is too much."""
        return self.work.offered / self.workers

    @property
    def waiting_share(self) -> float:
        """Return the share of jobs that have to wait at all (Erlang C), 0 to 1."""
        if self.utilisation >= 1:
            return 1.0
        # By the recurrence of Erlang B, whose terms neither overflow nor cancel.
        blocked = 1.0
        for servers in range(1, self.workers + 1):
            blocked = self.work.offered * blocked / (servers + self.work.offered * blocked)
        return blocked / (1 - self.utilisation * (1 - blocked))

    @property
    def mean_wait_s(self) -> float:
        """Return the mean seconds until a job is begun; infinite if the workers cannot keep up."""
        if self.utilisation >= 1:
            return math.inf
        return self.waiting_share * self._mean_of_those_who_wait_s

    def late_share(self, wait_s: float) -> float:
        """Return the share of jobs that wait longer than ``wait_s`` seconds, 0 to 1."""
        if self.utilisation >= 1:
            return 1.0
        return self.waiting_share * math.exp(-wait_s / self._mean_of_those_who_wait_s)

    @property
    def _mean_of_those_who_wait_s(self) -> float:
        # Arrivals are Poisson: their squared coefficient of variation is 1.
        factor = (1 + self.work.variation**2) / 2
        return factor * self.work.service_s / (self.workers - self.work.offered)


def simulated_waits(
    arrivals: Sequence[float], seconds: Sequence[float], workers: int
) -> list[float]:
    """Return how long each of these jobs waits for the first of ``workers`` that is free.

    ``arrivals`` are times in seconds, in order, and ``seconds`` what the jobs then take.
    """
    free, waits = [-math.inf] * workers, []
    for arrival, taken in zip(arrivals, seconds, strict=True):
        began = max(arrival, heapq.heappop(free))
        waits.append(began - arrival)
        heapq.heappush(free, began + taken)
    return waits


def workers_needed(work: Work, wait_s: float, late: float) -> Queue:
    """Return the queue with the fewest workers of which at most a share ``late`` of the jobs waits
    longer than ``wait_s`` seconds in the busiest hour.

    Raises:
        ValueError: a number is not positive, or ``late`` is not below 1.
    """
    if min(work.per_day, work.service_s, work.peak, wait_s, late) <= 0 or late >= 1:
        raise ValueError("rates, times and shares must be positive, and the late share below 1")
    low = math.floor(work.offered) + 1
    high = low
    while Queue(work, high).late_share(wait_s) > late:
        low, high = high + 1, 2 * high
    while low < high:  # the share falls with every worker
        middle = (low + high) // 2
        if Queue(work, middle).late_share(wait_s) > late:
            low = middle + 1
        else:
            high = middle
    return Queue(work, high)


def table(queues: Sequence[Queue], wait_s: float, transactions: float) -> str:
    """Return a line of text for each queue: its rate, workers, utilisation, waits and, if a video
    takes ``transactions`` of the database, their rate."""
    head = [
        "videos/day",
        "busiest hour",
        "workers",
        "busy",
        "mean wait",
        f"later than {wait_s:g} s",
    ]
    rows = [
        [
            f"{queue.work.per_day:,.0f}",
            f"{queue.work.rate:,.3g}/s",
            f"{queue.workers:,}",
            f"{queue.utilisation:.0%}",
            f"{queue.mean_wait_s:.2g} s",
            f"{queue.late_share(wait_s):.2%}",
        ]
        for queue in queues
    ]
    if transactions:
        head.append("transactions")
        for row, queue in zip(rows, queues, strict=True):
            row.append(f"{queue.work.rate * transactions:,.3g}/s")
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = (
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in (head, *rows)
    )
    return "\n".join(lines)
