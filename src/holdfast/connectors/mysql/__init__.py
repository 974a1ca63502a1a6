"""MariaDB (and MySQL, its near relative): read, followed, written and built anew.

What was tested is MariaDB 10.11. Where MySQL 8 differs, the code follows its manual; it was not run against one.
"""
