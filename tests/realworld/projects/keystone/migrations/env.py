"""Keystone's own env.py, with the options registered that its revisions read."""

import runpy

import keystone.conf
from keystone.common.sql import migrations

keystone.conf.configure()
runpy.run_path(f"{migrations.__path__[0]}/env.py")
