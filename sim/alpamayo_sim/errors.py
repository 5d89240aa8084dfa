"""The one error that a user can cause."""


class InputError(ValueError):
    """Something that the user gave is wrong: a file, a name, an argument.

    The message is one line that names what is wrong, where, and what would be right. The command line prints
    it without a traceback and exits with code 2.
    """
