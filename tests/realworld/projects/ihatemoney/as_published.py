"""A pytest plugin: nothing is looked up on the network while the package's own tests run."""

import email_validator

email_validator.CHECK_DELIVERABILITY = False
