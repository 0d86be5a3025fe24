"""The one exception that is shown to the user as a single line, without a traceback."""


class UserError(Exception):
    """A foreseeable failure: bad input, a missing file, a refused model.

    The message is one line, ``<what> in <where>: <why>. <what to do>.`` The command line prints it
    after ``error:`` and exits with status 1.
    """
