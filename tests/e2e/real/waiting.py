"""Waiting for a condition, always with a deadline."""

import time


def wait_until(condition, what, timeout_s, interval_s=0.2):
    """Returns the first true value of condition(); raises TimeoutError that says what was waited for and what was seen last.

    An AssertionError or LookupError of the condition counts as "not yet" and is quoted at the deadline.
    """
    until = time.monotonic() + timeout_s
    while True:
        try:
            seen = condition()
            if seen:
                return seen
        except (AssertionError, LookupError) as error:
            seen = f"{type(error).__name__}: {error}"
        if time.monotonic() >= until:
            raise TimeoutError(f"not within {timeout_s:g} s: {what}; last seen: {seen!r}")
        time.sleep(interval_s)
