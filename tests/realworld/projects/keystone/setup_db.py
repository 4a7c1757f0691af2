import contextlib

import keystone.conf


def configured():
    """Keystone with its options registered, which its revisions read."""
    keystone.conf.configure()
    return contextlib.nullcontext()
