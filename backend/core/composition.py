"""The composition root: the one place where `core` meets `saas` and `ecommerce`.

`core` says what it needs: mapped classes, tools, a meter, a demo. Which package gives it is said
here and nowhere else. Each import is in a function, because the packages are built on `core`: they
are imported when they are needed, and this module can be imported by any other.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from core.metering import Meter
    from core.models import User, Workspace
    from core.tools import Tool


def import_models() -> None:
    """Import every module that has mapped classes."""
    import ecommerce.models  # noqa: F401
    import saas.models  # noqa: F401

    import core.models  # noqa: F401


def every_tool() -> "Iterable[Tool]":
    """The tools that Atom comes with."""
    from ecommerce import tools as shop

    from core import agent_tools

    return [*agent_tools.TOOLS, *shop.TOOLS]


def meter(db: "Session") -> "Meter":
    """Who counts runs of agents against what a workspace subscribes to."""
    from saas.metering import UsageMeter

    return UsageMeter(db)


def fill_demo(db: "Session", workspace: "Workspace", admin: "User") -> None:
    """Give a workspace something to try the agent on."""
    from ecommerce.demo import fill

    fill(db, workspace, admin)
