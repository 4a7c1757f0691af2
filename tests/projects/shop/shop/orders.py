"""Code that uses the engine that it imported, as applications do."""

from sqlalchemy import func, select

from shop.db import SessionLocal
from shop.models import Customer, Order


def add_customer(name):
    with SessionLocal() as session:
        session.add(Customer(name=name))
        session.commit()


def names():
    with SessionLocal() as session:
        return sorted(session.scalars(select(Customer.name)))


def count():
    with SessionLocal() as session:
        return session.scalar(select(func.count()).select_from(Customer))


def order(name, item):
    with SessionLocal() as session:
        customer = session.scalars(select(Customer).filter_by(name=name)).one()
        session.add(Order(customer_id=customer.id, item=item))
        session.commit()
