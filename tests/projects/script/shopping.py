"""A plain script: python shopping.py [ITEM…]"""

import os
import sqlite3
import sys

connection = sqlite3.connect(os.environ["SHOPPING_LIST"])
with connection:
    connection.executemany("INSERT INTO items VALUES (?)", [(item,) for item in sys.argv[1:]])
for (name,) in connection.execute("SELECT name FROM items"):
    print(name)
connection.close()
