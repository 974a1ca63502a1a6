"""PostgreSQL databases: read in one snapshot, followed by their log, written by plan, rebuilt whole.

Import from the modules: what other engines are told of a database's definitions (`carried`) needs no driver.
"""
