"""Why a request is refused."""

_LONGEST = 400  # characters of an answer: it may quote what was sent


class RequestError(Exception):
    """A request that is not answered; the message goes to the client."""

    def __init__(self, status: int, message: str) -> None:
        """Says why.

        Args:
          status: of HTTP.
          message: one line, or more.
        """
        super().__init__(message if len(message) <= _LONGEST else f"{message[: _LONGEST - 1]}…")
        self.status = status
