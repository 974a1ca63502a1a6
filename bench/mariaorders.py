"""The database that is measured on MariaDB: the orders and accounts of `orders`, made by MariaDB's own functions."""

from __future__ import annotations

from bench.mariaserver import MariaServer
from bench.orders import ACCOUNTS_PER_ORDER, phrases

__all__ = ["checksums", "make_orders", "pile_up", "trade"]

_MOVED = 1_000_000_000
_TURN_SHARE = 10


def make_orders(server: MariaServer, database: str, orders: int) -> None:
    """Make the database with so many orders."""
    with server.session() as cursor:
        cursor.execute(f"CREATE DATABASE {database} CHARACTER SET utf8mb4")
        cursor.execute(f"USE {database}")
        cursor.execute("CREATE TEMPORARY TABLE phrase (n int PRIMARY KEY, name text, address text, note text)")
        cursor.executemany("INSERT INTO phrase VALUES (%s, %s, %s, %s)", phrases())
        # MariaDB opens a temporary table once in a statement.
        cursor.execute("CREATE TEMPORARY TABLE said (n int PRIMARY KEY) SELECT n, note FROM phrase")
        cursor.execute("SELECT count(*) FROM phrase")
        ((count,),) = cursor.fetchall()
        for statement in _SCHEMA:
            cursor.execute(statement)
        # In pieces: one transaction of all of it would be one group in the log.
        for first in range(1, orders + 1, _PIECE):
            last = min(first + _PIECE - 1, orders)
            cursor.execute(_ORDERS.format(first=first, last=last, phrases=count))
        accounts = round(orders * ACCOUNTS_PER_ORDER)
        for first in range(1, accounts + 1, _PIECE):
            cursor.execute(_ACCOUNTS.format(first=first, last=min(first + _PIECE - 1, accounts)))
        cursor.execute("ANALYZE TABLE orders, accounts")


def trade(server: MariaServer, database: str, turn: int) -> None:
    """Change 1 % of the records, others each turn (0 to 99): nine tenths are updated, one tenth goes, as many come.

    They lie all over the tables, about a hundred to a transaction.
    """
    start = turn * _TURN_SHARE
    with server.session(database) as cursor:
        for table, changes in (("orders", _TRADE_ORDERS), ("accounts", _TRADE_ACCOUNTS)):
            cursor.execute(f"SELECT max(id) FROM {table} WHERE id < {_MOVED}")
            ((highest,),) = cursor.fetchall()
            for lowest in range(0, highest + 1, 10_000):
                cursor.execute("BEGIN")
                for statement in changes:
                    cursor.execute(statement.format(low=lowest, high=lowest + 10_000, start=start))
                cursor.execute("COMMIT")


def pile_up(server: MariaServer, database: str) -> int:
    """Update every twentieth record once, 10 to a transaction; returns how many those were."""
    updated = 0
    with server.session(database) as cursor:
        for table, change in (("orders", "status = 'returned', total = total - 1.10"), ("accounts", _DEPOSIT)):
            cursor.execute(f"SELECT max(id) FROM {table} WHERE id < {_MOVED}")
            ((highest,),) = cursor.fetchall()
            for lowest in range(0, highest + 1, 200):
                updated += cursor.execute(
                    f"UPDATE {table} SET {change} WHERE id >= {lowest} AND id < {lowest + 200} AND id % 20 = 3"
                )
    return updated


def checksums(server: MariaServer, database: str) -> dict[str, tuple[int, int]]:
    """Each table's number of rows, and MariaDB's own checksum of them."""
    found = {}
    for name in ("orders", "accounts"):
        ((count,),) = server.rows(database, f"SELECT count(*) FROM {name}")
        ((_, checksum),) = server.rows(database, f"CHECKSUM TABLE {name} EXTENDED")
        found[name] = (int(count), int(checksum))
    return found


