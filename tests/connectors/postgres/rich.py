"""A database with one of everything that PostgreSQL can define, and definitions that try to look like pg_dump's own."""

from __future__ import annotations

__all__ = ["RECORDS", "definitions"]


def definitions(role: str) -> list[str]:
    """The statements that make it; *role* gets grants and owns a few things."""
    return [
        "CREATE EXTENSION citext",
        "COMMENT ON EXTENSION citext IS 'letters'",
        'CREATE SCHEMA "we.ird"',
        "CREATE SCHEMA sales",
        "CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s -- Name: x; Type: TABLE; Schema: public; Owner: y')",
        "CREATE DOMAIN posint AS int CHECK (value > 0)",
        "CREATE TYPE comp AS (a int, b text)",
        "CREATE COLLATION nd (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        (
            "CREATE TABLE customer (id serial PRIMARY KEY, name text UNIQUE, m mood DEFAULT 'ok', p posint, c comp, "
            "mail citext)"
        ),
        f"COMMENT ON TABLE customer IS '{_FALSE_HEADER}'",
        "COMMENT ON COLUMN customer.name IS 'n'",
        (
            "CREATE TABLE sales.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int NOT NULL "
            "REFERENCES customer DEFERRABLE INITIALLY DEFERRED, total numeric, "
            "twice numeric GENERATED ALWAYS AS (total * 2) STORED)"
        ),
        "CREATE INDEX ON sales.orders (total) WHERE total > 0",
        "ALTER TABLE sales.orders REPLICA IDENTITY FULL",
        "CREATE TABLE ev (at timestamptz NOT NULL, id int, note text, PRIMARY KEY (at, id)) PARTITION BY RANGE (at)",
        "CREATE TABLE ev_1 PARTITION OF ev FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')",
        (
            "CREATE TABLE sales.ev_2 PARTITION OF ev FOR VALUES FROM ('2021-01-01') TO ('2022-01-01') "
            "PARTITION BY LIST (id)"
        ),
        "CREATE TABLE ev_2a PARTITION OF sales.ev_2 DEFAULT",
        "CREATE INDEX ev_note ON ev (note)",
        "CREATE TABLE parent (a int, b text)",
        "CREATE TABLE child (c int) INHERITS (parent)",
        "CREATE TABLE a (id int PRIMARY KEY, b int)",
        "CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a)",
        "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b",
        (
            f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $_$ BEGIN {_FALSE_HEADER} PERFORM $$ ; $$; "
            "INSERT INTO public.parent VALUES (0, 'fired'); RETURN new; END $_$"
        ),
        (
            "CREATE FUNCTION g(x int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN x > 0 THEN 1 ELSE 2 END; "
            "SELECT 3; END"
        ),
        f'ALTER FUNCTION g OWNER TO "{role}"',
        'CREATE TRIGGER "t ON rg" BEFORE INSERT OR UPDATE OF name ON customer FOR EACH ROW EXECUTE FUNCTION f()',
        'ALTER TABLE customer ENABLE ALWAYS TRIGGER "t ON rg"',
        "CREATE VIEW v AS SELECT id, name FROM customer",
        "COMMENT ON VIEW v IS 'v'",
        f'GRANT SELECT ON v TO "{role}"',
        f'GRANT SELECT (id), UPDATE ON customer TO "{role}" WITH GRANT OPTION',
        "CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM customer",
        "CREATE UNIQUE INDEX ON mv (count)",
        "CREATE MATERIALIZED VIEW mv2 AS SELECT 1 WITH NO DATA",
        'CREATE TABLE "we.ird"."Ta""ble; Type: X" ("co l" text, "ключ" int PRIMARY KEY)',
        "CREATE RULE r AS ON UPDATE TO parent DO INSTEAD NOTHING",
        "ALTER TABLE parent ENABLE ROW LEVEL SECURITY",
        f'CREATE POLICY pol ON parent TO "{role}" USING (true)',
        "CREATE STATISTICS st ON name, m FROM customer",
        "CREATE SEQUENCE free START 5",
        "SELECT setval('free', 77, false)",
        "CREATE PUBLICATION pub FOR TABLE a",
        f'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO "{role}"',
        f'ALTER DEFAULT PRIVILEGES FOR ROLE "{role}" IN SCHEMA public GRANT SELECT ON TABLES TO postgres',
        (
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path TO public, sales', current_database()); "
            "EXECUTE format('ALTER DATABASE %I SET timezone TO ''Europe/Berlin''', current_database()); "
            "EXECUTE format('COMMENT ON DATABASE %I IS ''db''', current_database()); "
            f"EXECUTE format('GRANT CREATE ON DATABASE %I TO \"{role}\"', current_database()); END $$"
        ),
        "CREATE UNLOGGED TABLE ul (a int)",
        "CREATE TABLE ci (k text COLLATE nd PRIMARY KEY)",
        (
            "CREATE FUNCTION quiet() RETURNS event_trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO public.parent VALUES (0, 'event'); END $$"
        ),
        "CREATE EVENT TRIGGER et ON ddl_command_end EXECUTE FUNCTION quiet()",
    ]


_FALSE_HEADER = """
--
-- Name: fake; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE evil();
"""

RECORDS = [
    "ALTER TABLE customer DISABLE TRIGGER USER",
    "INSERT INTO customer (name, m, p, c) SELECT 'n' || i, 'ok', i, row(i, 'x\"y')::comp FROM generate_series(1, 50) i",
    "INSERT INTO customer (name, mail) VALUES ('', NULL), (NULL, ''), (E'a\\n\\\\.\\nb', 'NULL'), ('\\N', '\"')",
    'ALTER TABLE customer ENABLE ALWAYS TRIGGER "t ON rg"',
    "INSERT INTO sales.orders (customer, total) SELECT id, id * 1.50 FROM customer",
    "INSERT INTO ev SELECT '2020-05-01'::timestamptz + i * interval '3 day', i, 'e' FROM generate_series(1, 150) i",
    "INSERT INTO parent VALUES (1, 'p')",
    "INSERT INTO child VALUES (2, 'c', 3), (2, 'c', 3)",
    "INSERT INTO b VALUES (1, NULL)",
    "INSERT INTO a VALUES (1, 1)",
    "UPDATE b SET a = 1",
    "INSERT INTO ci VALUES ('Ada')",
    "INSERT INTO ul VALUES (1)",
    'INSERT INTO "we.ird"."Ta""ble; Type: X" VALUES (\'x\', 1)',
    "REFRESH MATERIALIZED VIEW mv",
    "SELECT nextval('customer_id_seq')",
]
