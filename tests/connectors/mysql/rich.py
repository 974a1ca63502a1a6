"""A database with one of everything that MariaDB can define; `{db}` is its name, `{user}` a user of its own."""

from __future__ import annotations

from tests.mariadb_server import Database

__all__ = ["RECORDS", "make_rich"]


def make_rich(database: Database) -> str:
    """Make the definitions in an empty database, and the user `<database>_app` with rights; returns his name."""
    database.user("app")
    user = f"{database.name}_app"
    with database.session() as connection, connection.cursor() as cursor:
        for each in _DEFINITIONS:
            cursor.execute(each.replace("{db}", database.name).replace("{user}", user))
    return user


_DEFINITIONS = (
    "ALTER DATABASE `{db}` CHARACTER SET latin1 COLLATE latin1_german1_ci COMMENT 'the ''shop'",
    "GRANT SELECT, CREATE TEMPORARY TABLES ON `{db}`.* TO `{user}`@`%` WITH GRANT OPTION",
    "CREATE SEQUENCE number START WITH 5 INCREMENT BY 3 CACHE 10 COMMENT='for invoices'",
    "SET SESSION sql_mode = 'ANSI_QUOTES,STRICT_TRANS_TABLES', foreign_key_checks = 1",
    (
        "CREATE TABLE customer (id int unsigned AUTO_INCREMENT PRIMARY KEY, name varchar(40) CHARACTER SET utf8mb3 "
        "COLLATE utf8mb3_bin NOT NULL DEFAULT 'AUTO_INCREMENT=7', mail varchar(80) COMPRESSED, "
        "big text AS (upper(name)) STORED, small int AS (length(name) % 7) INVISIBLE, note int INVISIBLE DEFAULT 3, "
        "data json, UNIQUE (name), KEY half (data(5) DESC), FULLTEXT (data), CONSTRAINT long_name CHECK (name <> '')) "
        "CHARACTER SET utf8mb4 COMMENT='`{db}`.`customer` ) AUTO_INCREMENT=3 it''s'"
    ),
    "SET SESSION sql_mode = DEFAULT",
    (
        "CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, number bigint DEFAULT nextval(number), "
        "customer int unsigned NOT NULL, total decimal(12,2) DEFAULT 0, at datetime(6) DEFAULT current_timestamp(6) "
        "ON UPDATE current_timestamp(6), place point, FOREIGN KEY (customer) REFERENCES customer (id) "
        "ON DELETE CASCADE) AUTO_INCREMENT=1000"
    ),
    "CREATE TABLE a (id int PRIMARY KEY, b int)",
    "CREATE TABLE b (id int PRIMARY KEY, a int, CONSTRAINT ba FOREIGN KEY (a) REFERENCES a (id))",
    "ALTER TABLE a ADD CONSTRAINT ab FOREIGN KEY (b) REFERENCES b (id)",
    (
        "CREATE TABLE event (id int, at date NOT NULL, note text, PRIMARY KEY (id, at)) ENGINE=InnoDB "
        "PARTITION BY RANGE (year(at)) (PARTITION old VALUES LESS THAN (2020), PARTITION new VALUES LESS THAN MAXVALUE)"
    ),
    (
        "CREATE TABLE mine (id int AUTO_INCREMENT PRIMARY KEY, v varchar(9)) ENGINE=MyISAM "
        "PARTITION BY HASH (id) PARTITIONS 2"
    ),
    "CREATE TABLE aria (id int PRIMARY KEY, v varchar(9)) ENGINE=Aria TRANSACTIONAL=1",
    "CREATE TABLE past (id int PRIMARY KEY, v varchar(9), w int WITHOUT SYSTEM VERSIONING) WITH SYSTEM VERSIONING",
    (
        "CREATE TABLE told (id int PRIMARY KEY, s timestamp(6) GENERATED ALWAYS AS ROW START, e timestamp(6) "
        "GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING"
    ),
    "CREATE TABLE span (id int, d1 date, d2 date, PERIOD FOR life (d1, d2), UNIQUE (id, life WITHOUT OVERLAPS))",
    "CREATE TABLE `we``ird; ТАБ\"le` (`co l` varchar(9) DEFAULT '\\\\', `ключ` int PRIMARY KEY COMMENT 'a\nb')",
    "CREATE TABLE `{db}` (id int PRIMARY KEY)",
    "CREATE FUNCTION grown(x int) RETURNS int DETERMINISTIC COMMENT 'one more' RETURN x + 1",
    "SET NAMES latin1",
    "CREATE FUNCTION old() RETURNS varchar(9) DETERMINISTIC RETURN 'bé'",
    "SET NAMES utf8mb4",
    "SET SESSION sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT'",
    (
        "CREATE PROCEDURE tell(IN x int, OUT y text) READS SQL DATA SQL SECURITY INVOKER "
        "BEGIN /* `{db}`.x; */ SELECT count(*) || '' INTO y FROM \"customer\"; END"
    ),
    "SET SESSION sql_mode = 'ORACLE'",
    "CREATE PACKAGE pack AS FUNCTION one RETURN int; END",
    "CREATE PACKAGE BODY pack AS FUNCTION one RETURN int AS BEGIN RETURN 1; END; END",
    "SET SESSION sql_mode = DEFAULT",
    "CREATE VIEW z AS SELECT id, grown(id) AS g FROM customer",
    "CREATE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW y AS SELECT * FROM z WHERE id > 1 WITH LOCAL CHECK OPTION",
    "CREATE VIEW drawn AS SELECT nextval(number) AS n FROM `{db}`",
    "CREATE VIEW far AS SELECT c.id, u.User FROM customer c, mysql.user u",
    "CREATE DEFINER=`{user}`@`%` VIEW x AS SELECT id FROM orders",
    "CREATE VIEW w AS SELECT id FROM x",
    (
        "CREATE TRIGGER second BEFORE INSERT ON orders FOR EACH ROW BEGIN SET NEW.total = NEW.total + 1; "
        "INSERT INTO a SELECT coalesce(max(id), 0) + 100, NULL FROM a; END"
    ),
    "CREATE  TRIGGER `{db}`.first BEFORE INSERT ON `{db}`.orders FOR EACH ROW PRECEDES second SET NEW.total = 0",
    "CREATE TRIGGER {db}.after_it AFTER DELETE ON {db}.orders FOR EACH ROW SET @x = '{db}.orders'",
    "CREATE TRIGGER upper_name BEFORE INSERT ON customer FOR EACH ROW SET NEW.mail = 'fired'",
    "SET time_zone = 'SYSTEM'",
    "CREATE EVENT daily ON SCHEDULE EVERY 1 DAY STARTS '2020-01-01 02:00:00' DO DELETE FROM orders WHERE total = -1",
    "SET time_zone = '-03:30'",
    (
        "CREATE DEFINER=`{user}`@`%` EVENT once ON SCHEDULE AT '2037-01-01 00:00:00' ON COMPLETION PRESERVE DISABLE "
        "COMMENT 'later' DO INSERT INTO a VALUES (-1, NULL)"
    ),
    "SET timestamp = 1500000000",
    "CREATE EVENT `over` ON SCHEDULE AT '2018-01-01 00:00:00' DISABLE DO SELECT 1",
    "SET timestamp = DEFAULT",
    "CREATE EVENT replica ON SCHEDULE EVERY 2 HOUR DISABLE ON SLAVE DO SELECT 1",
    "GRANT INSERT (id, name), UPDATE (name), DELETE ON customer TO `{user}`@`%`",
    "GRANT EXECUTE ON FUNCTION grown TO `{user}`@`%`",
    "GRANT SHOW VIEW ON z TO `{user}`@`%` WITH GRANT OPTION",
)

