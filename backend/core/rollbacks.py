"""What has to be true even if the caller's transaction is rolled back."""

import logging

from sqlalchemy import Update, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

logger = logging.getLogger(__name__)

_WAITING = "statements that survive a rollback"


def survive_rollback(db: Session | scoped_session[Session], statement: Update) -> None:
    """Execute an idempotent statement now, and again when the session's transaction has ended.

    An error that is raised in the caller's transaction mostly ends it, and takes with it what the
    error is about. A second transaction beside the first could wait for its locks for ever, so the
    statement has one of its own afterwards. What goes wrong there is logged: the caller has an
    error already.
    """
    # A registry of sessions would have us listen to all of its class.
    session = db() if isinstance(db, scoped_session) else db
    session.execute(statement)
    if _WAITING not in session.info:
        session.info[_WAITING] = []
        event.listen(session, "after_transaction_end", _write_again)
    session.info[_WAITING].append((session.get_bind(), statement))


def _write_again(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is not None:
        return
    waiting, session.info[_WAITING] = session.info[_WAITING], []
    for bind, statement in waiting:
        try:
            with Session(bind) as own, own.begin():
                own.execute(statement)
        except SQLAlchemyError:
            logger.exception("what a rolled back transaction must not undo was not written again")
