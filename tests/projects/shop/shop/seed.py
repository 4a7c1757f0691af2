from sqlalchemy.orm import Session

from shop.models import Customer


def demo(session: Session):
    session.add(Customer(name="a demo customer"))
