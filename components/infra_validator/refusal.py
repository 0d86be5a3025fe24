"""Why a model is not pushed."""


class Refusal(Exception):  # noqa: N818 - it is a verdict, not an error
    """The model is refused; the message is ``<why>. <what to do>``, without a full stop."""
