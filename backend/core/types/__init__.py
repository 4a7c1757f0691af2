"""Column types that mean the same on SQLite as on PostgreSQL."""

from core.types import expressions as expressions  # SQLAlchemy asks it from now on
from core.types.exact import EXACT, ExactDecimal, NotExact, NotExactInSQL, exact_number
from core.types.moments import NotUtcInSQL, UtcDateTime
from core.types.words import FreeText, NotOrderedInSQL, lowercase_enum, storable

__all__ = [
    "EXACT",
    "ExactDecimal",
    "FreeText",
    "NotExact",
    "NotExactInSQL",
    "NotOrderedInSQL",
    "NotUtcInSQL",
    "UtcDateTime",
    "exact_number",
    "lowercase_enum",
    "storable",
]