RECORDS = (
    "SET NAMES utf8mb4",
    "INSERT INTO customer (id, name, note) VALUES (1, 'Ada', 4), (2, 'a\\nb\\\\\\t', NULL), (9, 'ж', 5)",
    "INSERT INTO orders (customer, total) VALUES (1, 10), (1, 20), (9, 0)",
    "SET foreign_key_checks = 0",
    "INSERT INTO a VALUES (1, 1), (2, 404)",
    "INSERT INTO b VALUES (1, 1)",
    "INSERT INTO event VALUES (1, '2019-05-01', ''), (1, '2021-05-01', NULL)",
    "INSERT INTO mine (v) VALUES ('x'), ('y'), ('z')",
    "DELETE FROM mine WHERE id = 3",
    "INSERT INTO aria VALUES (1, 'NULL'), (2, NULL)",
    "INSERT INTO past VALUES (1, 'old', 1)",
    "UPDATE past SET v = 'new'",
    "INSERT INTO past VALUES (2, 'gone', 1)",
    "DELETE FROM past WHERE id = 2",
    "INSERT INTO told (id) VALUES (1)",
    "UPDATE told SET id = 2",
    "INSERT INTO span VALUES (1, '2020-01-01', '2021-01-01')",
    "INSERT INTO `we``ird; ТАБ\"le` VALUES ('x', 1)",
    "SELECT nextval(number)",
)
