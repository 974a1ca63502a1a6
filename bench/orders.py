"""The database that is measured: realistic orders and narrow accounts, the same rows each time.

Names and texts are of six languages in several scripts, tokens are random, and a third of the columns may be NULL: it
compresses about as the records of a real shop do.
"""

from __future__ import annotations

import random

import psycopg

from bench.server import Server
from holdfast.sample.words import LANGUAGES

__all__ = ["ACCOUNTS_PER_ORDER", "checksums", "make_orders", "phrases", "pile_up", "trade"]

ACCOUNTS_PER_ORDER = 2.5
_PHRASES = 20_000
_TURN_SHARE = 10


def make_orders(server: Server, database: str, orders: int) -> None:
    """Make the database with so many orders."""
    server.run("postgres", f"CREATE DATABASE {database}")
    with psycopg.connect(server.url(database), autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE phrase (n int PRIMARY KEY, name text, address text, note text)")
        with connection.cursor() as cursor, cursor.copy("COPY phrase FROM STDIN") as copy:
            for row in phrases():
                copy.write_row(row)
        connection.execute("ANALYZE phrase")
        connection.execute(_SCHEMA)
        connection.execute(_ORDERS.replace("{rows}", str(orders)).encode())
        connection.execute(_ACCOUNTS.replace("{rows}", str(round(orders * ACCOUNTS_PER_ORDER))).encode())
        for statement in (*_INDEXES, *_PROCEDURES, "VACUUM ANALYZE"):
            connection.execute(statement.encode())


def trade(server: Server, database: str, turn: int) -> None:
    """Change 1 % of the records, others each turn (0 to 99): nine tenths are updated, one tenth goes, as many come.

    They lie all over the tables, about a hundred to a transaction.
    """
    server.run(database, f"CALL trade({turn * _TURN_SHARE})")


def pile_up(server: Server, database: str) -> int:
    """Update every twentieth record once, 10 to a transaction; returns how many those were."""
    ((updated,),) = server.rows(database, "CALL pile_up(0)")
    return int(updated)


def checksums(server: Server, database: str) -> dict[str, tuple[int, str]]:
    """Each table's number of rows, and a sum over the text of all rows."""
    query = "SELECT count(*), sum(hashtextextended(t::text, 0)::numeric)::text FROM {} t"
    return {name: server.rows(database, query.format(name))[0] for name in ("orders", "accounts")}


def phrases() -> list[tuple[int, str, str, str]]:
    """Numbered names, addresses and notes of several languages, the same each time."""
    draw = random.Random(1)
    found = []
    for number in range(_PHRASES):
        language = draw.choice(LANGUAGES)
        place, (before, after) = draw.choice(language.places), draw.choice(language.streets)
        address = f"{before}{draw.randint(1, 180)}{after}, {draw.randrange(10**place.digits)} {place.city}"
        note = f"{draw.choice(language.products)}: {draw.choice(language.notes)} {draw.choice(language.notes)}"
        found.append((number, draw.choice(language.names), address, note))
    return found


_SCHEMA = """
CREATE TABLE orders (
    id bigint NOT NULL, number text NOT NULL, customer_id bigint NOT NULL, customer text NOT NULL,
    status text NOT NULL, total numeric(12,2) NOT NULL, currency text NOT NULL, is_paid boolean NOT NULL,
    token uuid NOT NULL, placed_at timestamptz NOT NULL, shipped_at timestamptz, coupon text, note text,
    details jsonb NOT NULL);
CREATE TABLE accounts (
    id bigint NOT NULL, customer_id int NOT NULL, balance numeric(12,2) NOT NULL, updated_at timestamptz NOT NULL)
"""
_INDEXES = (
    "ALTER TABLE orders ADD PRIMARY KEY (id)",
    "ALTER TABLE accounts ADD PRIMARY KEY (id)",
    "CREATE INDEX orders_customer ON orders (customer_id)",
    "CREATE INDEX orders_placed ON orders (placed_at)",
)
_ORDERS = f"""
INSERT INTO orders
SELECT id, 'ORD-' || lpad(id::text, 9, '0'), a % 200000, who.name,
    (ARRAY['open', 'paid', 'packed', 'shipped', 'shipped', 'shipped', 'returned'])[1 + b % 7],
    ((a % 1000) * (1 + c % 7) * 0.05 + (b % 10000) / 100.0)::numeric(12,2),
    (ARRAY['EUR', 'USD', 'JPY', 'PLN'])[1 + c % 4], b % 7 > 0,
    md5(id::text || 'token')::uuid,
    timestamptz '2021-03-01 06:00+00' + id * interval '41 seconds' + (a % 40000000) * interval '1 microsecond',
    CASE WHEN b % 7 > 2 THEN timestamptz '2021-03-02 06:00+00' + id * interval '41 seconds'
        + (c % 200000) * interval '1 second' END,
    CASE WHEN a % 12 = 0 THEN 'SAVE-' || upper(left(md5(id::text || 'coupon'), 8)) END,
    CASE WHEN c % 3 = 0 THEN said.note WHEN c % 3 = 1 THEN '' END,
    jsonb_build_object('channel', (ARRAY['web', 'app', 'shop', 'phone'])[1 + a % 4], 'address', who.address,
        'items', jsonb_build_array(
            jsonb_build_object('sku', left(md5((b % 30000)::text), 10), 'quantity', 1 + c % 4, 'price', b % 9000 / 100.0),
            jsonb_build_object('sku', left(md5((c % 30000)::text), 10), 'quantity', 1 + a % 2, 'price', c % 9000 / 100.0)))
FROM (SELECT id, hashint8extended(id, 1) & {(1 << 63) - 1} AS a, hashint8extended(id, 2) & {(1 << 63) - 1} AS b,
        hashint8extended(id, 3) & {(1 << 63) - 1} AS c FROM generate_series(1, {{rows}}) id) drawn
JOIN phrase who ON who.n = a % {_PHRASES} JOIN phrase said ON said.n = c % {_PHRASES}
ORDER BY id
"""  # noqa: E501
_ACCOUNTS = f"""
INSERT INTO accounts
SELECT id, a % 200000, (a % 100000000) / 100.0 - 20000,
    timestamptz '2021-03-01 06:00+00' + (a % 160000000000000) * interval '1 microsecond'
FROM (SELECT id, hashint8extended(id, 4) & {(1 << 63) - 1} AS a FROM generate_series(1, {{rows}}) id) drawn
"""
_MOVED = 1_000_000_000
_PROCEDURES = (
    f"""
CREATE PROCEDURE trade(start int) LANGUAGE plpgsql AS $$
DECLARE lowest bigint;
BEGIN
    FOR lowest IN SELECT generate_series(0, (SELECT max(id) FROM orders WHERE id < {_MOVED}), 10000) LOOP
        UPDATE orders SET status = 'shipped', is_paid = true, shipped_at = now(), total = total + 1.10
            WHERE id >= lowest AND id < lowest + 10000 AND id % 1000 BETWEEN start AND start + 8;
        WITH gone AS (DELETE FROM orders
            WHERE id >= lowest AND id < lowest + 10000 AND id % 1000 = start + 9 RETURNING *)
        INSERT INTO orders SELECT id + {_MOVED}, number, customer_id, customer, 'open', total, currency, false, token,
            now(), NULL, coupon, note, details FROM gone;
        COMMIT;
    END LOOP;
    FOR lowest IN SELECT generate_series(0, (SELECT max(id) FROM accounts WHERE id < {_MOVED}), 10000) LOOP
        UPDATE accounts SET balance = balance - 12.34, updated_at = now()
            WHERE id >= lowest AND id < lowest + 10000 AND id % 1000 BETWEEN start AND start + 8;
        WITH gone AS (DELETE FROM accounts
            WHERE id >= lowest AND id < lowest + 10000 AND id % 1000 = start + 9 RETURNING *)
        INSERT INTO accounts SELECT id + {_MOVED}, customer_id, 0, now() FROM gone;
        COMMIT;
    END LOOP;
END $$
""",
    """
CREATE PROCEDURE pile_up(INOUT updated bigint) LANGUAGE plpgsql AS $$
DECLARE lowest bigint; done bigint;
BEGIN
    SET synchronous_commit = off;
    FOR lowest IN SELECT generate_series(0, (SELECT max(id) FROM orders WHERE id < 1000000000), 200) LOOP
        UPDATE orders SET status = 'returned', total = total - 1.10
            WHERE id >= lowest AND id < lowest + 200 AND id % 20 = 3;
        GET DIAGNOSTICS done = ROW_COUNT;
        updated := updated + done;
        COMMIT;
    END LOOP;
    FOR lowest IN SELECT generate_series(0, (SELECT max(id) FROM accounts WHERE id < 1000000000), 200) LOOP
        UPDATE accounts SET balance = balance + 12.34, updated_at = now()
            WHERE id >= lowest AND id < lowest + 200 AND id % 20 = 3;
        GET DIAGNOSTICS done = ROW_COUNT;
        updated := updated + done;
        COMMIT;
    END LOOP;
END $$
""",
)
