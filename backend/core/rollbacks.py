"""What has to be true even if the caller's transaction is rolled back."""

import logging

from sqlalchemy import Update, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, SessionTransaction

logger = logging.getLogger(__name__)


def survive_rollback(db: Session, statement: Update) -> None:
    """Execute an idempotent statement now, and again when the session's transaction has ended.

    An error that is raised in the caller's transaction mostly ends it, and takes with it what the
    error is about. A second transaction beside the first could wait for its locks for ever, so the
    statement has one of its own afterwards. What goes wrong there is logged: the caller has an
    error already.
    """
    db.execute(statement)
    bind, ended = db.get_bind(), False

    @event.listens_for(db, "after_transaction_end")
    def write_again(_session: Session, transaction: SessionTransaction) -> None:
        nonlocal ended
        if ended or transaction.parent is not None:
            return
        ended = True
        try:
            with Session(bind) as own, own.begin():
                own.execute(statement)
        except SQLAlchemyError:
            logger.exception("what a rolled back transaction must not undo was not written again")