_PIECE = 100_000
_SCHEMA = (
    """CREATE TABLE orders (
    id bigint NOT NULL PRIMARY KEY, number varchar(20) NOT NULL, customer_id bigint NOT NULL, customer text NOT NULL,
    status varchar(16) NOT NULL, total decimal(12,2) NOT NULL, currency char(3) NOT NULL, is_paid boolean NOT NULL,
    token binary(16) NOT NULL, placed_at datetime(6) NOT NULL, shipped_at datetime(6), coupon varchar(32), note text,
    details json NOT NULL, KEY (customer_id), KEY (placed_at))""",
    """CREATE TABLE accounts (id bigint NOT NULL PRIMARY KEY, customer_id int NOT NULL, balance decimal(12,2) NOT NULL,
    updated_at datetime(6) NOT NULL)""",
)
# Three numbers a record that look drawn and are the same each time.
_DRAWN = """(SELECT seq AS id, conv(left(md5(concat(seq, '{0}')), 12), 16, 10) + 0 AS a,
    conv(left(md5(concat(seq, 'b')), 12), 16, 10) + 0 AS b, conv(left(md5(concat(seq, 'c')), 12), 16, 10) + 0 AS c
    FROM seq_{{first}}_to_{{last}}) drawn"""
_ITEM = "json_object('sku', left(md5({0} % 30000), 10), 'quantity', 1 + {1} % 4, 'price', {0} % 9000 / 100.0)"
_ORDERS = (
    """
INSERT INTO orders
SELECT id, concat('ORD-', lpad(id, 9, '0')), a % 200000, who.name,
    elt(1 + b % 7, 'open', 'paid', 'packed', 'shipped', 'shipped', 'shipped', 'returned'),
    (a % 1000) * (1 + c % 7) * 0.05 + (b % 10000) / 100.0, elt(1 + c % 4, 'EUR', 'USD', 'JPY', 'PLN'), b % 7 > 0,
    unhex(md5(concat(id, 'token'))), '2021-03-01 06:00' + INTERVAL id * 41 SECOND + INTERVAL a % 40000000 MICROSECOND,
    IF(b % 7 > 2, '2021-03-02 06:00' + INTERVAL id * 41 + c % 200000 SECOND, NULL),
    IF(a % 12 = 0, concat('SAVE-', upper(left(md5(concat(id, 'coupon')), 8))), NULL),
    CASE c % 3 WHEN 0 THEN said.note WHEN 1 THEN '' END,
    json_object('channel', elt(1 + a % 4, 'web', 'app', 'shop', 'phone'), 'address', who.address,
        'items', json_array("""
    + _ITEM.format("b", "c")
    + ", "
    + _ITEM.format("c", "a")
    + "))\nFROM "
    + _DRAWN.format("a")
    + """ JOIN phrase who ON who.n = a % {phrases}
    JOIN said ON said.n = c % {phrases}"""
)
_ACCOUNTS = """
INSERT INTO accounts
SELECT id, a % 200000, (a % 100000000) / 100.0 - 20000,
    '2021-03-01 06:00' + INTERVAL a % 160000000000000 MICROSECOND
FROM """ + _DRAWN.format("d")
_DEPOSIT = "balance = balance + 12.34, updated_at = now(6)"
_HERE = "id >= {low} AND id < {high}"
_UPDATED, _GONE = "id % 1000 BETWEEN {start} AND {start} + 8", "id % 1000 = {start} + 9"
_SHIPPED = "status = 'shipped', is_paid = true, shipped_at = now(6), total = total + 1.10"
_AGAIN = (
    f"id + {_MOVED}, number, customer_id, customer, 'open', total, currency, false, token, now(6), NULL, coupon, note, "
    "details"
)
_TRADE_ORDERS = (
    f"UPDATE orders SET {_SHIPPED} WHERE {_HERE} AND {_UPDATED}",
    f"INSERT INTO orders SELECT {_AGAIN} FROM orders WHERE {_HERE} AND {_GONE}",
    f"DELETE FROM orders WHERE {_HERE} AND {_GONE}",
)
_TRADE_ACCOUNTS = (
    f"UPDATE accounts SET balance = balance - 12.34, updated_at = now(6) WHERE {_HERE} AND {_UPDATED}",
    f"INSERT INTO accounts SELECT id + {_MOVED}, customer_id, 0, now(6) FROM accounts WHERE {_HERE} AND {_GONE}",
    f"DELETE FROM accounts WHERE {_HERE} AND {_GONE}",
)
