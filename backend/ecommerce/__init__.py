"""What Atom's customers sell: stores, customers, orders and subscriptions."""
