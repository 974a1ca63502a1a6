"""What the catalog is asked of one database: its tables, columns, keys, references and rules.

Where a question has `{only}` it can be put of some tables by name.
"""

from __future__ import annotations

__all__ = ["CHECKS", "COLUMNS", "INDEXES", "PRIVILEGES", "REFERENCES", "SERVER", "TABLES"]

SERVER = """
    SELECT VERSION(), DATABASE(), CURRENT_USER(), @@server_id, @@log_bin, @@lower_case_table_names,
        @@character_set_database, @@collation_database, @@max_allowed_packet
"""

TABLES = """
    SELECT t.TABLE_NAME, t.TABLE_TYPE, coalesce(t.ENGINE, ''), coalesce(e.TRANSACTIONS, 'NO'),
        coalesce(t.CREATE_OPTIONS, '') LIKE '%%partitioned%%', coalesce(t.TABLE_ROWS, 0), coalesce(t.DATA_LENGTH, 0),
        coalesce(t.TABLE_COMMENT, '')
    FROM information_schema.TABLES t LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE
    WHERE t.TABLE_SCHEMA = %s{only} ORDER BY t.TABLE_NAME
"""

COLUMNS = """
    SELECT TABLE_NAME, COLUMN_NAME, ORDINAL_POSITION, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE = 'YES',
        coalesce(CHARACTER_SET_NAME, ''), coalesce(CHARACTER_OCTET_LENGTH, 0), coalesce(NUMERIC_PRECISION, 0),
        coalesce(NUMERIC_SCALE, 0), coalesce(DATETIME_PRECISION, 0), EXTRA, coalesce(GENERATION_EXPRESSION, '')
    FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s{only} ORDER BY TABLE_NAME, ORDINAL_POSITION
"""

# Of an index over an expression (MySQL 8) the column has no name; over a prefix it has a SUB_PART.
INDEXES = """
    SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART IS NULL
    FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s{only} AND NON_UNIQUE = 0
    ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX
"""

REFERENCES = """
    SELECT TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME
    FROM information_schema.KEY_COLUMN_USAGE
    WHERE TABLE_SCHEMA = %s{only} AND REFERENCED_TABLE_SCHEMA = TABLE_SCHEMA
    ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION
"""

# MariaDB's JSON is a text with this rule; the column's own rule has the column's name.
CHECKS = """
    SELECT TABLE_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS
    WHERE CONSTRAINT_SCHEMA = %s{only} AND CHECK_CLAUSE LIKE 'json\\_valid(%%'
"""

# Whether one right of this user's own covers every table: else each is tried. Whoever may read the system's tables sees
# the rights of everybody there.
PRIVILEGES = """
    SELECT (SELECT count(*) FROM information_schema.USER_PRIVILEGES
            WHERE PRIVILEGE_TYPE = 'SELECT' AND GRANTEE = me.name)
        + (SELECT count(*) FROM information_schema.SCHEMA_PRIVILEGES
           WHERE PRIVILEGE_TYPE = 'SELECT' AND GRANTEE = me.name AND TABLE_SCHEMA = %s)
    FROM (SELECT CONCAT(QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', 1)), '@',
        QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', -1))) AS name) me
"""
