"""The errors a user can meet, each with the exit code that the commands return for it."""


class ProbeError(Exception):
    """Base of every error that is explained to the user: what was wanted, what came, what to do."""

    exit_code = 1


class UsageError(ProbeError):
    """An option, a setting or a combination of them that cannot be carried out."""

    exit_code = 2


class DataError(ProbeError):
    """Examples or gold that are missing, malformed, or made for other tokens."""

    exit_code = 3


class DamagedError(ProbeError):
    """A checkpoint, map store, cache or model that is missing a piece, damaged or mismatching."""

    exit_code = 4


class NonFiniteError(ProbeError):
    """NaN or infinity where a number is needed; names the tensor."""

    exit_code = 5


class DiskError(ProbeError):
    """The disk is full or refuses to be written; what was there before is intact."""

    exit_code = 6


class UnsafeError(ProbeError):
    """Input that would execute code or reach outside its folder; refused."""

    exit_code = 7
