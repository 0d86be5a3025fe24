"""The one exception that reaches the user as a single line, without a traceback."""


class UserError(Exception):
    """A foreseeable failure: bad input, a missing file, a refused model.

    The message is one line: the rule, what was received, where, and the mend. The command line
    prints it after ``error:`` and exits with status 1.
    """
