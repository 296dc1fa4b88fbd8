"""What can go wrong between here and IBM Quantum, one sentence each; and keeping secrets out of those sentences."""

from __future__ import annotations

import re

# Refusals that no repetition mends.
_FINAL = {400, 401, 403, 404, 409, 413, 422}


class IBMFailure(RuntimeError):
    """Something at the service or on the way to it; the sentence says what, and the way out."""


class NoAccount(IBMFailure):
    """No account, or one that is refused."""


class UnknownDevice(IBMFailure):
    """No such device, or it is offline."""


class Refused(IBMFailure):
    """The service refused the job; nothing was run."""


class JobFailed(IBMFailure):
    """The service ran into an error with the job, or somebody cancelled it."""


class TooExpensive(IBMFailure):
    """The price is above what was allowed; nothing was submitted."""


class TooLarge(IBMFailure):
    """The job is above what the service takes."""


class NotThereYet(IBMFailure):
    """The job is submitted and its result is not there: a rerun collects it."""


def http_status(error: BaseException) -> int | None:
    """The HTTP status behind an error of the client, which hides it in what the error was raised from."""
    seen: BaseException | None = error
    while seen is not None:
        if type(seen).__name__ == "IBMNotAuthorizedError":
            return 401
        for source in (seen, getattr(seen, "response", None)):
            status = getattr(source, "status_code", None)
            if isinstance(status, int):
                return status
        seen = seen.__cause__ or seen.__context__
    return None


def is_final(error: BaseException) -> bool:
    """Whether repeating cannot help."""
    return isinstance(error, (NoAccount, UnknownDevice)) or http_status(error) in _FINAL


_LONG_WORDS = re.compile(r"(Bearer\s+\S+|apikey=\S+|\b[A-Za-z0-9_\-]{20,}(?:\.[A-Za-z0-9_\-]+)*\b)")


def redacted(text: str, secrets: tuple[str, ...] = ()) -> str:
    """The text without secrets, or whatever could be one."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return _LONG_WORDS.sub(lambda found: found[0] if found[0].islower() and "_" in found[0] else "***", text)


_MESSAGE = re.compile(r"""["']message["']\s*:\s*["']([^"']+)["']""")


def in_short(error: BaseException, secrets: tuple[str, ...] = ()) -> str:
    """An error in one line of at most 200 characters, redacted: the service's own words where it sent some."""
    if isinstance(error, IBMFailure):
        return redacted(str(error), secrets)
    found = _MESSAGE.search(str(error).replace("\\", ""))
    if found:
        status = http_status(error)
        kind = type(error).__name__ if status is None else f"HTTP {status}"
        return f"{kind}: {redacted(found[1], secrets)[:200]}"
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {redacted(lines[0].strip(chr(34) + chr(39)), secrets)[:200]}"
